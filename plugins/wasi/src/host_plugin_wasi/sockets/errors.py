"""Errors of the operating system as ``wasi:sockets`` error codes."""

from __future__ import annotations

import errno
import socket

from wasmplex.plugin import Err, Variant

from host_plugin_wasi.io import failed

__all__ = ["DOMAIN", "code", "lookup_code", "refused", "stream_error"]

DOMAIN = "network"

_CODES = {
    errno.EACCES: "access-denied", errno.EPERM: "access-denied",
    errno.EOPNOTSUPP: "not-supported", errno.EPROTONOSUPPORT: "not-supported",
    errno.EAFNOSUPPORT: "not-supported", errno.EPFNOSUPPORT: "not-supported",
    errno.ENOPROTOOPT: "not-supported", errno.ESOCKTNOSUPPORT: "not-supported",
    errno.EINVAL: "invalid-argument", errno.EDESTADDRREQ: "invalid-argument",
    errno.ENOMEM: "out-of-memory", errno.ENOBUFS: "out-of-memory",
    errno.ETIMEDOUT: "timeout",
    errno.EALREADY: "concurrency-conflict",
    errno.EAGAIN: "would-block", errno.EINPROGRESS: "would-block",
    errno.EMFILE: "new-socket-limit", errno.ENFILE: "new-socket-limit",
    errno.EADDRNOTAVAIL: "address-not-bindable",
    errno.EADDRINUSE: "address-in-use",
    errno.EHOSTUNREACH: "remote-unreachable", errno.EHOSTDOWN: "remote-unreachable",
    errno.ENETUNREACH: "remote-unreachable", errno.ENETDOWN: "remote-unreachable",
    errno.ECONNREFUSED: "connection-refused",
    # `invalid-state` is for what a guest does in the wrong order, and libc aborts on it: a connection
    # that is gone is not that.
    errno.ECONNRESET: "connection-reset", errno.EPIPE: "connection-reset", errno.ENOTCONN: "connection-reset",
    errno.ECONNABORTED: "connection-aborted", errno.EBADF: "connection-aborted",
    errno.EMSGSIZE: "datagram-too-large",
}  # fmt: skip

_LOOKUP_CODES = {
    socket.EAI_AGAIN: "temporary-resolver-failure",
    socket.EAI_NONAME: "name-unresolvable",
    getattr(socket, "EAI_NODATA", socket.EAI_NONAME): "name-unresolvable",
    getattr(socket, "EAI_ADDRFAMILY", socket.EAI_NONAME): "name-unresolvable",
    socket.EAI_MEMORY: "out-of-memory",
}


def code(error: OSError) -> str:
    """Return the error code."""
    return _CODES.get(error.errno or 0, "unknown")


def lookup_code(error: OSError) -> str:
    """Return the error code for what the resolver raised."""
    if isinstance(error, socket.gaierror):
        return _LOOKUP_CODES.get(error.errno or 0, "permanent-resolver-failure")
    return code(error)


def refused(error: OSError) -> Err[str]:
    """Return the exception for an operation that failed with `error`, to be raised."""
    return Err(code(error))


def stream_error(error: OSError) -> Err[Variant]:
    """Return the exception for a stream that failed with `error`, to be raised."""
    return failed(f"network error: {code(error)}", DOMAIN, code(error))
