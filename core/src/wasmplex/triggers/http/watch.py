"""Notice that a client went away, under a server that says so only to those who ask."""

from __future__ import annotations

from asyncio import TimerHandle, get_running_loop
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wasmplex.triggers.http.asgi import AsgiWire

__all__ = ["DisconnectWatch"]

_PERIOD = 0.1


class DisconnectWatch:
    """Looks ahead on wires that are in use for longer than a moment.

    Most are not, and so are spared the task that it takes. There is a timer only while there are wires.
    """

    def __init__(self) -> None:
        self._wires: set[AsgiWire] = set()
        self._timer: TimerHandle | None = None

    def add(self, wire: AsgiWire) -> None:
        """Watch a wire until it is discarded."""
        self._wires.add(wire)
        if self._timer is None:
            self._arm()

    def discard(self, wire: AsgiWire) -> None:
        """Watch it no longer."""
        self._wires.discard(wire)

    def _arm(self) -> None:
        self._timer = get_running_loop().call_later(_PERIOD, self._look)

    def _look(self) -> None:
        self._timer = None
        for wire in self._wires:
            wire.look_ahead()
        if self._wires:
            self._arm()
