"""The id that ties a sender's report to the records of the log, from what it has sent."""

from __future__ import annotations

import re
from collections.abc import Iterable
from random import getrandbits

__all__ = ["identity"]

_SANE = re.compile(rb"[A-Za-z0-9_.:/+=@-]{1,128}")
_LONGEST = 128
_TRACE = re.compile(
    rb"(?!ff)[0-9a-f]{2}-(?P<trace>(?!0{32})[0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-.*)?"
)


def identity(headers: Iterable[tuple[bytes, bytes]]) -> tuple[str, str]:
    """Return the id of a request or message, and its trace; that is empty if there is none.

    The id is its ``x-request-id`` if that is fit for a log line, else its trace, else a new one.
    https://www.w3.org/TR/trace-context/#traceparent-header, 3.2: versions after 00 may have more behind it.

    :param headers: their names in lower case
    """
    ident = trace = ""
    for name, value in headers:
        if name == b"x-request-id":
            if not ident and _SANE.fullmatch(value):
                ident = value.decode("ascii")
        elif name == b"traceparent" and not trace:
            found = _TRACE.fullmatch(value) if len(value) <= _LONGEST else None
            trace = found["trace"].decode("ascii") if found else ""
    return ident or trace or f"{getrandbits(64):016x}", trace
