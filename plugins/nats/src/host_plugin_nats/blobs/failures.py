"""What the errors of the connection and of JetStream mean for a blob store."""

from __future__ import annotations

from wasmplex.capabilities import blobstore as blobs
from wasmplex.capabilities import keyvalue

from host_plugin_nats.failures import NO_STREAM, ApiError, api_failed

__all__ = ["failed", "is_no_stream"]

_SAME: dict[type[keyvalue.KeyValueError], type[blobs.BlobStoreError]] = {
    keyvalue.AccessDenied: blobs.AccessDenied,
    keyvalue.Timeout: blobs.Timeout,
    keyvalue.StoreUnavailable: blobs.StoreUnavailable,
    keyvalue.QuotaExceeded: blobs.QuotaExceeded,
}
"""The connection is shared with key-value, and raises its errors."""


def failed(error: keyvalue.KeyValueError | ApiError) -> blobs.BlobStoreError:
    """Return what the guest is told."""
    known = api_failed(error) if isinstance(error, ApiError) else error
    for one, other in _SAME.items():
        if isinstance(known, one):
            return other(str(known))
    return blobs.Other(str(known))


def is_no_stream(error: keyvalue.KeyValueError | ApiError) -> bool:
    """Return whether it says that there is no such stream."""
    cause = error if isinstance(error, ApiError) else error.__cause__
    return isinstance(cause, ApiError) and cause.code == NO_STREAM
