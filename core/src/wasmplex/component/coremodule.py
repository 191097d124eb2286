"""A core module opened for additions: its sections by number, read as far as those that add need."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from wasmplex.component.binary import Budget, Cursor
from wasmplex.component.coretypes import read_externtype, read_valtype
from wasmplex.component.encoding import as_section, leb
from wasmplex.component.module import MODULE_MAGIC

__all__ = ["CoreModule", "FuncSignature", "Imported", "Kind"]

_STEPS = 2_000_000
_END = 0x0B
_NUMBERS = frozenset((0x7F, 0x7E, 0x7D, 0x7C, 0x7B))
_ORDER: Final = (1, 2, 3, 4, 5, 13, 6, 7, 8, 9, 12, 10, 11)
"""The sections of a core module in the order in which they have to stand."""


class Kind:
    """What a core import or export is."""

    FUNC = 0x00
    TABLE = 0x01
    MEMORY = 0x02
    GLOBAL = 0x03


class FuncSignature(NamedTuple):
    """A function type of numbers and vectors: a byte for each."""

    params: bytes
    results: bytes


class Imported(NamedTuple):
    """One import.

    :ivar type: its type as it stands in the file
    :ivar start: where the import begins in the file
    """

    module: str
    name: str
    kind: int
    type: bytes
    start: int
    end: int


class CoreModule:
    """One core module within a file.

    :ivar sections: where the content of each section lies; custom sections are not among them
    :raises wasmplex.errors.ComponentError: if a section is unknown, out of order, or does not fit; so do the
        methods that read one, if it is malformed
    """

    def __init__(self, data: bytes, start: int, end: int) -> None:
        self._data = data
        self._start = start
        self._end = end
        self._all: list[tuple[int, int, int, int]] = []
        cursor = Cursor(data, start, end, "a core module", Budget(_STEPS))
        if cursor.raw(len(MODULE_MAGIC), "a core module") != MODULE_MAGIC:
            cursor.fail("this is not a core module", start)
        rest: tuple[int, ...] = _ORDER
        while cursor.pos < cursor.end:
            at = cursor.pos
            number, inner = cursor.part("a core module")
            if number and number not in rest:
                cursor.fail(f"section {number} cannot be here", at)
            if number:
                rest = rest[rest.index(number) + 1 :]
            self._all.append((number, at, inner.pos, inner.end))
        self.sections = {number: (begin, stop) for number, _, begin, stop in self._all if number}

    def cursor(self, number: int) -> Cursor:
        """Return a cursor over the content of a section; one over no definitions if there is none."""
        if number not in self.sections:
            return Cursor(b"\0", 0, 1, "a core module", Budget(_STEPS))
        return Cursor(self._data, *self.sections[number], "a core module", Budget(_STEPS))

    def count(self, number: int) -> int:
        """Return how many definitions a section has."""
        return self.cursor(number).u32("a count")

    # ------------------------------------------------------------ reading

    def types(self) -> list[FuncSignature | None] | None:
        """Return the function types, None for each that is not of numbers; None if there are other types."""
        cursor, found = self.cursor(1), list[FuncSignature | None]()
        for _ in cursor.vec("types"):
            if cursor.byte("a type") != 0x60:
                return None
            parts = []
            for _ in range(2):
                count, at = cursor.u32("a count"), cursor.pos
                for _ in range(count):
                    read_valtype(cursor, set())
                parts.append(cursor.data[at : cursor.pos])
            plain = all(code in _NUMBERS for part in parts for code in part)
            found.append(FuncSignature(*parts) if plain else None)
        return found

    def imports(self) -> Iterator[Imported]:
        """Yield the imports."""
        cursor = self.cursor(2)
        for _ in cursor.vec("imports"):
            start = cursor.pos
            module, name = cursor.text("a module name"), cursor.text("a name")
            kind, at = cursor.byte("a kind"), cursor.pos
            read_externtype(cursor, set(), kind)
            yield Imported(module, name, kind, cursor.data[at : cursor.pos], start, cursor.pos)

    def function_types(self) -> list[int]:
        """Return the index of each function's type, imported functions first."""
        imported = [_first_number(item.type) for item in self.imports() if item.kind == Kind.FUNC]
        cursor = self.cursor(3)
        return imported + [cursor.u32("a type index") for _ in cursor.vec("functions")]

    def exports(self) -> dict[str, tuple[int, int]]:
        """Return kind and index of each export."""
        cursor = self.cursor(7)
        return {
            cursor.text("a name"): (cursor.byte("a kind"), cursor.u32("an index"))
            for _ in cursor.vec("exports")
        }

    def constants(self) -> list[int | None]:
        """Return the values of the defined globals, None for those that change or are no plain ``i32``.

        Those behind one with an initializer that is not understood are left out.
        """
        cursor, found = self.cursor(6), list[int | None]()
        for _ in cursor.vec("globals"):
            is_number = cursor.peek("a type") == 0x7F
            read_valtype(cursor, set())
            fixed = not cursor.flag("whether a global is mutable")
            if (values := _initializer(cursor)) is None:
                break
            found.append(values[0] if len(values) == 1 and is_number and fixed else None)
        return found

    # ------------------------------------------------------------ writing

    def appended(self, number: int, *definitions: bytes) -> bytes:
        """Return the content of a section with definitions added at its end."""
        cursor = self.cursor(number)
        count = cursor.u32("a count")
        return leb(count + len(definitions)) + cursor.data[cursor.pos : cursor.end] + b"".join(definitions)

    def written(self, contents: Mapping[int, bytes], leave_out: int | None = None) -> bytes:
        """Return the module with the content of some sections replaced, or added in its place.

        :param leave_out: number of a section to write without
        """
        out, waiting = [MODULE_MAGIC], [number for number in _ORDER if number in contents]
        for number, start, _, end in self._all:
            while number and waiting and _ORDER.index(waiting[0]) < _ORDER.index(number):
                out.append(as_section(waiting[0], contents[waiting.pop(0)]))
            if number in contents:
                waiting.remove(number)
                out.append(as_section(number, contents[number]))
            elif number != leave_out:
                out.append(self._data[start:end])
        return b"".join(out + [as_section(number, contents[number]) for number in waiting])


def _initializer(cursor: Cursor) -> list[int | None] | None:
    """Read an initializer to its end; return the values of its instructions, None if one is not understood.

    Several are extended constant expressions (Binary.md of WebAssembly, "Expressions"): their sum is not
    computed here.
    """
    values: list[int | None] = []
    while (instruction := cursor.peek("an instruction")) != _END:
        if instruction in _ARITHMETIC:
            cursor.pos += 1
            values.append(None)
        elif instruction in _CONSTANTS:
            values.append(_constant(cursor))
        else:
            return None
    cursor.pos += 1
    return values


_CONSTANTS = {0x23, 0x41, 0x42, 0x43, 0x44, 0xD0, 0xD2}
"""``global.get``, the four ``const``, ``ref.null``, ``ref.func``."""
_ARITHMETIC = {0x6A, 0x6B, 0x6C, 0x7C, 0x7D, 0x7E}
"""``add``, ``sub`` and ``mul`` of ``i32`` and ``i64``."""


def _constant(cursor: Cursor) -> int | None:
    """Read the instruction that gives a constant; return it if it is an ``i32``."""
    match cursor.byte("an instruction"):
        case 0x41:
            return cursor.s33("a number")
        case 0x43:
            cursor.pos += 4
        case 0x44:
            cursor.pos += 8
        case _:
            while cursor.byte("a number") > 0x7F:
                pass
    return None


def _first_number(data: bytes) -> int:
    return Cursor(data, 0, len(data), "a core module", Budget(1)).u32("an index")
