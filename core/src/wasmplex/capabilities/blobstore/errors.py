"""The errors of blob stores; each class is one case of ``wasmcloud:blobstore``'s ``error``.

::

    BlobStoreError               what a guest may be told; each class is one case of the WIT's ``error``
    +-- NoSuchContainer          the container does not exist
    +-- ContainerAlreadyExists   a container is to be created, and there is one of that name
    +-- NoSuchObject             the container exists, and no object of that name in it
    +-- AccessDenied             credentials are wrong or lack a right, or the configuration does not grant it
    +-- Timeout                  no answer, or no progress of a transfer, before the deadline
    +-- StoreUnavailable         connection refused or lost, server starting
    +-- QuotaExceeded            a limit on size, number or rate; out of memory or disk
    +-- Other                    anything else
        +-- InvalidArgument      an argument is malformed; the WIT has no case for it
"""

from __future__ import annotations

from wasmplex.capabilities.errors import CapabilityError, ErrorCases

__all__ = [
    "CASES", "AccessDenied", "BlobStoreError", "ContainerAlreadyExists", "InvalidArgument", "NoSuchContainer",
    "NoSuchObject", "Other", "QuotaExceeded", "StoreUnavailable", "Timeout",
]  # fmt: skip


class BlobStoreError(CapabilityError):
    """Base of the errors that reach a guest. Never raised itself."""


class NoSuchContainer(BlobStoreError):
    """The container does not exist, or does not exist any more."""

    case, summary = "no-such-container", "no such container"


class ContainerAlreadyExists(BlobStoreError):
    """A container was to be created, and there is one of that name."""

    case, summary = "container-already-exists", "the container already exists"


class NoSuchObject(BlobStoreError):
    """The container exists, and no object of that name in it."""

    case, summary = "no-such-object", "no such object"


class AccessDenied(BlobStoreError):
    """The credentials are wrong or lack a right, or the configuration does not grant it."""

    case, summary = "access-denied", "access denied"


class Timeout(BlobStoreError):
    """No answer before the deadline, or no progress of a transfer. Whether a write happened is unknown."""

    case, summary = "timeout", "timed out"


class StoreUnavailable(BlobStoreError):
    """The connection was refused or lost, or the server is not ready. Trying again later may help."""

    case, summary = "store-unavailable", "store unavailable"
    unavailable = True


class QuotaExceeded(BlobStoreError):
    """Over a limit on size, number or rate, or out of memory or disk. The old object is whole."""

    case, summary = "quota-exceeded", "quota exceeded"


class Other(BlobStoreError):
    """What has no case of its own; the text names operation and cause."""

    case, summary = "other", "failed"


class InvalidArgument(Other):
    """An argument is malformed, a name too long say. Nothing was done."""


CASES = ErrorCases(
    capability="blob store",
    base=BlobStoreError,
    timeout=Timeout,
    unavailable=StoreUnavailable,
    exceeded=QuotaExceeded,
    denied=AccessDenied,
    other=Other,
)
