"""Notice that a client went away, under a server that says so only to those who ask."""

from __future__ import annotations

from asyncio import TimerHandle, get_running_loop
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wasmplex.triggers.http.exchange import Exchange

__all__ = ["DisconnectWatch"]

_PERIOD = 0.1


class DisconnectWatch:
    """Looks ahead in exchanges that take longer than a moment.

    Most do not, and so are spared the task that it takes. There is a timer only while there are exchanges.
    """

    def __init__(self) -> None:
        self._exchanges: set[Exchange] = set()
        self._timer: TimerHandle | None = None

    def add(self, exchange: Exchange) -> None:
        """Watch an exchange until it is discarded."""
        self._exchanges.add(exchange)
        if self._timer is None:
            self._arm()

    def discard(self, exchange: Exchange) -> None:
        """Watch it no longer."""
        self._exchanges.discard(exchange)

    def _arm(self) -> None:
        self._timer = get_running_loop().call_later(_PERIOD, self._look)

    def _look(self) -> None:
        self._timer = None
        for exchange in self._exchanges:
            exchange.look_ahead()
        if self._exchanges:
            self._arm()
