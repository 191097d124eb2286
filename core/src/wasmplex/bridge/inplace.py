"""Functions linked directly whose bytes the host reads and puts where they lie in the guest's memory.

Where the guest lowers ``read: func(length: u64) -> result<list<u8>, error>``, it is given beside it

    wasmplex-in-place-0: func(length: u64) -> result<tuple<u32, u32>, error>

of the very same core signature, for a list is a pair of address and length. A parameter of bytes needs no
more than that. Behind a result stands a core function (`wasmplex.bridge.taking`) that makes room with the
guest's own ``realloc`` for each pair that came back, and has the host fill it (`wasmplex.engine.inplace`).
Nothing of the guest is taken away.

All of this is for components with one memory, so that it is clear which one is meant, in an engine that shows
it to the host. In others, and in nested components, bytes cross as values: 60 ns and 70 bytes for each.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from wasmplex.bridge.additions import Additions, Reference, is_alone
from wasmplex.bridge.choosing import option_index
from wasmplex.bridge.taking import MEMORY, REALLOC, Added, Call, module_of
from wasmplex.bridge.transport import CALL_MARKS
from wasmplex.component import read
from wasmplex.component.binary import Cursor
from wasmplex.component.draft import CORE_FUNC, CORE_INSTANCE, AnySort, Draft, Insertion, Lowered
from wasmplex.component.encoding import as_section, leb, text, vec
from wasmplex.component.entities import Sort
from wasmplex.component.memories import only_memory
from wasmplex.component.scope import CORE_SORTS
from wasmplex.component.shape import InstanceType, Shape
from wasmplex.engine.accounts import LinearMemory
from wasmplex.engine.inplace import IN_PLACE, Fill, InPlaceFunction
from wasmplex.errors import ComponentError
from wasmplex.plugins.contracts import HostFunction, HostFunctions
from wasmplex.wit.types import (
    ListType,
    Param,
    Primitive,
    TupleType,
    ValueType,
)
from wasmplex.wit.walk import children, func_children, func_with_children, with_children

__all__ = ["PREFIX", "InPlaceBytes", "in_place", "locate"]

PREFIX: Final = "wasmplex-in-place-"
"""What the names of the added functions begin with."""
_OCTETS: Final = ListType(Primitive("u8"))
_PAIR: Final = TupleType((Primitive("u32"), Primitive("u32")))
_PAIR_CODE: Final = b"\x6f\x02\x79\x79"
_SYNC_FUNC: Final = 0x40
_FILL_CODE: Final = b"\x40\x02" + text("token") + b"\x79" + text("to") + b"\x79\0\x79"
_CORE_MEMORY: Final = CORE_SORTS[0x02]
_PLAIN_OPTIONS: Final = frozenset((0x00, 0x01, 0x02, MEMORY, REALLOC))
"""Those of ordinary functions: the encoding of strings, where values are."""
_MARKS: Final = frozenset(
    pages for marks in CALL_MARKS.values() for pages in (marks.calls, marks.buffers, marks.pointed)
)
_PAGE_BITS: Final = 16

Assemble: TypeAlias = Callable[[str], bytes]
_Moved: TypeAlias = Callable[[AnySort, int], int]


@dataclass(frozen=True)
class InPlaceBytes:
    """A component with functions whose bytes are in place.

    :ivar wasm: the component
    :ivar shape: what it imports and exports
    :ivar functions: for each added function, by import and name, the one that it stands for; None for that
        which fills room
    """

    wasm: bytes
    shape: Shape
    functions: Mapping[tuple[str, str], str | None]

    def imports(self, given: Mapping[str, HostFunctions]) -> dict[str, HostFunctions]:
        """Return what to link the component with.

        :param given: the functions of every import of the component as it was
        """
        types = {item.name: item.type for item in self.shape.imports if isinstance(item.type, InstanceType)}
        served: dict[str, dict[str, Any]] = {name: dict(functions) for name, functions in given.items()}
        for (owner, name), of in self.functions.items():
            made = None if of is None else _function(types[owner], name, of, given[owner][of])
            served[owner][name] = made or Fill()
        return dict(served)


def _function(owner: InstanceType, name: str, of: str, served: object) -> InPlaceFunction:
    before, after = owner.functions[of], owner.functions[name]
    parts = zip(func_children(before), func_children(after), strict=True)
    type_ = func_with_children(before, [_merged(*pair) for pair in parts])
    function = served if isinstance(served, HostFunction) else HostFunction(served)  # type: ignore[arg-type]
    return InPlaceFunction(of, function.call, function.context, type_)


def _merged(before: ValueType, after: ValueType) -> ValueType:
    """Return a type with bytes in place where they have become a pair."""
    if before == _OCTETS and after == _PAIR:
        return IN_PLACE
    if before == after:
        return before
    pairs = zip(children(before), children(after), strict=True)
    return with_children(before, [_merged(*pair) for pair in pairs])


def locate(memories: Sequence[LinearMemory]) -> LinearMemory:
    """Return the guest's own memory among those of an instance."""
    [found] = [memory for memory in memories if memory.maximum >> _PAGE_BITS not in _MARKS]
    return found


def in_place(wasm: bytes, names: Iterable[str], assemble: Assemble) -> InPlaceBytes | None:
    """Add functions with bytes in place to some imported instances, and have the guest call them.

    :param names: external names of the imports
    :param assemble: turns the text of a core module into bytes
    :return: None if there are none, or the component is of another kind
    """
    try:
        draft = Draft(wasm)
        limit = only_memory(draft)
        if limit is None or limit in _MARKS:
            return None
        return _Rewriting(draft, set(names), assemble).result()
    except ComponentError:
        return None  # whoever compiles it says what is wrong


# ---------------------------------------------------------------- types


class _Instance(Additions):
    """An instance type that functions with bytes in place are added to."""

    def __init__(self, draft: Draft, index: int) -> None:
        super().__init__(draft, index, PREFIX)
        self.added: dict[str, Added | None] = {}
        self.fill = ""
        self._pair: bytes | None = None

    def add(self, function: str) -> Added | None:
        """Return what was added for a function; None if it moves no bytes, or in another way."""
        if function not in self.added:
            cursor = self.function(function)
            self.added[function] = None if cursor is None else self._make(cursor)
        return self.added[function]

    def _make(self, cursor: Cursor) -> Added | None:
        if cursor.byte("a function type") != _SYNC_FUNC:
            return None
        codes, params, changed = list[bytes](), list[Param](), False
        for _ in range(cursor.u32("a count")):
            name, given = cursor.name("a name"), self.value(cursor)
            # In a list the same bytes could be meant a million times.
            new = self.replaced(given[0], self._as_pair, in_lists=False)
            changed |= new is not None
            codes.append(text(name) + (new or given)[0])
            params.append(Param(name, given[1]))
        tail, returned = b"\1\0", None
        if cursor.byte("a result") == 0x00:
            given = self.value(cursor)
            returned = self.replaced(given[0], self._as_pair, in_lists=False)
            tail = b"\0" + (returned or given)[0]
        if not changed and returned is None:
            return None
        name = self.add_function(bytes([_SYNC_FUNC]) + leb(len(codes)) + b"".join(codes) + tail)
        if returned is not None and not self.fill:
            self.fill = self.add_function(_FILL_CODE)
        return Added(name, tuple(params), returned[1] if returned else None)

    def _as_pair(self, type_: ValueType) -> Reference | None:
        if type_ != _OCTETS:
            return None
        if self._pair is None:
            self._pair = self.define(_PAIR_CODE)
        return self._pair, IN_PLACE


# ---------------------------------------------------------------- rewriting


class _Rewriting:
    """Adds the functions to one component, and has them called."""

    def __init__(self, draft: Draft, names: set[str], assemble: Assemble) -> None:
        self._draft = draft
        self._assemble = assemble
        self._types: dict[int, _Instance] = {}
        self._chosen: dict[int, tuple[str, _Instance]] = {}
        self._insertions: list[Insertion] = []
        for name in names:
            if is_alone(draft, name, names):
                instance, index = draft.imports[name]
                if index not in self._types:
                    self._types[index] = _Instance(draft, index)
                self._chosen[instance] = name, self._types[index]

    def result(self) -> InPlaceBytes | None:
        sections: dict[int, list[tuple[Lowered, Added]]] = {}
        for lowered in self._draft.lowered:
            if lowered.instance in self._chosen and _is_plain(lowered.options):
                added = self._chosen[lowered.instance][1].add(lowered.function)
                if added is not None and _has_realloc(lowered, added):
                    sections.setdefault(lowered.section, []).append((lowered, added))
        if not sections:
            return None
        for section, lowerings in sorted(sections.items()):
            self._insert(section, lowerings)
        edits = [edit for type_ in self._types.values() for edit in type_.edits()]
        written = self._draft.written(edits, self._insertions)
        return None if written is None else InPlaceBytes(written, read(written), dict(self._functions()))

    def _functions(self) -> Iterator[tuple[tuple[str, str], str | None]]:
        for name, type_ in self._chosen.values():
            for of, added in type_.added.items():
                if added is not None:
                    yield (name, added.name), of
            if type_.fill:
                yield (name, type_.fill), None

    def _insert(self, section: int, lowerings: Sequence[tuple[Lowered, Added]]) -> None:
        """Lower what was added behind a section, and put what takes bytes behind what returns them."""
        at = self._draft.sections[section]

        def moved(sort: AnySort, index: int) -> int:
            return self._draft.moved(sort, index, at.end, self._insertions)

        func, core = moved(Sort.FUNC, at.counts[Sort.FUNC]), moved(CORE_FUNC, at.counts[CORE_FUNC])
        calls = [Call(n, *pair, core + n) for n, pair in enumerate(lowerings)]
        filling = [call for call in calls if call.fills]
        owners = list(dict.fromkeys(call.lowered.instance for call in filling))
        fills = {owner: len(calls) + n for n, owner in enumerate(owners)}
        aliases = [_alias(call.lowered.instance, call.added.name) for call in calls]
        aliases += [_alias(owner, self._chosen[owner][1].fill) for owner in owners]
        canons = [_lower(func + call.number, call.lowered.options, moved) for call in calls]
        canons += [_lower(func + number, (), moved) for number in fills.values()]
        data = as_section(6, vec(aliases)) + as_section(8, vec(canons))
        added = Counter[AnySort]({Sort.FUNC: len(aliases), CORE_FUNC: len(aliases)})
        instead = {call.lowered.core: call.core for call in calls}
        if filling:
            for number, call in enumerate(filling):
                instead[call.lowered.core] = core + len(aliases) + number
            data += self._behind(filling, {owner: core + n for owner, n in fills.items()}, section, moved)
            added.update({CORE_FUNC: len(filling), Sort.MODULE: 1, CORE_INSTANCE: 2})
        self._insertions.append(Insertion(section, data, added, instead))

    def _behind(self, calls: Sequence[Call], fills: Mapping[int, int], section: int, moved: _Moved) -> bytes:
        """Return the sections that make the core functions behind some calls.

        :param fills: for each imported instance, the core function that has the host fill room
        """
        counts = self._draft.sections[section].counts
        module, instance = (moved(sort, counts[sort]) for sort in (Sort.MODULE, CORE_INSTANCE))
        given = [export for call in calls for export in call.given(fills[call.lowered.instance], moved)]
        given.append(text("memory") + b"\2" + leb(moved(_CORE_MEMORY, calls[0].option(MEMORY))))
        made = [
            b"\1" + leb(len(given)) + b"".join(given),
            b"\0" + leb(module) + b"\1" + text("h") + b"\x12" + leb(instance),
        ]
        taken = [b"\0\0\1" + leb(instance + 1) + text(str(call.number)) for call in calls]
        code = self._assemble(module_of(calls))
        return as_section(1, code) + as_section(2, vec(made)) + as_section(6, vec(taken))


def _is_plain(options: Sequence[bytes]) -> bool:
    kinds = {option[0] for option in options}
    return kinds <= _PLAIN_OPTIONS and MEMORY in kinds


def _has_realloc(lowered: Lowered, added: Added) -> bool:
    return added.result is None or any(option[0] == REALLOC for option in lowered.options)


def _alias(instance: int, name: str) -> bytes:
    return b"\1\0" + leb(instance) + text(name)


def _lower(function: int, options: Sequence[bytes], moved: _Moved) -> bytes:
    """Return a ``canon lower`` with canonical options in the new numbering."""
    new = [
        option[:1] + leb(moved(CORE_FUNC, option_index(option))) if option[0] == REALLOC else option
        for option in options
    ]
    return b"\1\0" + leb(function) + leb(len(new)) + b"".join(new)
