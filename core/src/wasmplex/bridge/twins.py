"""Twins: second versions of a guest's imported functions through which bytes cross at the speed of memory.

Between two components a ``list<u8>`` is copied byte by byte, in a loop that costs more than a nanosecond a
byte; a ``string`` whose encoding is the same on both sides is copied as a whole. As latin1+utf16, any bytes
are a string. So where the guest lowers ``set: func(key: string, value: list<u8>)``, it is given beside it

    wasmplex-twin-0: func(key: list<u8>, value: string)

of the very same core signature, and a core function in front of the two picks one: strings of this encoding
must lie at even addresses. (That is also why a key, a string already, becomes a list: it may lie anywhere.)
Results are placed by the host and need no such choice. Nothing of the guest is taken away: functions that
have no twin, and core modules, stay as they are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from itertools import count
from typing import Any, TypeAlias

from wasmplex.bridge.choosing import MEMORY, Choice, Twin, chooser, option_index
from wasmplex.bridge.kinds import inner_types
from wasmplex.component.binary import Budget, Cursor
from wasmplex.component.draft import (
    CORE_FUNC,
    CORE_INSTANCE,
    AnySort,
    Draft,
    Edit,
    Insertion,
    Lowered,
)
from wasmplex.component.encoding import as_section, leb, signed, text, vec
from wasmplex.component.entities import Sort
from wasmplex.component.scope import Scope
from wasmplex.component.typedefs import PRIMITIVES, read_attributes, read_declaration, read_value
from wasmplex.wit.types import FuncType, ListType, Param, Primitive, ValueType

__all__ = ["TWIN", "Twins", "double"]

TWIN = "wasmplex-twin-"
"""What the names of twins begin with."""
_STRING, _OCTETS = Primitive("string"), ListType(Primitive("u8"))
_STRING_CODE, _OCTETS_CODE = b"\x73", b"\x70\x7d"
_TYPE, _EXPORT, _ASYNC_FUNC = 0x01, 0x04, 0x43
_LATIN1_UTF16, _GC = 0x02, (0x08, 0x09)
_ENCODINGS, _WITH_FUNC = (0x00, 0x01, 0x02), (0x04, 0x05, 0x07)
Assemble = Callable[[str], bytes]


Twins: TypeAlias = Mapping[tuple[str, str], str]
"""For each twin, by import and name, the function it is the twin of."""


def double(wasm: bytes, names: Collection[str], assemble: Assemble) -> tuple[bytes, Twins] | None:
    """Give twins to the functions of some imported instances that move bytes.

    :param names: external names of the imports
    :param assemble: turns the text of a core module into bytes
    :return: the component with the twins, and which there are; None if none of its functions can have one
    """
    draft, types = Draft(wasm), dict[int, _InstanceType]()
    chosen: dict[int, tuple[str, _InstanceType]] = {}
    for name in names:
        if _is_alone(draft, name, names):
            instance, index = draft.imports[name]
            chosen[instance] = name, types.setdefault(index, _InstanceType(draft, index))
    of: dict[tuple[str, str], str] = {}
    sections: dict[int, list[tuple[Lowered, Twin]]] = {}
    for lowered in draft.lowered:
        if lowered.instance in chosen and _is_plain(lowered.options):
            name, type_ = chosen[lowered.instance]
            if (twin := type_.twin(lowered.function)) is not None:
                sections.setdefault(lowered.section, []).append((lowered, twin))
    if not sections:
        return None
    insertions: list[Insertion] = []
    for section, lowerings in sorted(sections.items()):
        insertions.append(_inserted(draft, section, lowerings, insertions, assemble))
    written = draft.written([edit for type_ in types.values() for edit in type_.edits()], insertions)
    of = {(name, twin.name): twin.of for name, type_ in chosen.values() for twin in type_.twins}
    return None if written is None else (written, of)


def _is_alone(draft: Draft, name: str, names: Collection[str]) -> bool:
    """Say whether the instance type of an import is used for none but chosen imports."""
    if name not in draft.imports:
        return False
    type_ = draft.imports[name][1]
    chosen = sum(1 for other, (_, index) in draft.imports.items() if index == type_ and other in names)
    uses = sum(1 for use in draft.uses if use.sort == Sort.TYPE and use.number == type_)
    return type_ in draft.instance_types and uses == chosen


def _is_plain(options: Sequence[bytes]) -> bool:
    kinds = [option[0] for option in options]
    return not any(kind in (0x01, 0x02, *_GC) for kind in kinds) and MEMORY in kinds


# ---------------------------------------------------------------- types


class _InstanceType:
    """An instance type that twins are added to, at its end: what it has keeps its indices."""

    def __init__(self, draft: Draft, index: int) -> None:
        start, self._end = draft.instance_types[index]
        self._draft = draft
        self._scope = Scope.inside(draft.scope, draft.cursor(start), concrete=False)
        self._starts: dict[int, int] = {}
        self._functions: dict[str, int] = {}
        self._added: list[bytes] = []
        self._octets: bytes | None = None
        self._twins: dict[str, Twin | None] = {}
        self._names = (f"{TWIN}{number}" for number in count())
        cursor = draft.cursor(start + 1, self._end)
        self._declarations = cursor.u32("a count")
        self._count = Edit(start + 1, cursor.pos, b"")
        for _ in range(self._declarations):
            self._read(cursor)
        self._last = len(self._types) - 1

    @property
    def _types(self) -> list[Any]:
        return self._scope.spaces[Sort.TYPE]

    @property
    def twins(self) -> list[Twin]:
        """Every twin that was made."""
        return [twin for twin in self._twins.values() if twin is not None]

    def edits(self) -> Iterator[Edit]:
        """Yield what has to change in the file."""
        if self._added:
            yield self._count._replace(data=leb(self._declarations + len(self._added)))
            yield Edit(self._end, self._end, b"".join(self._added))

    def _read(self, cursor: Cursor) -> None:
        start, before = cursor.pos, len(self._types)
        kind = cursor.byte("a declaration")
        read_declaration(cursor, self._scope, kind)
        if kind == _TYPE:
            self._starts[before] = start + 1
        elif kind == _EXPORT and len(self._types) == before:
            export = self._draft.cursor(start + 1, self._end)
            name, _ = read_attributes(export)
            if export.byte("a type") == Sort.FUNC and (index := export.u32("an index")) in self._starts:
                self._functions[name] = self._starts[index]

    def twin(self, function: str) -> Twin | None:
        """Return the twin of a function, made when it is first asked for; None if it cannot have one."""
        if function not in self._twins:
            self._twins[function] = self._make(function) if function in self._functions else None
        return self._twins[function]

    def _make(self, function: str) -> Twin | None:
        cursor = self._draft.cursor(self._functions[function], self._end)
        opcode, codes, params = cursor.byte("a function type"), list[bytes](), list[Param]()
        for _ in range(cursor.u32("a count")):
            name, (code, type_) = cursor.name("a name"), self._value(cursor)
            if (new := self._param(code, type_)) is None:
                return None
            codes.append(text(name) + new)
            params.append(Param(name, type_))
        code, result = b"\1\0", None
        if has_result := cursor.byte("a result") == 0x00:
            code, result = self._value(cursor)
        returned = self._result(code) if has_result else None
        strings = tuple(position for position, param in enumerate(params) if param.type == _OCTETS)
        if not strings and returned is None:
            return None
        tail = b"\0" + (returned or code) if has_result else code
        self._define(bytes([opcode]) + leb(len(codes)) + b"".join(codes) + tail)
        name = next(name for name in self._names if name not in self._scope.exports)
        self._added.append(bytes([_EXPORT, 0]) + text(name) + bytes([Sort.FUNC]) + leb(self._last))
        return Twin(name, function, FuncType(tuple(params), result, opcode == _ASYNC_FUNC), strings)

    def _define(self, definition: bytes) -> bytes:
        """Add a type; return the bytes that refer to it."""
        self._added.append(bytes([_TYPE]) + definition)
        self._last += 1
        return signed(self._last)

    def _value(self, cursor: Cursor) -> tuple[bytes, ValueType]:
        """Read a value type: the bytes that refer to it, and the type."""
        start = cursor.pos
        value = read_value(cursor, self._scope)
        return cursor.data[start : cursor.pos], value

    def _param(self, code: bytes, type_: ValueType) -> bytes | None:
        """Return what stands for a parameter's type; None if strings inside it might lie anywhere."""
        if type_ == _STRING:
            if self._octets is None:
                self._octets = self._define(_OCTETS_CODE)
            return self._octets
        if type_ == _OCTETS:
            return _STRING_CODE
        return None if _STRING in inner_types(type_) else code

    def _result(self, code: bytes) -> bytes | None:
        """Return what stands for a type with the bytes in it as strings; None if it has none to replace.

        What is inside of a type with a name is not replaced: the name has one meaning for all.
        """
        if code[0] in PRIMITIVES:
            return None
        cursor = Cursor(code, 0, len(code), "a type", Budget(1))
        index = cursor.s33("a type")
        if index not in self._starts:
            return None
        if self._types[index] == _OCTETS:
            return _STRING_CODE
        return self._rebuilt(self._draft.cursor(self._starts[index], self._end))

    def _rebuilt(self, cursor: Cursor) -> bytes | None:
        opcode = cursor.byte("a type")
        head, parts = bytes([opcode]), list[tuple[bytes, bytes]]()
        match opcode:
            case 0x70 | 0x6B:  # list, option
                parts = [(b"", self._value(cursor)[0])]
            case 0x6F:  # tuple
                count = cursor.u32("a count")
                head += leb(count)
                parts = [(b"", self._value(cursor)[0]) for _ in range(count)]
            case 0x6A:  # result
                for _ in range(2):
                    there = cursor.flag("whether there is a type")
                    parts.append((b"\1", self._value(cursor)[0]) if there else (b"\0", b""))
        changed = [self._result(code) if code else None for _, code in parts]
        if not any(changed):
            return None
        pairs = zip(parts, changed, strict=True)
        return self._define(head + b"".join(mark + (new or code) for (mark, code), new in pairs))


# ---------------------------------------------------------------- core functions


def _inserted(
    draft: Draft,
    section: int,
    lowerings: Sequence[tuple[Lowered, Twin]],
    before: Sequence[Insertion],
    assemble: Assemble,
) -> Insertion:
    """Lower twins behind a section, and put something in front of those that are not always to be used."""
    at = draft.sections[section]

    def moved(sort: AnySort, index: int) -> int:
        return draft.moved(sort, index, at.end, before)

    first_func, first_core = moved(Sort.FUNC, at.counts[Sort.FUNC]), moved(CORE_FUNC, at.counts[CORE_FUNC])
    aliases = [b"\1\0" + leb(lowered.instance) + text(twin.name) for lowered, twin in lowerings]
    canons = [
        b"\1\0" + leb(first_func + number) + _options(lowered.options, moved)
        for number, (lowered, _) in enumerate(lowerings)
    ]
    data = as_section(6, vec(aliases)) + as_section(8, vec(canons))
    added = Counter[AnySort]({Sort.FUNC: len(lowerings), CORE_FUNC: len(lowerings)})
    instead = {lowered.core: first_core + number for number, (lowered, _) in enumerate(lowerings)}
    choices = [
        Choice(number, first_core + number, moved(CORE_FUNC, lowered.core), lowered, twin)
        for number, (lowered, twin) in enumerate(lowerings)
        if twin.strings
    ]
    if choices:
        module = moved(Sort.MODULE, at.counts[Sort.MODULE])
        instance = moved(CORE_INSTANCE, at.counts[CORE_INSTANCE])
        given = [export for choice in choices for export in choice.exports()]
        made = [
            b"\1" + leb(len(given)) + b"".join(given),
            b"\0" + leb(module) + b"\1" + text("h") + b"\x12" + leb(instance),
        ]
        taken = [b"\0\0\1" + leb(instance + 1) + text(str(choice.number)) for choice in choices]
        data += as_section(1, assemble(chooser(choices)))
        data += as_section(2, vec(made)) + as_section(6, vec(taken))
        for number, choice in enumerate(choices):
            instead[choice.lowered.core] = first_core + len(lowerings) + number
        added.update({CORE_FUNC: len(choices), Sort.MODULE: 1, CORE_INSTANCE: 2})
    return Insertion(section, data, added, instead)


def _options(options: Sequence[bytes], moved: Callable[[AnySort, int], int]) -> bytes:
    """Return canonical options with the encoding of twins, in the new numbering."""
    kept = [option for option in options if option[0] not in _ENCODINGS]
    new = [
        option[:1] + leb(moved(CORE_FUNC, option_index(option))) if option[0] in _WITH_FUNC else option
        for option in kept
    ]
    return leb(len(new) + 1) + b"".join(new) + bytes([_LATIN1_UTF16])
