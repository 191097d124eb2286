"""Streams whose source puts bytes where the guest takes them, as long as it has some at hand."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Generator
from typing import Any

from wasmplex.bridge.flows import BLOCKED, DROPPED, WRITE, Script
from wasmplex.bridge.outflows import Outflow
from wasmplex.bridge.protocol import Op
from wasmplex.streams import ByteSource
from wasmplex.wit.mismatch import ValueMismatch

__all__ = ["PouredOutflow"]

_TIMES = 4
"""How many times as much as a guest reads at once is put into the buffer, 1 MiB. What it waits for it takes
at once, and the rest without a step of the host."""


class PouredOutflow(Outflow):
    """A stream from a `ByteSource`, where the host sees the memory of the adapter.

    A task awaits a chunk, as for any other; it is put into the buffer with what the source has at hand then.
    The task rests as long as there is more, or the source tells when there will be: there is no chunk for
    each piece, and no turn of the loop where it is at hand.
    """

    _room: memoryview | None = None
    """The buffer, as long as there is something to put there."""
    _flows = False
    """Whether the source has had bytes at hand."""
    _coming: asyncio.Future[Any] | None = None
    """What the source tells by that it has more."""

    def _begin(self, source: ByteSource, *, single: bool) -> None:
        self._source = source
        super()._begin(source, single=single)

    def _write_rest(self) -> Script:
        return self._pour()

    def event(self, code: int) -> Script:
        """Go on after the guest has taken something."""
        return super().event(code) if self._room is None else self._pour(code)

    def _pour(self, code: int = 0) -> Script:
        """Give the guest the chunk and what is at hand, until it is not ready for more.

        :param code: what came of the write before
        """
        while code != BLOCKED and not self.done:
            self._laid -= code >> 4
            self._next += code >> 4
            if code & 0xF == DROPPED:
                self._stop()
                return
            if not self._laid:
                room = yield from self._made_room()
                self._laid = self._filled(room)
                self._next = self.buffer
            if not self._laid:
                self._since = time.monotonic()
                self.release()
                self._wait()
                return
            code = yield from self._given()

    def _wait(self) -> None:
        """Go on when there are bytes at hand again, or have the task ask for a chunk."""
        try:
            self._coming = self._source.next_at_hand()
        except Exception as error:  # noqa: BLE001  raised here it would be the adapter's
            self.session.scheduler.fail(error)
            return
        if self._coming is None:
            self._emptied()
        else:
            self._sent_all()
            self._coming.add_done_callback(self._came)

    def _came(self, _: object) -> None:
        self._coming = None
        if not (self.done or self.session.closed):
            self.session.script(self._write(), self)

    @property
    def waits(self) -> bool:
        """Whether there is nothing to give."""
        return self._coming is not None or super().waits

    def goes_on(self) -> bool:
        """Say whether there will be something for the guest."""
        return super().goes_on() or (self._coming is not None and not self.done)

    def _filled(self, room: memoryview) -> int:
        """Put the rest of the chunk there, and behind it what is at hand; return how many bytes."""
        if not len(self._rest):
            return self._at_hand(room)
        count = min(len(self._rest), len(room))
        room[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count + self._at_hand(room[count:]) if count < len(room) else count

    def _at_hand(self, room: memoryview) -> int:
        """Have the source put bytes there; return how many. What is wrong with it ends the guest's call."""
        try:
            count = self._source.readinto_nowait(room)
        except Exception as error:  # noqa: BLE001  raised here it would be the adapter's
            self.session.scheduler.fail(error)
            return 0
        if not 0 <= count <= len(room):
            self.session.scheduler.fail(ValueMismatch("bytes", f"{count} cannot be in {len(room)}"))
            return 0
        self._flows = self._flows or count > 0
        return count

    def _given(self) -> Generator[int, tuple[int, int], int]:
        """Write what lies in the buffer; return the code."""
        if not self._joined:
            code, _ = yield self.copying(WRITE, self._next, self._laid)
            self.copied(code)
            return code
        self.session.operands_next = self._next | self._laid << 32
        code, taken = yield self.order(Op.WRITE_ALL, WRITE)
        if code == BLOCKED:
            self._laid -= taken
            self._next += taken
        if code != BLOCKED or taken:
            self.session.scheduler.gave()
        return code

    def _made_room(self) -> Generator[int, tuple[int, int], memoryview]:
        """Return the buffer: as large as a chunk at first, larger where the source has more at hand."""
        most, scheduler = self.elements.most, self.session.scheduler
        size = _TIMES * most
        more = self._flows and not self._held and scheduler.may_grow(size)
        if more and scheduler.chunks.hold_at_once(size):
            self.release()
            self._held = size
        elif self._room is not None:
            return self._room
        else:
            size = min(max(self._size, len(self._rest)), most)
        if grow := self.acquire(size):
            yield grow
        self._room = self.session.buffers[self.elements.memory].view(self.buffer, size)
        return self._room

    def release(self) -> None:
        """Give the buffer back."""
        super().release()
        self._room = None
        self._let_go()
