"""What elements of streams and futures point at: it lies in a heap that all reads of an adapter share.

They share it because the engine asks for room without saying what for. The heap is emptied when no read of
such elements is under way. A read that the guest does not write to would keep what all others have found: so
where there is much, reads are taken back, which tells what has come of each, and are made again.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Final, Protocol

from wasmplex.bridge.protocol import EMPTY_HEAP, HEAP_END

__all__ = ["Reading", "StreamHeap"]

_MUCH: Final = 1 << 16
"""Bytes from which on reads are taken back. Until then each read looks at all that others have found."""


class Memory(Protocol):
    """What is asked of a memory that the host sees."""

    def read(self, at: int, count: int) -> bytes:
        """Return the bytes at [at, at + count)."""

    def write(self, at: int, data: bytes) -> None:
        """Write bytes at [at, at + len(data))."""


class Reading(Protocol):
    """A stream or future, one read of which may be under way."""

    def take_back(self) -> Generator[int, tuple[int, int], bool]:
        """End the read; return whether nothing has come of it, so that it is to be made again."""

    def read_again(self) -> Generator[int, tuple[int, int], None]:
        """Make the read again."""


class Side(Protocol):
    """The side of the adapter.

    :ivar emitted: what came out of stream memory
    """

    emitted: list[bytes]

    @property
    def buffers(self) -> Sequence[Memory]:
        """The two stream memories, where the host sees them."""

    def script(self, script: Generator[int, tuple[int, int], None], /) -> None:
        """Have the adapter perform a script while it performs no other."""

    def fetch(self, which: int, address: int, size: int, /) -> Generator[int, tuple[int, int], None]:
        """Get bytes out of a stream memory that the host does not see into `emitted`.

        :param size: -1 is up to the end of the heap
        """

    def put(self, order: int, /) -> None:
        """Have the adapter follow an order that has no outcome."""


class StreamHeap:
    """See the module.

    :ivar clearing: whether reads are being taken back: none may begin
    """

    def __init__(self, side: Side) -> None:
        self._side = side
        self._reads: dict[Reading, None] = {}
        self._size = 0
        """Bytes that were there when it was looked at."""
        self.clearing = False

    def __len__(self) -> int:
        """Return how many reads are under way."""
        return len(self._reads)

    def begin(self, read: Reading) -> None:
        """Note that a read is about to be made."""
        self._reads[read] = None

    def fetch(self, memory: int, at: int) -> Generator[int, tuple[int, int], None]:
        """Get all that lies there, where the host does not see it, as the last of what was emitted."""
        yield from self._side.fetch(memory, at, -1)
        self._size = len(self._side.emitted[-1])

    def seen(self, at: int) -> bytes:
        """Return all that lies there, where the host sees it."""
        memory = self._side.buffers[1]
        self._size = max(0, int.from_bytes(memory.read(HEAP_END, 4), "little") - at)
        return memory.read(at, self._size) if self._size else b""

    def end(self, read: Reading) -> None:
        """Note that nobody needs what a read has found; empty the heap if nobody needs what lies there."""
        del self._reads[read]
        if not self._reads:
            self._size = 0
            if self._side.buffers:
                self._side.buffers[1].write(HEAP_END, bytes(4))
            self._side.put(EMPTY_HEAP)
        elif self._size >= _MUCH and not self.clearing:
            self.clearing = True
            self._side.script(self._clear())

    def _clear(self) -> Generator[int, tuple[int, int], None]:
        """Take all reads back, with the last of which the heap is emptied, and make them again."""
        again = []
        for read in [*self._reads]:
            nothing_came = yield from read.take_back()
            if nothing_came:
                again.append(read)
        self.clearing = False
        for read in again:
            yield from read.read_again()
