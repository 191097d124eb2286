"""How long messages are handled in one turn of the event loop, before others have theirs.

A handler that never waits, and a broker that has the next message at hand, would keep the loop for as long as
there are messages: many workers for one message each, or one for all of them.
"""

from __future__ import annotations

import asyncio
from bisect import insort
from itertools import count
from time import perf_counter
from typing import Final

__all__ = ["SLICE", "Slices"]

SLICE: Final = 0.0005
"""Seconds of a turn of the loop after which no message is begun."""
_WOKEN: Final = 4
"""How many of those that wait are woken in a turn: one may use up the slice, or wait for something else."""


class Slices:
    """Lets workers begin with messages, in each turn of the event loop until a slice of time is over.

    Those that come later wait, and begin in one of the next turns, in the order in which they came.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._ends = 0.0
        self._going = False
        """Whether a turn of the loop is to end what was begun in this one."""
        self._numbers = count()
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []
        """Who waits, in the order of coming."""

    def has_room(self) -> bool:
        """Say whether a message may be handled now; else `wait`."""
        if not self._going:
            self._going = True
            self._ends = perf_counter() + SLICE
            self._loop.call_soon(self._turn)
            return True
        return not self._waiting and perf_counter() < self._ends

    async def wait(self) -> None:
        """Return when a message may be handled."""
        number = next(self._numbers)
        while True:
            turn: asyncio.Future[None] = self._loop.create_future()
            insort(self._waiting, (number, turn))
            await turn
            if perf_counter() < self._ends:  # else others that were woken with it have used up the slice
                return

    def _turn(self) -> None:
        """End a slice, in the next turn of the loop, and begin another if somebody waits."""
        woken = 0
        while self._waiting and woken < _WOKEN:
            _, turn = self._waiting.pop(0)
            if not turn.done():  # else who waited was cancelled
                turn.set_result(None)
                woken += 1
        self._going = bool(woken)
        if woken:
            self._ends = perf_counter() + SLICE
            self._loop.call_soon(self._turn)
