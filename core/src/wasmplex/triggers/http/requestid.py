"""Whose request a record of the log belongs to, and the id that ties a client's report to it."""

from __future__ import annotations

import re
from random import getrandbits

from wasmplex.capabilities.http import Headers
from wasmplex.logs import Origin

__all__ = ["RequestOrigin"]

_SANE = re.compile(rb"[A-Za-z0-9_.:/+=@-]{1,128}")
_LONGEST = 128
_TRACE = re.compile(
    rb"(?!ff)[0-9a-f]{2}-(?P<trace>(?!0{32})[0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-.*)?"
)


class RequestOrigin(Origin):
    """What the records of one request say of it. Nothing is looked up before one is logged.

    :param workload: who serves it; empty if nobody does
    :param headers: the request's
    """

    __slots__ = ("_headers", "_named")

    def __init__(self, workload: str, headers: Headers) -> None:
        self.workload = workload
        self.over = False
        self._headers = headers
        self._named: tuple[str, str, str, str] | None = None

    @property
    def named(self) -> tuple[str, str, str, str]:
        """The id, the trace, the header ``host`` as it was sent, and the workload."""
        if self._named is None:
            self._named = (*_look(self._headers), self.workload)
        return self._named

    @property
    def request_id(self) -> str:
        """The client's ``x-request-id`` if it is fit for a log line, else its trace, else a new one."""
        return self.named[0]


def _look(headers: Headers) -> tuple[str, str, str]:
    """Return the id of a request, its trace and its host.

    https://www.w3.org/TR/trace-context/#traceparent-header, 3.2: versions after 00 may have more behind it.
    """
    ident = trace = host = ""
    for name, value in headers:
        if name == b"host":
            host = host or str(value, "latin-1")
        elif name == b"x-request-id":
            if not ident and _SANE.fullmatch(value):
                ident = value.decode("ascii")
        elif name == b"traceparent" and not trace:
            found = _TRACE.fullmatch(value) if len(value) <= _LONGEST else None
            trace = found["trace"].decode("ascii") if found else ""
    return ident or trace or f"{getrandbits(64):016x}", trace, host
