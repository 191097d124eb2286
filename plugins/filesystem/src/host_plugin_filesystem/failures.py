"""What errors of the system mean: to whoever opens the directory, and to the guest of an operation."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from wasmplex.capabilities.blobstore import (
    AccessDenied,
    BlobStoreError,
    Other,
    QuotaExceeded,
    StoreUnavailable,
)
from wasmplex.plugin import BackendError

__all__ = ["opening_failed", "operation_failed"]

_OPERATION: dict[int, type[BlobStoreError]] = {
    **dict.fromkeys(
        (
            errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.EMLINK,
        ),
        QuotaExceeded,
    ),
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), AccessDenied),
    **dict.fromkeys(
        (errno.EIO, errno.ESTALE, errno.ENODEV, errno.ENXIO, errno.ENOTCONN, errno.ETIMEDOUT),
        StoreUnavailable,
    ),
}  # fmt: skip

_FIX = {
    errno.EACCES: 'chmod u+rwx "{path}", or run the host as its owner',
    errno.EPERM: 'ls -ld "{path}"',
    errno.EROFS: 'mount -o remount,rw "$(findmnt -no TARGET -T "{path}")"',
    errno.ENOSPC: 'df -h "{path}"',
    errno.EDQUOT: "quota -s",
    errno.ENOTDIR: "name a directory; this file is left as it is",
    errno.ENOENT: 'mkdir -p "{path}"',
}


def operation_failed(error: OSError) -> BlobStoreError:
    """Return what the guest is told: the system's words, and no path."""
    number = error.errno or 0
    return _OPERATION.get(number, Other)(os.strerror(number) if number else type(error).__name__)


def opening_failed(error: OSError, path: Path) -> BackendError:
    """Return what the operator is told."""
    number = error.errno or 0
    return BackendError(
        f"cannot open the directory {path} as a blob store",
        why=os.strerror(number).lower() if number else type(error).__name__,
        fix=_FIX.get(number, "").format(path=path),
    )
