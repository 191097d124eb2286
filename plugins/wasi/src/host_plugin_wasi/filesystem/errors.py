"""Errors of the operating system as ``wasi:filesystem`` error codes."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any, TypeVar

from wasmplex.plugin import Err, Threads, Variant

from host_plugin_wasi.io import failed

__all__ = ["CASES", "DOMAIN", "code", "off_loop", "off_loop_stream", "stream_error"]

T = TypeVar("T")

DOMAIN = "filesystem"

_CODES = {
    errno.EACCES: "access", errno.EAGAIN: "would-block", errno.EALREADY: "already",
    errno.EBADF: "bad-descriptor", errno.EBUSY: "busy", errno.EDEADLK: "deadlock", errno.EDQUOT: "quota",
    errno.EEXIST: "exist", errno.EFBIG: "file-too-large", errno.EILSEQ: "illegal-byte-sequence",
    errno.EINPROGRESS: "in-progress", errno.EINTR: "interrupted", errno.EINVAL: "invalid", errno.EIO: "io",
    errno.EISDIR: "is-directory", errno.ELOOP: "loop", errno.EMLINK: "too-many-links",
    errno.EMSGSIZE: "message-size", errno.ENAMETOOLONG: "name-too-long", errno.ENODEV: "no-device",
    errno.ENOENT: "no-entry", errno.ENOLCK: "no-lock", errno.ENOMEM: "insufficient-memory",
    errno.ENOSPC: "insufficient-space", errno.ENOTDIR: "not-directory", errno.ENOTEMPTY: "not-empty",
    errno.ENOTRECOVERABLE: "not-recoverable", errno.ENOTSUP: "unsupported", errno.EOPNOTSUPP: "unsupported",
    errno.ENOSYS: "unsupported", errno.ENOTTY: "no-tty", errno.ENXIO: "no-such-device",
    errno.EMFILE: "insufficient-memory", errno.ENFILE: "insufficient-memory",
    errno.EOVERFLOW: "overflow", errno.EPERM: "not-permitted", errno.EPIPE: "pipe", errno.EROFS: "read-only",
    errno.ESPIPE: "invalid-seek", errno.ETXTBSY: "text-file-busy", errno.EXDEV: "cross-device",
}  # fmt: skip

CASES = frozenset(_CODES.values())
"""Every code that there is."""


def code(error: OSError | OverflowError) -> str:
    """Return the error code; an offset, size or time that no system call can express is ``invalid``."""
    if isinstance(error, OverflowError):
        return "invalid"
    return _CODES.get(error.errno or 0, "io")


async def off_loop(threads: Threads, function: Callable[..., T], *args: Any) -> T:
    """Call a blocking function in a thread.

    :raises Err: with the error code, if it raised an `OSError`
    """
    try:
        return await threads.run(function, *args)
    except (OSError, OverflowError) as error:
        raise Err(code(error)) from None


async def off_loop_stream(threads: Threads, function: Callable[..., T], *args: Any) -> T:
    """As `off_loop`, for stream functions.

    :raises Err: with a ``stream-error`` that carries the error code
    """
    try:
        return await off_loop(threads, function, *args)
    except Err as error:
        raise stream_error(error.value) from None


def stream_error(error_code: Any) -> Err[Variant]:
    """Return the exception for an operation on a stream that failed with `error_code`."""
    return failed(f"filesystem error: {error_code}", DOMAIN, error_code)
