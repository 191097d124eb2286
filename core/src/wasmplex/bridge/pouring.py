"""Streams whose source puts bytes where the guest takes them, as long as it has some at hand."""

from __future__ import annotations

import time
from collections.abc import Generator

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

    It begins like any other, with a chunk that a task has awaited. When the guest has taken that, the task
    rests while the source has bytes at hand: there is no chunk, and no turn of the loop, for each piece.
    """

    _room: memoryview | None = None
    """Where the source puts bytes: the buffer, as long as some are at hand."""

    def _begin(self, source: ByteSource, *, single: bool) -> None:
        self._source = source
        super()._begin(source, single=single)

    def _emptied(self) -> None:
        """Leave the task alone until nothing is at hand."""

    def _write(self) -> Script:
        yield from super()._write()
        if not (self.done or self._laid):
            yield from self._pour()

    def event(self, code: int) -> Script:
        """Go on after the guest has taken something."""
        return super().event(code) if self._room is None else self._pour(code)

    def _pour(self, code: int = 0) -> Script:
        """Give the guest what is at hand, until it is not ready for more.

        :param code: what came of the write before
        """
        while code != BLOCKED:
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
                super()._emptied()
                return
            code = yield from self._given()

    def _filled(self, room: memoryview) -> int:
        """Have the source put bytes there; return how many. What is wrong with it ends the guest's call."""
        try:
            count = self._source.readinto_nowait(room)
        except Exception as error:  # noqa: BLE001  raised here it would be the adapter's
            self.session.pulse.fail(error)
            return 0
        if not 0 <= count <= len(room):
            self.session.pulse.fail(ValueMismatch("bytes", f"{count} cannot be in {len(room)}"))
            return 0
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
            self.session.pulse.gave()
        return code

    def _made_room(self) -> Generator[int, tuple[int, int], memoryview]:
        """Return where the source may put bytes: as much as the chunk before had at first, then more."""
        most, pulse = self.elements.most, self.session.pulse
        size = _TIMES * most
        if self._room is None:
            size = min(self._size, most)
        elif not self._held and pulse.may_grow(size) and pulse.chunks.hold_at_once(size):
            self.release()
            self._held = size
        else:
            return self._room
        if grow := self.acquire(size):
            yield grow
        self._room = self.session.buffers[self.elements.memory].view(self.buffer, size)
        return self._room

    def release(self) -> None:
        """Give the buffer back."""
        super().release()
        self._room = None
        self._let_go()
