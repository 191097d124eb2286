"""Why a server cannot be reached, in the system's words, whoever says it in what others."""

from __future__ import annotations

import os
import re
import socket
import ssl

__all__ = ["why_unreachable"]

_NUMBER = re.compile(r"\[Errno (\d+)\]")
_DEEPEST = 8
"""Errors that are looked at, each the cause of the one before."""


def why_unreachable(error: BaseException) -> str:
    """Return why there is no connection, in a few words and without an address; empty if nothing tells.

    uvloop says what the system says. asyncio puts a text of its own in its place (``Connect call failed
    ('10.0.0.7', 5432)``), and one text without a number where a name has several addresses; client libraries
    wrap both in errors and sentences of theirs.
    """
    cause = _of_the_system(error)
    if cause is None:
        return ""
    if isinstance(cause, ssl.SSLError):
        return f"TLS: {_of_tls(cause)}"
    if isinstance(cause, TimeoutError) and cause.errno is None:
        return "no answer from the server"
    if isinstance(cause, socket.gaierror) or (cause.errno or 0) < 0:  # its numbers are those of the resolver
        return cause.strerror or "the name cannot be resolved"
    if cause.errno:
        return os.strerror(cause.errno)
    numbers = dict.fromkeys(int(number) for number in _NUMBER.findall(str(cause)))
    return ", ".join(os.strerror(number) for number in numbers)


def _of_the_system(error: BaseException) -> OSError | None:
    """Return the last `OSError` in a chain of causes, and of what was being handled before the first one."""
    found: OSError | None = None
    at: BaseException | None = error
    for _ in range(_DEEPEST):
        if at is None:
            break
        if isinstance(at, OSError):
            found = at
        handled = None if found is not None or at.__suppress_context__ else at.__context__
        at = at.__cause__ or handled
    return found


def _of_tls(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError) and error.verify_message:
        return error.verify_message.partition(", certificate is not valid for")[0]
    return (error.reason or "it failed").lower().replace("_", " ")
