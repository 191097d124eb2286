"""What the core instances of a component take of a host besides memories, as its binary tells beforehand.

Which modules are instantiated, and how often, is fixed in a component. So the tables that an instance of it
has can be counted without making one, which matters because a host is never told that a table grows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from wasmplex.component.binary import Budget, Cursor
from wasmplex.component.coretypes import read_valtype
from wasmplex.errors import ComponentError

__all__ = ["NOTHING", "UNKNOWN", "Capacity", "module_capacity", "total"]

_IMPORTS, _FUNCTIONS, _TABLES, _GLOBALS = 2, 3, 4, 6
_WITH_INITIALIZER: Final = 0x40
_PER_FUNCTION, _PER_GLOBAL, _PER_INSTANCE = 32, 16, 1024
"""Bytes of an engine's own: they are wasmtime's on 64-bit machines, rounded up."""
_ENDLESS: Final = 2**63


@dataclass(frozen=True, slots=True)
class Capacity:
    """What one instance takes.

    :ivar tables: how many tables there are, by how many elements they begin with and may have
    :ivar contexts: bytes that an engine needs for the core instances themselves
    :ivar known: False if there may be more, because modules come from elsewhere or cannot be read
    """

    tables: Mapping[tuple[int, int], int] = field(default_factory=dict)
    contexts: int = 0
    known: bool = True

    @property
    def elements(self) -> int:
        """Elements of all tables in the beginning."""
        return sum(count * least for (least, _), count in self.tables.items())

    def largest(self) -> int:
        """Return how many elements the largest table begins with."""
        return max((least for least, _ in self.tables), default=0)

    def reached(self, bound: int) -> int:
        """Return how many elements all tables have together if each grows as far as `bound` lets it."""
        return sum(count * min(most, bound) for (_, most), count in self.tables.items())

    def bound(self, elements: int) -> int | None:
        """Return how many elements each table may have, so that all have no more than `elements` together.

        None if they may have more in the beginning, or a small one could then become as large as a large one.
        """
        low, high = self.largest(), elements
        if self.reached(low) > elements:
            return None
        while low < high:
            middle = (low + high + 1) // 2
            if self.reached(middle) <= elements:
                low = middle
            else:
                high = middle - 1
        return low


NOTHING: Final = Capacity()
UNKNOWN: Final = Capacity(known=False)


def total(parts: Iterable[Capacity]) -> Capacity:
    """Return what all of them take together."""
    tables: dict[tuple[int, int], int] = {}
    contexts, known = 0, True
    for part in parts:
        for limits, count in part.tables.items():
            tables[limits] = tables.get(limits, 0) + count
        contexts += part.contexts
        known = known and part.known
    return Capacity(tables, contexts, known)


def module_capacity(data: bytes, start: int, end: int, budget: Budget) -> Capacity:
    """Return what an instance of a core module takes.

    :param start: where the module begins, its first eight bytes included
    :param budget: what reading may cost
    """
    cursor = Cursor(data, start + 8, end, "a core module", budget)
    tables: dict[tuple[int, int], int] = {}
    contexts = _PER_INSTANCE
    try:
        while cursor.pos < cursor.end:
            number, inner = cursor.part("a core module")
            if number in {_IMPORTS, _FUNCTIONS}:
                contexts += _PER_FUNCTION * inner.u32("a count")
            elif number == _GLOBALS:
                contexts += _PER_GLOBAL * inner.u32("a count")
            elif number == _TABLES:
                for _ in inner.vec("tables"):
                    limits = _table(inner)
                    tables[limits] = tables.get(limits, 0) + 1
    except ComponentError:  # newer than this reader, or damaged: the engine will say so
        return Capacity(tables, contexts, known=False)
    return Capacity(tables, contexts)


def _table(cursor: Cursor) -> tuple[int, int]:
    """Read a table's type; return how many elements it begins with, and may have."""
    if cursor.peek("a table") == _WITH_INITIALIZER:
        cursor.fail("how long its initializer is is not known here")
    read_valtype(cursor, set())
    flags = cursor.byte("limits")
    least = _u64(cursor)
    return least, _u64(cursor) if flags & 0x01 else _ENDLESS


def _u64(cursor: Cursor) -> int:
    value = 0
    for shift in range(0, 70, 7):
        byte = cursor.byte("a limit")
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            break
    return value
