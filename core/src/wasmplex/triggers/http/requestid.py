"""Whose request a record of the log belongs to, and the id that ties a client's report to it."""

from __future__ import annotations

from wasmplex.capabilities.http import Headers
from wasmplex.logs import Origin, identity

__all__ = ["RequestOrigin"]


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
            self._named = (*identity(self._headers), _host(self._headers), self.workload)
        return self._named

    @property
    def request_id(self) -> str:
        """The client's ``x-request-id`` if it is fit for a log line, else its trace, else a new one."""
        return self.named[0]


def _host(headers: Headers) -> str:
    return next((str(value, "latin-1") for name, value in headers if name == b"host"), "")
