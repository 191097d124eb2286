"""The errors of message brokers; each class is one case of ``wasmcloud:messaging``'s ``error``.

::

    MessagingError            what a guest may be told; each class is one case of the WIT's ``error``
    +-- SubjectInvalid        a subject, or a pattern of subjects, is malformed
    +-- AccessDenied          credentials are wrong or lack a right, or the subject is not granted
    +-- Timeout               no answer before the deadline
    |   +-- NoReply           the broker has taken a request, and nobody answered it in time
    +-- BrokerUnavailable     connection refused or lost, server starting
    |   +-- NoResponders      nobody listens where a request, or an answer, goes
    +-- MessageTooLarge       over the limit of the binding or of the broker
    +-- QuotaExceeded         the broker is full
    +-- Other                 anything else
        +-- Unsupported       the backend does not declare the feature
"""

from __future__ import annotations

from wasmplex.capabilities.errors import CapabilityError, ErrorCases

__all__ = [
    "CASES", "AccessDenied", "BrokerUnavailable", "MessageTooLarge", "MessagingError", "NoReply",
    "NoResponders", "Other", "QuotaExceeded", "SubjectInvalid", "Timeout", "Unsupported",
]  # fmt: skip


class MessagingError(CapabilityError):
    """Base of the errors that reach a guest. Never raised itself."""


class SubjectInvalid(MessagingError):
    """A subject or a pattern breaks the grammar, or is too long. Nothing was sent."""

    case, summary = "subject-invalid", "invalid subject"


class AccessDenied(MessagingError):
    """The credentials are wrong or lack a right, or the configuration does not grant the subject."""

    case, summary = "access-denied", "access denied"


class Timeout(MessagingError):
    """No answer before the deadline. Whether a message was taken is unknown."""

    case, summary = "timeout", "timed out"


class NoReply(Timeout):
    """The broker has taken a request, and nobody answered it in time. It says nothing of the broker."""

    configured = True


class BrokerUnavailable(MessagingError):
    """The connection was refused or lost, or the server is not ready. Trying again later may help."""

    case, summary, unavailable = "broker-unavailable", "broker unavailable", True


class NoResponders(BrokerUnavailable):
    """Nobody listens where a request, or an answer, goes. It says nothing of the broker."""

    summary, unavailable, configured = "nobody listens to the subject", False, True


class MessageTooLarge(MessagingError):
    """The body is over the binding's ``max_body``, or more than the broker takes. Nothing was sent."""

    case, summary = "message-too-large", "message too large"


class QuotaExceeded(MessagingError):
    """The broker is full: out of memory or disk, or over a limit on messages. Nothing was sent."""

    case, summary = "quota-exceeded", "quota exceeded"


class Other(MessagingError):
    """What has no case of its own."""

    case, summary = "other", "failed"


class Unsupported(Other):
    """The backend does not declare the feature. :param feature: one of ``FEATURES``."""

    def __init__(self, feature: str) -> None:
        super().__init__(f"this backend does not support {feature}")


CASES = ErrorCases(
    capability="messaging",
    base=MessagingError,
    timeout=Timeout,
    unavailable=BrokerUnavailable,
    exceeded=QuotaExceeded,
    denied=AccessDenied,
    other=Other,
)
