"""Puts in front of functions linked directly what weighs their arguments: see `wasmplex.bridge.weighing`.

Nothing else of the guest changes. In nested components it is put in front of WASI's functions: those are the
host's, or of something that stands in for it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final, TypeAlias

from wasmplex.bridge.choosing import MEMORY, option_index
from wasmplex.bridge.weighing import Encoding, weighed, weighing_module
from wasmplex.component import read
from wasmplex.component.binary import Budget, Cursor
from wasmplex.component.draft import CORE_FUNC, CORE_INSTANCE, AnySort, Draft, Insertion, Lowered
from wasmplex.component.encoding import as_section, leb, text, vec
from wasmplex.component.entities import Sort
from wasmplex.component.scope import CORE_SORTS
from wasmplex.component.sections import COMPONENT_MAGIC
from wasmplex.component.shape import InstanceType, Shape
from wasmplex.errors import ComponentError
from wasmplex.wit.types import FuncType

__all__ = ["guarded"]

_WASI: Final = "wasi:"
_COMPONENT: Final = 4
_ENCODINGS: Final[dict[int, Encoding]] = {0x00: "utf8", 0x01: "utf16", 0x02: "latin1+utf16"}
_SYNCHRONOUS: Final = frozenset((*_ENCODINGS, MEMORY, 0x04))
"""The canonical options of a function that is lowered as a synchronous one."""
_CORE_MEMORY: Final = CORE_SORTS[0x02]
_STEPS: Final = 1_000_000

Assemble: TypeAlias = Callable[[str], bytes]
_Weighed: TypeAlias = tuple[Lowered, FuncType]


def guarded(
    wasm: bytes, names: Collection[str], assemble: Assemble, leave: Collection[tuple[str, str]] = ()
) -> bytes:
    """Return the component with what weighs arguments; as it is where that cannot be.

    :param names: external names of the imports that are linked directly
    :param assemble: turns the text of a core module into bytes
    :param leave: functions, by import and name, that nobody calls
    """
    try:
        return _guarded(wasm, names, assemble, leave)
    except ComponentError:
        return wasm  # whoever compiles it says what is wrong


def _guarded(
    wasm: bytes, names: Collection[str], assemble: Assemble, leave: Collection[tuple[str, str]]
) -> bytes:
    wasm = _with_nested(wasm, assemble)
    draft = Draft(wasm)
    groups = _groups(draft, read(wasm), names, leave)
    insertions: list[Insertion] = []
    for section, by_memory in sorted(groups.items()):
        insertions.append(_inserted(draft, section, by_memory, insertions, assemble))
    return draft.written((), insertions) or wasm if insertions else wasm


def _with_nested(wasm: bytes, assemble: Assemble) -> bytes:
    """Return the component with what weighs arguments in the components within."""
    cursor = Cursor(wasm, 0, len(wasm), "a component", Budget(_STEPS))
    cursor.raw(len(COMPONENT_MAGIC), "a component")
    out, changed = [COMPONENT_MAGIC], False
    while cursor.pos < cursor.end:
        at = cursor.pos
        number, inner = cursor.part("a component")
        if number == _COMPONENT:
            before = wasm[inner.pos : inner.end]
            after = _nested(before, assemble)
            changed |= after is not before
            out.append(as_section(number, after))
        else:
            out.append(wasm[at : inner.end])
    return b"".join(out) if changed else wasm


def _nested(wasm: bytes, assemble: Assemble) -> bytes:
    try:
        names = [item.name for item in read(wasm).imports if item.name.startswith(_WASI)]
        return _guarded(wasm, names, assemble, ())
    except ComponentError:
        return wasm  # it refers to what stands around it


def _groups(
    draft: Draft, shape: Shape, names: Collection[str], leave: Collection[tuple[str, str]]
) -> Mapping[int, Mapping[int, list[_Weighed]]]:
    """Return the lowered functions that are to be weighed, by section and, there, by memory."""
    chosen = {draft.imports[name][0]: name for name in names if name in draft.imports}
    types = {item.name: item.type for item in shape.imports if isinstance(item.type, InstanceType)}
    groups: dict[int, dict[int, list[_Weighed]]] = {}
    for lowered in draft.lowered:
        name = chosen.get(lowered.instance)
        if name is None or (name, lowered.function) in leave:
            continue
        type_ = types[name].functions.get(lowered.function)
        if type_ is not None and weighed(type_) and (memory := _memory(lowered)) is not None:
            groups.setdefault(lowered.section, {}).setdefault(memory, []).append((lowered, type_))
    return groups


def _memory(lowered: Lowered) -> int | None:
    """Return the index of the memory that arguments lie in; None if it is lowered in another way."""
    kinds = {option[0]: option for option in lowered.options}
    if MEMORY not in kinds or not kinds.keys() <= _SYNCHRONOUS:
        return None
    return option_index(kinds[MEMORY])


def _encoding(lowered: Lowered) -> Encoding:
    return next((_ENCODINGS[option[0]] for option in lowered.options if option[0] in _ENCODINGS), "utf8")


def _inserted(
    draft: Draft,
    section: int,
    groups: Mapping[int, Sequence[_Weighed]],
    before: Sequence[Insertion],
    assemble: Assemble,
) -> Insertion:
    """Put behind a section a core module for each memory that functions lowered there use."""
    at, data, instead = draft.sections[section], b"", dict[int, int]()

    def moved(sort: AnySort, index: int) -> int:
        return draft.moved(sort, index, at.end, before)

    core, module, instance = (moved(s, at.counts[s]) for s in (CORE_FUNC, Sort.MODULE, CORE_INSTANCE))
    for number, (memory, group) in enumerate(groups.items()):
        given = [
            text(f"call{n}") + b"\0" + leb(moved(CORE_FUNC, lowered.core))
            for n, (lowered, _) in enumerate(group)
        ]
        given.append(text("memory") + b"\2" + leb(moved(_CORE_MEMORY, memory)))
        made = [
            b"\1" + leb(len(given)) + b"".join(given),
            b"\0" + leb(module + number) + b"\1" + text("h") + b"\x12" + leb(instance + 2 * number),
        ]
        front = instance + 2 * number + 1
        taken = [b"\0\0\1" + leb(front) + text(str(n)) for n in range(len(group))]
        code = assemble(weighing_module([(type_, _encoding(lowered)) for lowered, type_ in group]))
        data += as_section(1, code) + as_section(2, vec(made)) + as_section(6, vec(taken))
        instead |= {lowered.core: core + len(instead) + n for n, (lowered, _) in enumerate(group)}
    added = Counter[AnySort]()
    added.update({CORE_FUNC: len(instead), Sort.MODULE: len(groups), CORE_INSTANCE: 2 * len(groups)})
    return Insertion(section, data, added, instead)
