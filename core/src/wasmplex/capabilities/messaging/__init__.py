"""Messaging: what a backend implements, and what guests get through every WIT interface.

`wasmplex.capabilities.messaging.subjects` is the grammar of subjects, ``handling`` is for triggers.
"""

from __future__ import annotations

from wasmplex.capabilities.messaging.contract import (
    FEATURES,
    Deliveries,
    Delivery,
    Kept,
    Message,
    MessagingBackend,
    Subscription,
)
from wasmplex.capabilities.messaging.errors import (
    CASES,
    AccessDenied,
    BrokerUnavailable,
    MessageTooLarge,
    MessagingError,
    NoReply,
    NoResponders,
    Other,
    QuotaExceeded,
    SubjectInvalid,
    Timeout,
    Unsupported,
)

__all__ = [
    "CASES", "FEATURES", "AccessDenied", "BrokerUnavailable", "Deliveries", "Delivery", "Kept", "Message",
    "MessageTooLarge", "MessagingBackend", "MessagingError", "NoReply", "NoResponders", "Other",
    "QuotaExceeded", "SubjectInvalid", "Subscription", "Timeout", "Unsupported",
]  # fmt: skip
