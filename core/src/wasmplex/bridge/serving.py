"""Many calls of exports in one instance at once, and what goes on after they have returned.

One call of the export adapter makes all others (`Op.ENTER`), and lasts as long as there is something to do:
a call that has not returned, a stream that moves, an async function that Python runs for the guest. Results
stay in the arena of the adapter until they are handed over; that is emptied when no call waits for its own.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

from wasmplex.bridge.actor import Actor
from wasmplex.bridge.exporting import ExportCodec, ExportSession
from wasmplex.bridge.flows import Script
from wasmplex.bridge.protocol import ARENA, Event, Op

__all__ = ["Entered", "ServingActor"]

_RETURNED = 2
_FULL = 1 << 20
"""Bytes of the arena from which on no call begins before it can be emptied."""


class Entered:
    """One call.

    :ivar result: what it returns; cancelled by whoever does not want it any more
    :ivar lent: what was lent for it, see `ExportSession`
    """

    __slots__ = ("args", "codec", "lent", "place", "result")

    def __init__(self, codec: ExportCodec, args: tuple[Any, ...]) -> None:
        self.codec = codec
        self.args = args
        self.result: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.lent: list[tuple[int, int, int]] = []
        self.place = 0


class ServingActor(Actor):
    """The task that makes the calls.

    :ivar open: whether it is there, and has not decided to end
    """

    side: ExportSession

    def __init__(self, side: ExportSession) -> None:
        super().__init__(side)
        self.open = False
        self._queue: deque[Entered] = deque()
        self._under_way: dict[int, Entered] = {}
        """Calls that have not returned, by their subtasks."""
        self._entered: set[Entered] = set()
        """Calls that were begun, and whose results have not been given to who waits for them."""
        self._top = ARENA
        side.pulse.calls = lambda: bool(self._under_way or self._queue)

    @property
    def calls(self) -> list[Entered]:
        """The calls whose results nobody has got."""
        return [*self._queue, *self._entered]

    def begin(self, codec: ExportCodec, args: tuple[Any, ...]) -> Entered:
        """Have a function called, in a turn of the task.

        :raises wasmplex.wit.mismatch.ValueMismatch: if an argument does not fit; nothing will be called
        """
        self.side.check(codec, args)
        call = Entered(codec, args)
        self._queue.append(call)
        self.side.pulse.beat()
        return call

    @property
    def wants_turn(self) -> bool:
        """Whether a call may begin."""
        return bool(self._queue) and (self._top < ARENA + _FULL or not self._entered)

    # ------------------------------------------------------------ scripts

    def _enter(self) -> Script:
        call = self._queue.popleft()
        if call.result.cancelled():
            self.side.give_up_arguments(call)
            return
        self._top, _ = yield Op.TOP | (0 if self._entered else 1) << 8
        self.side.prepare(call, self._top)
        self._entered.add(call)
        status, call.place = yield Op.ENTER | call.codec.function.number << 8
        if status & 15 == _RETURNED:
            yield from self._deliver(call)
        else:
            self._under_way[status >> 4] = call
            yield Op.JOIN | (status >> 4) << 32

    def _returned(self, subtask: int) -> Script:
        call = self._under_way.pop(subtask)
        yield Op.LEAVE | subtask << 32
        yield Op.FORGET | subtask << 32
        yield from self._deliver(call)

    def _deliver(self, call: Entered) -> Script:
        self.side.delivering = call
        yield Op.RESULT | call.place << 32
        yield from self.side.settle(call)
        self._entered.discard(call)

    # ------------------------------------------------------------ steps

    def note(self, event: int, a: int, b: int) -> None:
        """Take in an event: a call has returned, or see `Actor.note`."""
        if event != Event.SUBTASK:
            super().note(event, a, b)
        elif b == _RETURNED:
            self.side.scripts.append(self._returned(a))

    def perform(self, event: int, a: int, b: int) -> int | None:
        """Go on with what is under way, then begin the calls that wait."""
        order = super().perform(event, a, b)
        while order is None and self.wants_turn:
            self.side.scripts.append(self._enter())
            order = super().perform(Event.NONE, 0, 0)
        return order

    def step(self, event: int, a: int, b: int) -> int:
        """Perform, wait for what goes on, or end."""
        order = self.perform(event, a, b)
        if order is not None:
            return order
        side = self.side
        side.awake = True
        rests = event == Event.NONE and side.pulse.rests(side)
        if not rests or side.pulse.asks():
            return Op.YIELD
        if not side.pulse.over:
            return Op.NEXT
        self.open = side.awake = False
        return Op.FINISH
