"""Many calls of exports in one instance at once, and what goes on after they have returned.

One call of the export adapter makes all others (`Op.ENTER`), and lasts as long as there is something to do:
a call that has not returned, a stream that moves, an async function that Python runs for the guest. Results
stay in the arena of the adapter until they are handed over; that is emptied when no call waits for its own.
Calls whose arguments are written already are begun together; others one by one, at the top of the arena.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

from wasmplex.bridge.actor import ALONE, Actor
from wasmplex.bridge.exportcodecs import ExportCodec
from wasmplex.bridge.exporting import ExportSession
from wasmplex.bridge.flows import Plan, Script
from wasmplex.bridge.protocol import ARENA, BLOCK_BYTES, BLOCKS, EMPTY_ARENA, FULL, ORDERS_MOST, Event, Op

__all__ = ["Entered", "ServingActor"]

_RETURNED = 2


class Entered:
    """One call.

    :ivar result: what it returns; cancelled by whoever does not want it any more
    :ivar block: its arguments, if they could be written early
    :ivar given: the keys of the objects in it
    :ivar lent: what was lent for it, see `ExportSession`
    """

    __slots__ = ("args", "block", "codec", "given", "lent", "place", "result")

    def __init__(self, codec: ExportCodec, args: tuple[Any, ...]) -> None:
        self.codec = codec
        self.args = args
        self.result: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.block = bytearray()
        self.given: list[int] = []
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
        self._open: dict[Entered, None] = {}
        """Calls whose results nobody has got."""
        self._entered: set[Entered] = set()
        """Those of them that were begun."""
        self._begun = 0
        self._idle = False
        """Whether there was nothing to do for a while."""
        self._top = ARENA
        side.scheduler.calls = lambda: bool(self._under_way or self._queue)

    @property
    def calls(self) -> list[Entered]:
        """The calls whose results nobody has got."""
        return [*self._open]

    def begin(self, codec: ExportCodec, args: tuple[Any, ...]) -> Entered:
        """Have a function called, in a turn of the task.

        :raises wasmplex.wit.mismatch.ValueMismatch: if an argument does not fit; nothing will be called
        """
        call = Entered(codec, args)
        self.side.admit(call)
        self._open[call] = None
        self._idle = False
        self._queue.append(call)
        self.side.scheduler.gather()
        return call

    def clear(self) -> None:
        """Forget the calls: the error that they have failed with refers to this by its frames."""
        for calls in (self._queue, self._under_way, self._open, self._entered, self._lanes):
            calls.clear()

    @property
    def wants_turn(self) -> bool:
        """Whether a call may begin."""
        return bool(self._queue) and (self._top < ARENA + FULL or not self._entered)

    # ------------------------------------------------------------ scripts

    def _enter(self, call: Entered) -> Script:
        if call.result.cancelled():
            del self._open[call]
            self.side.give_up_arguments(call)
            return
        if not self._entered:
            self._top = ARENA
            self.side.put(EMPTY_ARENA)
        self._entered.add(call)
        at = 0
        if call.codec.early:
            at = BLOCKS + BLOCK_BYTES * (self._begun % ORDERS_MOST)
            self._begun += 1
            self.side.calls.write(at, call.block)
        else:
            self._top, _ = yield int(Op.TOP)
            self.side.prepare(call, self._top)
        status, call.place = yield Op.ENTER | call.codec.function.number << 8 | at << 32
        if status & 15 == _RETURNED:
            yield from self._deliver(call, status >> 4)
        else:
            self._under_way[status >> 4] = call
            self.side.put(Op.JOIN | (status >> 4) << 32)

    def _returned(self, subtask: int) -> Script:
        call = self._under_way.pop(subtask)
        self.side.put(Op.LEAVE | subtask << 32)
        self.side.put(Op.FORGET | subtask << 32)
        yield from self._deliver(call)

    def _deliver(self, call: Entered, size: int = 0) -> Script:
        """Hand a result over.

        :param size: of the result, if there are objects in the places of its handles already; else 0
        """
        at = call.place
        if not size:
            self.side.delivering = call
            at, size = yield Op.RESULT | call.codec.function.number << 8 | at << 32
        self._top = max(self._top, at + size)
        if call.lent or call.codec.takes:
            yield from self.side.settle(call, at, size)
        else:
            self.side.resolve(call, *self.side.arrived(at, size))
        self._entered.discard(call)
        del self._open[call]

    # ------------------------------------------------------------ steps

    def note(self, event: int, a: int, b: int) -> Plan | None:
        """Take in an event: a call has returned, or see `Actor.note`."""
        if event != Event.SUBTASK:
            return super().note(event, a, b)
        return (self._under_way[a], self._returned(a)) if b == _RETURNED else None

    def perform(self, event: int, a: int, b: int) -> None:
        """Go on with what is under way, and begin the calls that wait."""
        if self.wants_turn:
            for _ in range(min(len(self._queue), ORDERS_MOST)):
                call = self._queue.popleft()
                self.side.script(self._enter(call), call if call.codec.early else ALONE)
        super().perform(event, a, b)

    def step(self, event: int, a: int, b: int) -> int:
        """Perform, wait for what goes on, or end."""
        return self.follow(event, a, b)

    def rest(self, event: int) -> int:
        """Wait for what goes on, or end."""
        side = self.side
        side.awake = True
        rests = event == Event.NONE and side.scheduler.rests(side)
        if not rests or side.scheduler.asks():
            return Op.YIELD
        if not side.scheduler.over or not self._idle:
            # Where calls follow each other each finds the task there: it waits once more before it ends.
            self._idle = side.scheduler.over
            return Op.NEXT
        self.open = side.awake = False
        return Op.FINISH
