"""Whose records are logged: the request, its host and workload, known to all that is done for it."""

from __future__ import annotations

from contextvars import Context, ContextVar, Token, copy_context
from types import TracebackType
from typing import Final, Self, TypeAlias

__all__ = ["Origin", "Remembered", "SharedOrigin", "Whose", "origin"]


Whose: TypeAlias = tuple[str, str, str, str]
"""What records say, see `Origin.named`."""


_FEW: Final = 8
"""How many requests are remembered, at least, before those are forgotten that are over."""


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
    def named(self) -> Whose:
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


class Remembered(Origin):
    """What records belong to that are logged later, by another task than the one that met their cause.

    :param named: what they say
    """

    __slots__ = ("_named",)

    def __init__(self, named: Whose) -> None:
        super().__init__(named[3])
        self._named = named

    @property
    def named(self) -> Whose:
        """What was said when it was met."""
        return self._named


class SharedOrigin(Origin):
    """What several requests are done in at once: its records are those of one of them if there is but one.

    Nobody can tell which of several a guest works for when it says something.
    """

    __slots__ = ("_most", "_requests")

    def __init__(self, workload: str = "") -> None:
        super().__init__(workload)
        self._requests: list[Origin] = []
        self._most = _FEW

    def add(self, request: Origin | None) -> None:
        """Note that something is begun for a request; it is forgotten when that is over."""
        if request is None:
            return
        if len(self._requests) >= self._most:
            self._requests = self._going_on()
            self._most = 2 * len(self._requests) + _FEW
        self._requests.append(request)

    def _going_on(self) -> list[Origin]:
        return [request for request in self._requests if not request.over]

    @property
    def named(self) -> Whose:
        """What is said of the one request; the workload alone if there are several, or none."""
        requests = self._requests = self._going_on()
        return requests[0].named if len(requests) == 1 else super().named

    def context(self) -> Context:
        """Return a context for tasks whose records belong to it, and that is otherwise the current one."""
        made = copy_context()
        made.run(_CURRENT.set, self)
        return made


_CURRENT: Final[ContextVar[Origin | None]] = ContextVar("wasmplex_origin", default=None)


def origin() -> Origin | None:
    """Return whose records are logged now."""
    found = _CURRENT.get()
    return None if found is None or found.over else found
