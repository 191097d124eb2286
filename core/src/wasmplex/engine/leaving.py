"""Cancels what ended instances have under way, a little at a time, so that nobody else waits for it.

An instance may end with as many calls under way as ``limits.calls_in_flight`` says, and each that is
cancelled runs once more: through code of the host, of a plugin, of a driver. So only a few are cancelled at
once where an instance ends, the others in the next turns of the event loop, those of all workloads in turn.
Whoever has too many of them waits with the next instance: else it could begin calls faster than they are
cancelled.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

__all__ = ["FEW", "Cancelling", "Leaving"]

FEW: Final = 16
"""Calls of an instance that are cancelled at once."""
_EACH_TURN: Final = 32
"""Calls that are cancelled in one turn of the loop: each takes about 50 µs there."""


class Cancelling:
    """Cancels the calls of ended instances."""

    def __init__(self) -> None:
        self._workloads: deque[Leaving] = deque()
        self._loop: asyncio.AbstractEventLoop | None = None

    def begin(self, leaving: Leaving) -> None:
        """Cancel the calls of a workload that had none to be cancelled, from the next turn of the loop on."""
        loop = asyncio.get_running_loop()
        self._workloads.append(leaving)
        if self._loop is not loop:  # none, or one that has ended before its turn came
            self._loop = loop
            loop.call_soon(self._turn)

    def _turn(self) -> None:
        workloads = self._workloads
        for _ in range(_EACH_TURN):
            if not workloads:
                break
            leaving = workloads.popleft()
            if leaving.cancel_one():
                workloads.append(leaving)
        if workloads:
            asyncio.get_running_loop().call_soon(self._turn)
        else:
            self._loop = None

    async def done(self) -> None:
        """Wait until nothing is left to be cancelled."""
        while self._workloads:  # noqa: ASYNC110  once, when a workload ends
            await asyncio.sleep(0)

    def finish(self) -> None:
        """Cancel all that waits, now: the loop ends."""
        while self._workloads:
            leaving = self._workloads.popleft()
            while leaving.cancel_one():
                pass


class Leaving:
    """The calls of one workload's ended instances that are still to be cancelled.

    :param most: how many there may be while another instance is made
    """

    def __init__(self, cancelling: Cancelling, most: int) -> None:
        self._cancelling = cancelling
        self._most = most
        self._calls: deque[Callable[[], None]] = deque()
        self._room: list[asyncio.Future[None]] = []

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._calls)

    def add(self, calls: Sequence[Callable[[], None]]) -> None:
        """Have the calls of an instance that ends cancelled.

        :param calls: what cancels each
        """
        if (len(calls) <= FEW and not self._calls) or not _in_loop():
            for cancel in calls:
                cancel()
            return
        waited = bool(self._calls)
        self._calls.extend(calls)
        if not waited:
            self._cancelling.begin(self)

    def cancel_one(self) -> bool:
        """Cancel the one that has waited longest; say whether there are more."""
        self._calls.popleft()()
        if self._room and len(self._calls) <= self._most:
            room, self._room = self._room, []
            for waiting in room:
                if not waiting.done():
                    waiting.set_result(None)
        return bool(self._calls)

    async def room(self) -> None:
        """Wait until another instance may be made."""
        while len(self._calls) > self._most:
            waiting = asyncio.get_running_loop().create_future()
            self._room.append(waiting)
            await waiting


def _in_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
