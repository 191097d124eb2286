"""What the host knows of the server behind a backend: that it is down, so nobody has to find out again."""

from __future__ import annotations

import anyio

__all__ = ["Circuit"]


class Circuit:
    """Closed while the server is thought to answer, open while it is known not to.

    Whoever meets an error that says that the server cannot be reached calls `suspect`; the pool then asks the
    server, and opens the circuit if that is so. While it is open, operations fail without being tried. The
    pool goes on asking and closes it when the server answers.

    :ivar is_open: whether the server is known to be down
    :ivar opened: how often it was found to be
    """

    __slots__ = ("_suspicion", "is_open", "opened")

    def __init__(self) -> None:
        self.is_open = False
        self.opened = 0
        self._suspicion = anyio.Event()

    def __repr__(self) -> str:
        return f"<Circuit {'open' if self.is_open else 'closed'}>"

    def suspect(self) -> None:
        """Say that the server could not be reached."""
        self._suspicion.set()

    async def suspected(self) -> None:
        """Wait until somebody suspects the server."""
        await self._suspicion.wait()

    def open(self) -> None:
        """Note that the server is down."""
        if not self.is_open:
            self.is_open = True
            self.opened += 1

    def close(self) -> None:
        """Note that the server answers; what was suspected before no longer counts."""
        self.is_open = False
        self._suspicion = anyio.Event()
