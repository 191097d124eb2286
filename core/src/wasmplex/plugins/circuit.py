"""What the host knows of the server behind a backend: that it is down, so nobody has to find out again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import anyio

if TYPE_CHECKING:
    from wasmplex.logs import Whose

__all__ = ["Circuit"]

_KINDS: Final = 16
"""How many causes are told apart, until there is none any more."""


class Circuit:
    """Closed while the server is thought to answer, open while it is known not to.

    Whoever meets an error that says that the server cannot be reached calls `suspect`; the pool then asks the
    server, and opens the circuit if that is so. While it is open, operations fail without being tried. The
    pool goes on asking and closes it when the server answers. Who reaches the server and is refused, for a
    wrong password say, calls `refuse`: operations go on being tried, and the pool says what is wrong, once.

    :ivar is_open: whether the server is known to be down
    :ivar opened: how often it was found to be
    :ivar is_suspected: whether somebody could not reach it since it was last asked
    :ivar why: what the first of them met
    :ivar whose: the request in which, where that is known
    :ivar refused: how often somebody was refused, for a cause that is known already, since the last look
    """

    __slots__ = ("_causes", "_news", "_wake", "is_open", "is_suspected", "opened", "refused", "whose", "why")

    def __init__(self) -> None:
        self.is_open = False
        self.opened = 0
        self.is_suspected = False
        self.why = ""
        self.whose: Whose | None = None
        self.refused = 0
        self._causes: set[str] = set()
        self._news: list[tuple[str, Whose | None]] = []
        self._wake = anyio.Event()

    def __repr__(self) -> str:
        return f"<Circuit {'open' if self.is_open else 'closed'}>"

    def suspect(self, why: str = "", whose: Whose | None = None) -> None:
        """Say that the server could not be reached."""
        if not self.is_suspected:
            self.is_suspected, self.why, self.whose = True, why, whose
            self._wake.set()

    def refuse(self, why: str, whose: Whose | None = None) -> None:
        """Say that the server was reached, and did not do what it was asked to."""
        if why in self._causes or len(self._causes) >= _KINDS:
            self.refused += 1
            return
        self._causes.add(why)
        self._news.append((why, whose))
        self._wake.set()

    async def woken(self) -> None:
        """Wait until somebody suspects the server, or is refused for a new cause."""
        await self._wake.wait()
        self._wake = anyio.Event()

    def news(self) -> list[tuple[str, Whose | None]]:
        """Return the causes that are new since the last time, and the request that met each."""
        news, self._news = self._news, []
        return news

    def forget(self) -> None:
        """Take every cause for a new one again: nobody is refused any more."""
        self._causes.clear()

    def open(self) -> None:
        """Note that the server is down."""
        if not self.is_open:
            self.is_open = True
            self.opened += 1

    def close(self) -> None:
        """Note that the server answers; what was suspected before no longer counts."""
        self.is_open = self.is_suspected = False
