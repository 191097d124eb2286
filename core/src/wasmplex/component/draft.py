"""A component opened for additions: where its definitions and the indices in them stand.

Definitions refer to each other by index, so whatever is put between two of them shifts the indices of what
follows. A `Draft` knows each place of the outermost component where an index is written, and writes the
component anew with definitions inserted after some of its sections.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

from wasmplex.component.binary import Budget, Cursor
from wasmplex.component.encoding import as_section, leb
from wasmplex.component.entities import Context, Item, Sort
from wasmplex.component.module import module_budget
from wasmplex.component.scope import CORE_SORTS, Scope
from wasmplex.component.sections import COMPONENT_MAGIC, DEFINITIONS, read_section
from wasmplex.component.typedefs import read_attributes

__all__ = ["CORE_FUNC", "CORE_INSTANCE", "AnySort", "Draft", "Edit", "Insertion", "Lowered"]

AnySort: TypeAlias = Sort | str
"""A sort of the component level, or the name of a core sort: the numbers of the two overlap."""
CORE_FUNC, CORE_INSTANCE = CORE_SORTS[0x00], CORE_SORTS[0x12]
_STEPS = 1_000_000
_COMPONENT = 4


class Use(NamedTuple):
    """A place where an index is written."""

    start: int
    end: int
    sort: AnySort
    number: int


class Lowered(NamedTuple):
    """A ``canon lower`` of a function of an imported instance.

    :ivar section: position of its section in `Draft.sections`
    :ivar core: index of the core function that it defines
    :ivar options: its canonical options, each as it stands in the file, its first byte the kind
    """

    section: int
    core: int
    instance: int
    function: str
    options: tuple[bytes, ...]


class Edit(NamedTuple):
    """Bytes to put in the place of ``[start, end)`` of the file."""

    start: int
    end: int
    data: bytes


@dataclass(frozen=True)
class Section:
    """One section: its number, where its content lies, how much of each sort there is after it."""

    number: int
    start: int
    end: int
    counts: Mapping[AnySort, int]


@dataclass(frozen=True)
class Insertion:
    """Sections to put behind the section at a position, and how much of each sort they define.

    :ivar instead: for core functions defined before: the index to use from here on, in the new numbering
    """

    after: int
    data: bytes
    added: Mapping[AnySort, int]
    instead: Mapping[int, int]


@dataclass(slots=True)
class _RecordingScope(Scope):
    """A scope that notes where indices into its index spaces are written."""

    uses: list[Use] = field(default_factory=list)

    def item(self, cursor: Cursor, sort: Sort) -> Item:
        start = cursor.pos
        item = Scope.item(self, cursor, sort)
        self._note(cursor, start, sort)
        return item

    def core_index(self, cursor: Cursor, sort: int) -> int:
        start = cursor.pos
        index = Scope.core_index(self, cursor, sort)
        self._note(cursor, start, Sort.MODULE if sort == Sort.MODULE else CORE_SORTS[sort])
        return index

    def _note(self, cursor: Cursor, start: int, sort: AnySort) -> None:
        here = Cursor(cursor.data, start, cursor.end, cursor.section, cursor.budget)
        self.uses.append(Use(start, cursor.pos, sort, here.u32("an index")))


class Draft:
    """A component read for editing.

    :ivar imports: the instances it imports: index of the instance, index of its type
    :ivar instance_types: where instance types of the outermost component stand, by type index
    :ivar lowered: its lowered functions of instances
    :raises wasmplex.errors.ComponentError: if it is malformed
    """

    def __init__(self, wasm: bytes) -> None:
        self.wasm = wasm
        self.sections: list[Section] = []
        self.imports: dict[str, tuple[int, int]] = {}
        self.instance_types: dict[int, tuple[int, int]] = {}
        self.lowered: list[Lowered] = []
        self._functions: dict[int, tuple[int, str]] = {}
        self.scope = _RecordingScope(Context(), None, concrete=True)
        self._read()

    @property
    def uses(self) -> Sequence[Use]:
        """Every place where an index into the outermost component's index spaces is written."""
        return self.scope.uses

    def cursor(self, start: int, end: int | None = None) -> Cursor:
        """Return a cursor over a part of the file."""
        return Cursor(self.wasm, start, len(self.wasm) if end is None else end, "a draft", Budget(_STEPS))

    # ------------------------------------------------------------ reading

    def _read(self) -> None:
        cursor, modules = self.cursor(len(COMPONENT_MAGIC)), module_budget()
        while cursor.pos < cursor.end:
            number, inner = cursor.part("a component")
            start = inner.pos
            if (read := DEFINITIONS.get(number)) is None:
                read_section(inner, self.scope, number, modules)
            else:
                for _ in inner.vec("definitions"):
                    at = inner.pos
                    read(inner, self.scope)
                    self._note(number, at, inner.pos)
            self.sections.append(Section(number, start, cursor.pos, self._counts()))

    def _counts(self) -> dict[AnySort, int]:
        counts: dict[AnySort, int] = {sort: len(space) for sort, space in self.scope.spaces.items()}
        return counts | {name: self.scope.core[sort] for sort, name in CORE_SORTS.items()}

    def _note(self, number: int, start: int, end: int) -> None:
        cursor, spaces = self.cursor(start, end), self.scope.spaces
        match number:
            case 7 if self.wasm[start] == 0x42:
                self.instance_types[len(spaces[Sort.TYPE]) - 1] = (start, end)
            case 10:
                name, _ = read_attributes(cursor)
                if cursor.byte("a type") == Sort.INSTANCE:
                    self.imports[name] = (len(spaces[Sort.INSTANCE]) - 1, cursor.u32("an index"))
            case 6 if self.wasm[start : start + 2] == b"\x01\0":
                cursor.pos += 2
                instance = cursor.u32("an index")
                self._functions[len(spaces[Sort.FUNC]) - 1] = (instance, cursor.name("a name"))
            case 8 if self.wasm[start : start + 2] == b"\x01\0":
                cursor.pos += 2
                self._note_lowered(cursor)

    def _note_lowered(self, cursor: Cursor) -> None:
        function = self._functions.get(cursor.u32("an index"))
        options = []
        for _ in cursor.vec("options"):
            start, kind = cursor.pos, cursor.byte("an option")
            if kind in _WITH_INDEX:
                cursor.u32("an index")
            options.append(self.wasm[start : cursor.pos])
        if function is not None:
            core = self.scope.core[0x00] - 1
            self.lowered.append(Lowered(len(self.sections), core, *function, tuple(options)))

    # ------------------------------------------------------------ writing

    def written(self, edits: Iterable[Edit], insertions: Sequence[Insertion]) -> bytes | None:
        """Return the component with the insertions made and every index behind them shifted.

        :param edits: other changes to the content of sections, apart from indices
        :param insertions: in the order of the sections they follow
        :return: None if an index inside of a nested component would have to change
        """
        changes = sorted([*edits, *self._shifted(insertions)])
        behind = {insertion.after: insertion.data for insertion in insertions}
        out, taken = [COMPONENT_MAGIC], 0
        for position, section in enumerate(self.sections):
            body, at = bytearray(), section.start
            while taken < len(changes) and changes[taken].end <= section.end:
                edit, taken = changes[taken], taken + 1
                if section.number == _COMPONENT:
                    return None
                body += self.wasm[at : edit.start] + edit.data
                at = edit.end
            body += self.wasm[at : section.end]
            out += [as_section(section.number, bytes(body)), behind.get(position, b"")]
        return b"".join(out)

    def _shifted(self, insertions: Sequence[Insertion]) -> Iterable[Edit]:
        for use in self.uses:
            index = self.moved(use.sort, use.number, use.start, insertions)
            if index != use.number:
                yield Edit(use.start, use.end, leb(index))

    def moved(self, sort: AnySort, index: int, at: int, insertions: Sequence[Insertion]) -> int:
        """Return what an index that stands at an offset of the file becomes."""
        moved = index
        for insertion in insertions:
            section = self.sections[insertion.after]
            if at < section.end:
                break
            if sort == CORE_FUNC and index in insertion.instead:
                return insertion.instead[index]
            if index >= section.counts[sort]:
                moved += insertion.added.get(sort, 0)
        return moved


_WITH_INDEX = (0x03, 0x04, 0x05, 0x07, 0x08)
