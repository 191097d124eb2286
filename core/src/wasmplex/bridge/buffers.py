"""Buffers in the stream memories of an adapter: which addresses are in use."""

from __future__ import annotations

from typing import Final

__all__ = ["BufferMemory"]

_SPARED: Final = 1 << 20
"""Bytes of buffers that are kept for those who want one as large."""


class BufferMemory:
    """Addresses in one stream memory: which are in use, and how far it has grown.

    :param first: the lowest address
    :param end: the address behind the highest
    """

    def __init__(self, first: int, end: int) -> None:
        self._first = first
        self._end = end
        self._used: dict[int, int] = {}
        self._spare: dict[int, list[int]] = {}
        """Pieces that were in use, by their sizes: the next one is of a size that there was before."""
        self._spared = 0
        self._grown = 1 << 16

    def __len__(self) -> int:
        return len(self._used)

    def take(self, size: int) -> int:
        """Return the address of a free piece, 16-aligned.

        :raises MemoryError: if there is none that large
        """
        size = (size + 15) & -16
        if spare := self._spare.get(size):
            at = spare.pop()
            self._spared -= size
            if not spare:
                del self._spare[size]
        else:
            at = self._found(size)
        self._used[at] = size
        return at

    def _found(self, size: int) -> int:
        """Return the lowest address of a piece that nobody has had, or that is not kept."""
        kept = [(at, size) for size, spare in self._spare.items() for at in spare]
        at = self._first
        for start, length in sorted([*self._used.items(), *kept]):
            if start - at >= size:
                break
            at = start + length
        if at + size <= self._end:
            return at
        if kept:
            self._spare.clear()
            self._spared = 0
            return self._found(size)
        raise MemoryError(
            f"no room for {size} bytes of stream elements; {len(self._used)} buffers are in use"
        )

    def give_back(self, address: int) -> None:
        """Free a piece; keep it for who takes one as large, unless many are kept."""
        size = self._used.pop(address)
        if self._spared + size <= _SPARED:
            self._spared += size
            self._spare.setdefault(size, []).append(address)

    def grows(self, end: int) -> bool:
        """Say whether the memory has to grow to reach `end`, and count on it from then on."""
        if end <= self._grown:
            return False
        self._grown = end
        return True
