"""Finds the library of a component that writes most functions into a table that it shares with others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from wasmplex.component.binary import Cursor
from wasmplex.component.coremodule import CoreModule, FuncSignature, Imported, Kind
from wasmplex.component.draft import Draft
from wasmplex.component.linkage import Linkage, Made
from wasmplex.component.sections import COMPONENT_MAGIC

__all__ = ["LEAST", "TABLE", "Library", "largest"]

LEAST: Final = 1_000
"""Functions that a library has to put into a table to count."""
TABLE: Final = 0x01
"""The core sort of tables."""
_MODULE, _COMPONENT, _START = 1, 4, 9
_TABLES, _MODULE_START, _ELEMENTS = 4, 8, 9
_GLOBAL_SORT = 0x03
_FUNCREF = 0x70


@dataclass(frozen=True)
class Segment:
    """The functions that a library writes into the shared table.

    :ivar base: index of the first in the table
    """

    base: int
    functions: tuple[int, ...]


@dataclass(frozen=True)
class Placed:
    """A module, where it lies in the file, and the core instance that is made from it."""

    instance: int
    place: tuple[int, int]
    module: CoreModule


@dataclass(frozen=True)
class Library:
    """A library that may get a table of its own, and the module that defines the shared one.

    :ivar table: its import of the shared table
    :ivar signatures: the type of each function of the segment
    :ivar shared: the name under which the owner exports the table
    :ivar size: of the shared table, in the beginning
    """

    user: Placed
    table: Imported
    segment: Segment
    signatures: tuple[FuncSignature, ...]
    owner: Placed
    shared: str
    size: int


def largest(draft: Draft, linkage: Linkage) -> Library | None:
    """Return the library with the most functions in a table.

    :return: None if there is none, or code might run before the tables are complete
    """
    modules = [CoreModule(draft.wasm, *place) for place in linkage.modules]
    if any(
        _runs_code(draft.cursor(section.start, section.end), section.number) for section in draft.sections
    ):
        return None
    if any(_MODULE_START in module.sections for module in modules):
        return None
    found = _libraries(linkage, modules)
    most = max(found, key=lambda library: len(library.segment.functions), default=None)
    if most is None or any(_reaches_in(linkage, modules, most, n) for n in range(len(linkage.instances))):
        return None
    return most


def _reaches_in(linkage: Linkage, modules: Sequence[CoreModule], library: Library, number: int) -> bool:
    """Say whether an instance writes into the library's range of the shared table, or might.

    What is written there later than the library's own references would be seen by nobody in its own table.
    """
    made = linkage.instances[number]
    if number == library.user.instance or not isinstance(made, Made):
        return False
    module = modules[made.module]
    imports = [*module.imports()]
    tables = [item for item in imports if item.kind == Kind.TABLE]
    shared = (library.owner.instance, library.shared)
    if all(linkage.origin(made.given[t.module], TABLE, t.name) != shared for t in tables):
        return False
    end = library.segment.base + len(library.segment.functions)
    for base, count in _segments(module, partial(_value, linkage, modules, made, imports)):
        if base is None or (base < end and library.segment.base < base + count):
            return True
    return False


def _segments(
    module: CoreModule, value: Callable[[int], int | None]
) -> Iterator[tuple[int | None, int]]:  # fmt: skip
    """Yield the segments of a module that imports a table: where each begins, and how many functions it has.

    :param value: gives the value of an imported global, if it never changes
    :return: None for where, if that is not known before the code runs; the rest is not read then
    """
    if not module.count(_ELEMENTS):
        return
    cursor = module.cursor(_ELEMENTS)
    for _ in range(cursor.u32("a count")):
        kind = cursor.byte("a segment")  # 2 is 0 with the table and the kind of its elements written out
        if kind == 0x02:
            cursor.u32("an index")
        if kind not in {0x00, 0x02} or (base := _base(cursor, value)) is None:
            yield None, 0
            return
        if kind == 0x02:
            cursor.byte("the kind of an element")
        count = cursor.u32("a count")
        yield base, count
        for _ in range(count):
            cursor.u32("an index")


def _base(cursor: Cursor, value: Callable[[int], int | None]) -> int | None:
    """Read where a segment begins; None if that is no constant, and what follows is not read."""
    match cursor.byte("an instruction"):
        case 0x41:
            base: int | None = cursor.s33("a number")
        case 0x23:
            base = value(cursor.u32("an index"))
        case _:
            return None
    if base is None or base < 0 or cursor.byte("an instruction") != 0x0B:
        return None
    return base


def _runs_code(cursor: Cursor, section: int) -> bool:
    """Say whether a section of a component may run code; a nested component may if it has modules."""
    if section != _COMPONENT:
        return section == _START
    cursor.pos += len(COMPONENT_MAGIC)
    while cursor.pos < cursor.end:
        number, inner = cursor.part("a component")
        if number == _MODULE or _runs_code(inner, number):
            return True
    return False


def _libraries(linkage: Linkage, modules: Sequence[CoreModule]) -> Iterator[Library]:
    uses = Counter(instance.module for instance in linkage.instances if isinstance(instance, Made))
    for number, made in enumerate(linkage.instances):
        if isinstance(made, Made) and uses[made.module] == 1:
            user = Placed(number, linkage.modules[made.module], modules[made.module])
            library = _library(linkage, modules, user, made)
            if library is not None and uses[modules.index(library.owner.module)] == 1:
                yield library


def _library(
    linkage: Linkage, modules: Sequence[CoreModule], user: Placed, made: Made
) -> Library | None:  # fmt: skip
    imports = [*user.module.imports()]
    tables = [item for item in imports if item.kind == Kind.TABLE]
    exported = any(kind == Kind.TABLE for kind, _ in user.module.exports().values())
    if len(tables) != 1 or user.module.count(_TABLES) or exported:
        return None
    segment = _segment(user.module, partial(_value, linkage, modules, made, imports))
    if segment is None or (signatures := _signatures(user.module, segment.functions)) is None:
        return None
    shared = linkage.origin(made.given[tables[0].module], TABLE, tables[0].name)
    if shared is None or not isinstance(of := linkage.instances[shared[0]], Made):
        return None
    owner = Placed(shared[0], linkage.modules[of.module], modules[of.module])
    size = _size_of(owner.module, shared[1])
    if size is None or segment.base + len(segment.functions) > size or owner.module.types() is None:
        return None
    return Library(user, tables[0], segment, signatures, owner, shared[1], size)


def _size_of(module: CoreModule, export: str) -> int | None:
    """Return the size of a module's only table, if nothing fills it and it is exported under a name."""
    if any(item.kind == Kind.TABLE for item in module.imports()) or module.count(_TABLES) != 1:
        return None
    if module.count(_ELEMENTS):
        return None
    cursor = module.cursor(_TABLES)
    cursor.u32("a count")
    if module.exports().get(export) != (Kind.TABLE, 0) or cursor.byte("a type") != _FUNCREF:
        return None
    return cursor.u32("a limit") if cursor.byte("limits") in {0, 1} else None


def _segment(module: CoreModule, value: Callable[[int], int | None]) -> Segment | None:
    """Return the only segment that fills a module's table.

    :param value: gives the value of an imported global, if it never changes
    """
    cursor = module.cursor(_ELEMENTS)
    if cursor.u32("a count") != 1 or cursor.data[cursor.pos] != 0x00:
        return None
    cursor.pos += 1
    if (base := _base(cursor, value)) is None:
        return None
    count = cursor.u32("a count")
    if count < LEAST:
        return None
    functions = tuple(cursor.u32("an index") for _ in range(count))
    return Segment(base, functions)


def _value(
    linkage: Linkage, modules: Sequence[CoreModule], made: Made, imports: Sequence[Imported], index: int
) -> int | None:
    """Return the value of a module's imported global, if it never changes."""
    item = [item for item in imports if item.kind == Kind.GLOBAL][index]
    origin = linkage.origin(made.given[item.module], _GLOBAL_SORT, item.name)
    if origin is None or not isinstance(owner := linkage.instances[origin[0]], Made):
        return None
    module = modules[owner.module]
    _, number = module.exports()[origin[1]]
    number -= sum(item.kind == Kind.GLOBAL for item in module.imports())
    constants = module.constants()
    return constants[number] if 0 <= number < len(constants) else None


def _signatures(module: CoreModule, functions: Sequence[int]) -> tuple[FuncSignature, ...] | None:
    types, of = module.types(), module.function_types()
    if types is None:
        return None
    found = [types[of[function]] for function in functions]
    return None if None in found else tuple(signature for signature in found if signature is not None)
