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
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TypeAlias

from wasmplex.bridge.additions import Additions, Reference, is_alone
from wasmplex.bridge.choosing import MEMORY, Choice, Twin, chooser, option_index
from wasmplex.bridge.kinds import inner_types
from wasmplex.component.binary import Cursor
from wasmplex.component.draft import (
    CORE_FUNC,
    CORE_INSTANCE,
    AnySort,
    Draft,
    Insertion,
    Lowered,
)
from wasmplex.component.encoding import as_section, leb, text, vec
from wasmplex.component.entities import Sort
from wasmplex.wit.types import FuncType, ListType, Param, Primitive, ValueType

__all__ = ["TWIN", "Twins", "double"]

TWIN = "wasmplex-twin-"
"""What the names of twins begin with."""
_STRING, _OCTETS = Primitive("string"), ListType(Primitive("u8"))
_STRING_CODE, _OCTETS_CODE = b"\x73", b"\x70\x7d"
_ASYNC_FUNC = 0x43
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
    draft, types, chosen_names = Draft(wasm), dict[int, _Doubled](), set(names)
    chosen: dict[int, tuple[str, _Doubled]] = {}
    for name in names:
        if is_alone(draft, name, chosen_names):
            instance, index = draft.imports[name]
            chosen[instance] = name, types.setdefault(index, _Doubled(draft, index))
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


def _is_plain(options: Sequence[bytes]) -> bool:
    kinds = [option[0] for option in options]
    return not any(kind in (0x01, 0x02, *_GC) for kind in kinds) and MEMORY in kinds


# ---------------------------------------------------------------- types


class _Doubled(Additions):
    """An instance type that twins are added to."""

    def __init__(self, draft: Draft, index: int) -> None:
        super().__init__(draft, index, TWIN)
        self._octets: bytes | None = None
        self._twins: dict[str, Twin | None] = {}

    @property
    def twins(self) -> list[Twin]:
        """Every twin that was made."""
        return [twin for twin in self._twins.values() if twin is not None]

    def twin(self, function: str) -> Twin | None:
        """Return the twin of a function, made when it is first asked for; None if it cannot have one."""
        if function not in self._twins:
            cursor = self.function(function)
            self._twins[function] = None if cursor is None else self._make(function, cursor)
        return self._twins[function]

    def _make(self, function: str, cursor: Cursor) -> Twin | None:
        opcode, codes, params = cursor.byte("a function type"), list[bytes](), list[Param]()
        for _ in range(cursor.u32("a count")):
            name, (code, type_) = cursor.name("a name"), self.value(cursor)
            if (new := self._param(code, type_)) is None:
                return None
            codes.append(text(name) + new)
            params.append(Param(name, type_))
        code, result = b"\1\0", None
        if has_result := cursor.byte("a result") == 0x00:
            code, result = self.value(cursor)
        returned = self.replaced(code, _as_string) if has_result else None
        strings = tuple(position for position, param in enumerate(params) if param.type == _OCTETS)
        if not strings and returned is None:
            return None
        tail = b"\0" + (returned[0] if returned else code) if has_result else code
        name = self.add_function(bytes([opcode]) + leb(len(codes)) + b"".join(codes) + tail)
        return Twin(name, function, FuncType(tuple(params), result, opcode == _ASYNC_FUNC), strings)

    def _param(self, code: bytes, type_: ValueType) -> bytes | None:
        """Return what stands for a parameter's type; None if strings inside it might lie anywhere."""
        if type_ == _STRING:
            if self._octets is None:
                self._octets = self.define(_OCTETS_CODE)
            return self._octets
        if type_ == _OCTETS:
            return _STRING_CODE
        return None if _STRING in inner_types(type_) else code


def _as_string(type_: ValueType) -> Reference | None:
    return (_STRING_CODE, _STRING) if type_ == _OCTETS else None


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
        data += _choosing(choices, module, instance, assemble)
        for number, choice in enumerate(choices):
            instead[choice.lowered.core] = first_core + len(lowerings) + number
        added.update({CORE_FUNC: len(choices), Sort.MODULE: 1, CORE_INSTANCE: 2})
    return Insertion(section, data, added, instead)


def _choosing(choices: Sequence[Choice], module: int, instance: int, assemble: Assemble) -> bytes:
    """Return the sections with what stands in front of twins that are not always to be used.

    :param module: the number of the module that they begin with
    :param instance: the number of the first of its two instances
    """
    given = [export for choice in choices for export in choice.exports()]
    made = [
        b"\1" + leb(len(given)) + b"".join(given),
        b"\0" + leb(module) + b"\1" + text("h") + b"\x12" + leb(instance),
    ]
    taken = [b"\0\0\1" + leb(instance + 1) + text(str(choice.number)) for choice in choices]
    return as_section(1, assemble(chooser(choices))) + as_section(2, vec(made)) + as_section(6, vec(taken))


def _options(options: Sequence[bytes], moved: Callable[[AnySort, int], int]) -> bytes:
    """Return canonical options with the encoding of twins, in the new numbering."""
    kept = [option for option in options if option[0] not in _ENCODINGS]
    new = [
        option[:1] + leb(moved(CORE_FUNC, option_index(option))) if option[0] in _WITH_FUNC else option
        for option in kept
    ]
    return leb(len(new) + 1) + b"".join(new) + bytes([_LATIN1_UTF16])
