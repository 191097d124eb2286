"""Whose records are logged: the request, its host and workload, known to all that is done for it."""

from __future__ import annotations

from contextvars import ContextVar, Token
from types import TracebackType
from typing import Final, Self

__all__ = ["Origin", "origin"]


class Origin:
    """What records belong to that are logged while it is entered, also in tasks that are started in it.

    :param workload: its name
    :ivar over: set when it is left. A task may outlive what it was started in, one that opens a connection
        anew say: what it logs then belongs to nobody
    """

    __slots__ = ("_token", "over", "workload")
    _token: Token[Origin | None]

    def __init__(self, workload: str = "") -> None:
        self.workload = workload
        self.over = False

    @property
    def named(self) -> tuple[str, str, str, str]:
        """What records say: what ties a client's report to them, the trace, the host asked for, the workload.

        Each is empty where there is none. It is looked at when something is logged, and not before.
        """
        return "", "", "", self.workload

    def __enter__(self) -> Self:
        self._token = _CURRENT.set(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.over = True
        _CURRENT.reset(self._token)


_CURRENT: Final[ContextVar[Origin | None]] = ContextVar("wasmplex_origin", default=None)


def origin() -> Origin | None:
    """Return whose records are logged now."""
    found = _CURRENT.get()
    return None if found is None or found.over else found
