"""Rows as a server of PostgreSQL's protocol sends them, passed on to a guest without Python reading them.

A row is a ``DataRow`` message (PostgreSQL, "Message Formats"): ``D``, its length, the number of fields, and
for each its length, -1 for NULL, and its bytes, numbers with the highest byte first. `PackedRows` is a chunk
for a stream whose elements are lists of a variant: the bridge writes them where the guest will read them.
Whoever wants Python's values gets these from it as from any sequence.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, overload

__all__ = ["Columns", "Form", "PackedRows"]

_COUNT, _SIZE = struct.Struct(">H"), struct.Struct(">i")

Form: TypeAlias = Literal["integer", "boolean", "float", "double", "text", "octets", "characters"]
"""How a field's bytes become a payload: ``octets`` as a list of bytes, ``characters`` as a tuple of no limit
and these, ``float`` and ``double`` as a mantissa, an exponent and a sign, a tuple."""
Columns: TypeAlias = tuple[tuple[str, Form], ...]
"""The case of the variant that each column's values are, and their form."""


@dataclass(frozen=True, slots=True)
class PackedRows(Sequence[Any]):
    """Some rows.

    :ivar data: their messages, one behind the other
    :ivar starts: where each begins, and in the end where the last one ends
    :ivar read: returns a row from its fields, bytes or None
    """

    columns: Columns
    data: bytes | bytearray
    starts: Sequence[int]
    read: Callable[[Sequence[bytes | None]], Any]

    def __len__(self) -> int:
        return len(self.starts) - 1

    @property
    def size(self) -> int:
        """Bytes of all rows."""
        return self.starts[-1] - self.starts[0]

    @overload
    def __getitem__(self, index: int) -> Any: ...
    @overload
    def __getitem__(self, index: slice) -> PackedRows: ...
    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            first, last, step = index.indices(len(self))
            if step != 1:
                raise ValueError("a step is not to be had")
            return PackedRows(self.columns, self.data, self.starts[first : max(last, first) + 1], self.read)
        if index < 0:
            index += len(self)
        if not 0 <= index < len(self):
            raise IndexError(index)
        return self.read(_fields(bytes(self.data[self.starts[index] : self.starts[index + 1]]), 0))

    def __iter__(self) -> Iterator[Any]:
        data = bytes(self.data)
        return (self.read(_fields(data, start)) for start in self.starts[:-1])


def _fields(data: bytes, at: int) -> list[bytes | None]:
    fields: list[bytes | None] = []
    add, size_at = fields.append, _SIZE.unpack_from
    (count,) = _COUNT.unpack_from(data, at + 5)
    at += 7
    for _ in range(count):
        (size,) = size_at(data, at)
        at += 4
        if size < 0:
            add(None)
        else:
            add(data[at : at + size])
            at += size
    return fields
