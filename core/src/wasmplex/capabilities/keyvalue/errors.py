"""The errors of key-value stores; each class is one case of ``wasmcloud:keyvalue``'s ``error``.

::

    KeyValueError             what a guest may be told; each class is one case of the WIT's ``error``
    +-- NoSuchStore           the bucket does not exist and is not created either
    +-- AccessDenied          credentials are wrong or lack a right, or the bucket is not granted
    +-- InvalidArgument       an argument, or the value it is applied to, is malformed
    +-- PreconditionFailed    ``if_not_exists`` and the key exists
    +-- Timeout               no answer before the deadline, or still contended after bounded retries
    +-- StoreUnavailable      connection refused or lost, server starting
    +-- QuotaExceeded         a limit on size, number or rate; out of memory or disk
    +-- Other                 anything else
        +-- Unsupported       the backend does not declare the feature
"""

from __future__ import annotations

from wasmplex.capabilities.errors import CapabilityError, ErrorCases

__all__ = [
    "CASES", "AccessDenied", "InvalidArgument", "KeyValueError", "NoSuchStore", "Other", "PreconditionFailed",
    "QuotaExceeded", "StoreUnavailable", "Timeout", "Unsupported",
]  # fmt: skip


class KeyValueError(CapabilityError):
    """Base of the errors that reach a guest. Never raised itself."""


class NoSuchStore(KeyValueError):
    """The bucket does not exist, and opening it does not create it."""

    case, summary = "no-such-store", "no such store"


class AccessDenied(KeyValueError):
    """The credentials are wrong or lack a right, or the bucket is known and not granted."""

    case, summary = "access-denied", "access denied"


class InvalidArgument(KeyValueError):
    """An argument is malformed, or the value it is applied to does not allow it. Nothing was written."""

    case, summary = "invalid-argument", "invalid argument"


class PreconditionFailed(KeyValueError):
    """`Bucket.set` was told ``if_not_exists`` and the key exists."""

    case, summary = "precondition-failed", "precondition failed"


class Timeout(KeyValueError):
    """No answer before the deadline. Whether a write happened is unknown."""

    case, summary = "timeout", "timed out"


class StoreUnavailable(KeyValueError):
    """The connection was refused or lost, or the server is not ready. Trying again later may help."""

    case, summary, unavailable = "store-unavailable", "store unavailable", True


class QuotaExceeded(KeyValueError):
    """Over a limit of size, number or rate; out of memory or disk."""

    case, summary = "quota-exceeded", "quota exceeded"


class Other(KeyValueError):
    """What has no case of its own."""

    case, summary = "other", "failed"


class Unsupported(Other):
    """The backend does not declare the feature. :param feature: one of ``FEATURES``."""

    def __init__(self, feature: str) -> None:
        super().__init__(f"this backend does not support {feature}")


CASES = ErrorCases(
    capability="key-value",
    base=KeyValueError,
    timeout=Timeout,
    unavailable=StoreUnavailable,
    exceeded=QuotaExceeded,
    denied=AccessDenied,
    other=Other,
)
