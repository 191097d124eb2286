"""Key-value: what a backend implements, and what guests get through every WIT interface.

`wasmplex.capabilities.keyvalue.listing` is for backends that list keys out of order, ``watch`` for triggers.
"""

from __future__ import annotations

from wasmplex.capabilities.keyvalue.contract import (
    FEATURES,
    S64_MAX,
    S64_MIN,
    Bucket,
    Change,
    Entry,
    KeyValueBackend,
    Page,
    PlainBucket,
    Stale,
    Swapped,
    next_count,
)
from wasmplex.capabilities.keyvalue.errors import (
    CASES,
    AccessDenied,
    InvalidArgument,
    KeyValueError,
    NoSuchStore,
    Other,
    PreconditionFailed,
    QuotaExceeded,
    StoreUnavailable,
    Timeout,
    Unsupported,
)

__all__ = [
    "CASES", "FEATURES", "S64_MAX", "S64_MIN", "AccessDenied", "Bucket", "Change", "Entry", "InvalidArgument",
    "KeyValueBackend", "KeyValueError", "NoSuchStore", "Other", "Page", "PlainBucket", "PreconditionFailed",
    "QuotaExceeded", "Stale", "StoreUnavailable", "Swapped", "Timeout", "Unsupported", "next_count",
]  # fmt: skip
