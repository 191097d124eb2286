"""The elements of one stream or future type: how many fit a buffer, and their codec."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from wasmplex.bridge.codec import elements
from wasmplex.bridge.kinds import KindTable, inner_types, lifts, points
from wasmplex.bridge.layout import size
from wasmplex.bridge.protocol import STREAM_HEAP
from wasmplex.bridge.rowlayout import MOST, RowLayout
from wasmplex.packed import PackedRows
from wasmplex.wit.mismatch import ValueMismatch
from wasmplex.wit.types import FutureType, Own, Primitive, StreamType, ValueType

__all__ = ["Elements"]

_CHUNK: Final = 1 << 16
"""Bytes of a buffer; what one transfer moves at most, unless a single element is larger."""
_LARGEST: Final = STREAM_HEAP - 4096
"""Bytes of a single element with what it points at: there is room for one of these, if for nothing else."""
_MOST: Final = 1 << 18
"""The same for bytes, where the other side has that many."""


class Elements:
    """Codec and sizes of one element type.

    :param type_: the element type, None for a stream or future without
    :param single: True for those of a future, whose value is a list of one; bytes are elements of streams
    :ivar lifts: whether elements hold handles that have to be turned into objects
    :ivar gives: whether elements are passed as handles, or hold some
    :ivar points: whether elements have data out of line
    :ivar memory: which of the two stream memories they use
    :ivar room: how many are read at a time
    :ivar rows: how packed rows become such elements, if they can
    :ivar most: how many are read at a time where more and more come, and written
    """

    def __init__(self, type_: ValueType | None, kinds: KindTable, heap: int, *, single: bool = False) -> None:
        self.type = type_
        self.octets = type_ == Primitive("u8") and not single
        self.lifts = lifts([type_], kinds.custody)
        self.gives = any(isinstance(part, (Own, StreamType, FutureType)) for part in inner_types(type_))
        self.size = size(type_) if type_ else 0
        self.points = points(type_)
        self.memory = int(self.points)
        self.heap = heap
        self.room = max(1, _CHUNK // self.size) if self.size else _CHUNK
        if self.points:
            self.room = max(1, 4096 // self.size)
        self.most = _MOST if self.octets else 64 if self.points else self.room
        self.rows = None if single else RowLayout.of(type_)
        if type_ is not None and not self.octets:
            self._read, self._write = elements(type_, kinds)

    def checked(self, chunk: Any) -> Any:
        """Return a chunk as something that can be sliced.

        :raises ValueMismatch: if it is not what a chunk of this type is
        """
        if self.octets:
            if not isinstance(chunk, (bytes, bytearray, memoryview)):
                raise ValueMismatch("chunk", f"bytes are wanted, not {type(chunk).__name__}")
            return memoryview(chunk).cast("B") if len(chunk) > _CHUNK else bytes(chunk)
        if isinstance(chunk, PackedRows):
            return chunk if self.rows is not None and self.rows.takes(chunk) else list(chunk)
        if isinstance(chunk, (str, bytes)) or not isinstance(chunk, Sequence):
            raise ValueMismatch("chunk", f"a list of elements is wanted, not {type(chunk).__name__}")
        return chunk

    def portion(self, rest: Any) -> int:
        """Return how many elements to move at once: one, if its handles might have to be taken back."""
        if self.gives:
            return 1
        return min(len(rest), self.most)

    def packed(self, rest: Any) -> PackedRows | None:
        """Return those of packed rows that are to be moved at once; None if Python has to read them."""
        layout = self.rows
        if layout is None or not isinstance(rest, PackedRows):
            return None
        rows = rest if len(rest) <= self.most else rest[: self.most]
        while (bound := layout.bound(rows)) > _CHUNK and (count := len(rows)) > 1:
            rows = rows[: max(1, min(count - 1, count * _CHUNK // bound))]
        return rows if bound <= MOST else None

    def fitting(self, count: int, size: int) -> int:
        """Return how many of some elements to move at once, of those that point at something.

        :param size: bytes of all of them, with what they point at
        :raises ValueMismatch: if there is no room for a single one
        """
        if not self.points or size <= _CHUNK:
            return count
        if count == 1 and size > _LARGEST:
            raise ValueMismatch(
                "element",
                f"{size} bytes are too many for one element of a stream or future, {_LARGEST} are the most;"
                " move bytes as stream<u8>",
            )
        return max(1, min(count - 1, count * _CHUNK // size)) if count > 1 else 1

    def encode(self, part: Any, base: int, handles: Any) -> bytes | bytearray | memoryview:
        """Return elements in memory layout for the address `base`; of bytes, these themselves."""
        if self.octets:
            return part  # type: ignore[no-any-return]
        return self._write(part, base, handles)

    def decode(self, pieces: list[bytes], count: int, handles: Any) -> Any:
        """Return elements that the guest has written: the buffer's bytes, then those of the heap."""
        if self.octets:
            return pieces[0]
        if not self.size:
            return [None] * count
        if not self.points:
            return self._read((pieces[0], 0, count), 0, handles)
        heap = pieces[1]
        start = (len(heap) + 15) & -16
        return self._read((heap.ljust(start, b"\0") + pieces[0], start, count), self.heap, handles)
