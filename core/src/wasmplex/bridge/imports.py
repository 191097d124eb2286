"""Generates the import adapters: the components below a guest that make its imports of plain functions.

There is one for most (`BELOW`): it defines the resources, so that a borrowed handle costs nothing. What it
cannot serve goes through a second one (`ASIDE`), which has to ask for everything it does with a handle:

- a stream or future may not be written and read by one component instance, unless it moves numbers. What
  makes those that may come home writes them as well, and is the first; what is given them is in the second.
- where wasmtime calls the host wrongly (`wasmplex.engine.defects`), functions of interfaces that are linked
  directly.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from wasmplex.bridge.builtins import Builtins
from wasmplex.bridge.carrying import call, direct_call, lifted, return_cores, task_return
from wasmplex.bridge.custody import Custody, keeper_types
from wasmplex.bridge.direct import DIRECT, is_direct
from wasmplex.bridge.elsewhere import elsewhere_imports, maker, maker_core
from wasmplex.bridge.kinds import End, Function, KindTable
from wasmplex.bridge.parts import START, Parts, host_instance
from wasmplex.bridge.places import Exchanged, exchanged_call
from wasmplex.bridge.protocol import DROPPED
from wasmplex.bridge.transport import CALL_MARKS, MEMORY, Transport
from wasmplex.bridge.wat import BagScope, ImportScope, Scope
from wasmplex.wit.types import (
    Resource,
    ValueType,
)

__all__ = [
    "ASIDE", "BELOW", "TYPES", "ImportAdapter", "Role", "Wanted", "import_adapter",
]  # fmt: skip

TYPES = "types"
"""The instance of all types that need a name, which the first import adapter exports before anything else."""


@dataclass(frozen=True)
class Role:
    """Which import adapter it is.

    :ivar name: what the component is called in text
    :ivar host: the instance of plain functions that it imports
    :ivar start: the export of the composed component for its ``start``
    """

    name: Literal["below", "aside"]
    host: str
    start: str


BELOW = Role("below", "wasmplex:bridge/imports", "wasmplex-start")
ASIDE = Role("aside", "wasmplex:bridge/aside", "wasmplex-start-aside")


@dataclass(frozen=True)
class Wanted:
    """What an import adapter is to do besides serving functions.

    :ivar resources: those it has to do with, besides what is in its functions' types
    :ivar custody: who defines each, by its id; the adapter, what is not in it
    :ivar shared: ids of those it defines that another adapter has handles of
    :ivar makes: streams and futures that it makes for other adapters
    :ivar elsewhere: those that another adapter makes for it
    """

    resources: Sequence[Resource] = ()
    custody: Mapping[int, Custody] = field(default_factory=dict)
    shared: Collection[int] = ()
    makes: Sequence[End] = ()
    elsewhere: Collection[End] = ()


@dataclass(frozen=True)
class ImportAdapter:
    """A generated adapter.

    It exports the function with number 3 as ``f3``, and what it does for others as ``take0``,
    ``make-stream0`` and so on.

    :ivar text: the component in the text format
    :ivar functions: what it carries, by number
    :ivar keeps: the resources that it keeps for others, by id: the name of each in the instance `TYPES`
    :ivar types: the types that it imports besides resources, each with the name of the import
    :ivar elsewhere: the streams and futures that it has made for it
    :ivar needs_start: whether its ``start`` must be called once in every instance
    :ivar direct: numbers of the functions whose calls are direct
    :ivar exchanged: how it exchanges the handles of functions by itself, by number
    """

    role: Role
    text: str
    functions: tuple[Function, ...]
    kinds: KindTable
    builtins: Builtins
    needs_start: bool
    keeps: dict[int, str]
    types: tuple[tuple[str, ValueType], ...] = ()
    elsewhere: frozenset[End] = frozenset()
    direct: frozenset[int] = frozenset()
    exchanged: Mapping[int, Exchanged] = field(default_factory=dict)

    @property
    def bare(self) -> dict[str, str]:
        """The host's functions for direct calls, by the name of the core function."""
        return {f"direct{number}": f"{DIRECT}{number}" for number in sorted(self.direct)}


def import_adapter(
    role: Role, functions: Sequence[Function], transport: Transport, wanted: Wanted
) -> ImportAdapter:
    """Generate the adapter for some imported functions.

    :param functions: the functions, numbered
    :raises BridgeError: if a type cannot be carried
    """
    kinds, scope = _numbered(functions, wanted)
    keeps = {r.id: f"r{n}" for n, r in enumerate(kinds.resources) if kinds.custody(r) is Custody.DEFINED}
    kept = [number for number, resource in enumerate(kinds.resources) if resource.id in wanted.shared]
    imported = elsewhere_imports(kinds, wanted.elsewhere, scope)
    builtins = Builtins.of(kinds, scope, wanted.elsewhere)
    functions_lifted = [lifted(function, scope) for function in functions]
    made = [maker(end, kinds, scope) for end in wanted.makes]
    returns = "\n".join(task_return(f, scope) for f in functions if f.type.is_async)
    tasks = any(f.type.is_async for f in functions) or bool(kinds.streams or kinds.futures)
    calls = _calls(functions, kinds, builtins, transport, tasks=tasks)
    tables = [*_kept_core(kept), *(maker_core(end, kinds, builtins) for end in wanted.makes)]
    parts = _parts(
        role, functions, builtins, transport, tables, calls.direct, tasks=tasks, defines=bool(keeps)
    )
    lines = [
        f"(component ${role.name}_adapter",
        f'(import "host" (instance $host\n{host_instance(transport, parts.bare.values())}))',
        *imported,
        parts.memories,
        _resources([n for n, r in enumerate(kinds.resources) if r.id in keeps], transport),
        *scope.take(),
        parts.canons,
        returns,
        parts.machine("\n".join(calls.cores)),
        "\n".join(functions_lifted),
        START if tasks else "",
        *_types(scope, keeps),
        *(f'(export "f{f.number}" (func $f{f.number}))' for f in functions),
        *(_keeper(number) for number in kept),
        *made,
        ")",
    ]
    types = scope.introduced if isinstance(scope, ImportScope) else []
    return ImportAdapter(
        role, "\n".join(lines), tuple(functions), kinds, builtins, tasks, keeps, tuple(types),
        frozenset(wanted.elsewhere), calls.direct, calls.exchanged,
    )  # fmt: skip


class _Calls(NamedTuple):
    """How an adapter's functions call the host.

    :ivar exchanged: how the handles of each are exchanged, by its number
    :ivar direct: the numbers of those that are called without values
    :ivar cores: a core function for each
    """

    exchanged: dict[int, Exchanged]
    direct: frozenset[int]
    cores: list[str]


def _calls(
    functions: Sequence[Function], kinds: KindTable, builtins: Builtins, transport: Transport, *, tasks: bool
) -> _Calls:
    by_host = transport is not MEMORY
    exchanged = {f.number: Exchanged() if by_host else exchanged_call(f, kinds, builtins) for f in functions}
    direct = frozenset(
        f.number for f in functions if is_direct(f, kinds, transport.name, exchanged[f.number], tasks=tasks)
    )
    cores = [
        direct_call(f, exchanged[f.number], tasks=tasks)
        if f.number in direct
        else call(f, kinds, exchanged[f.number])
        for f in functions
    ]
    return _Calls(exchanged, direct, cores)


def _numbered(functions: Sequence[Function], wanted: Wanted) -> tuple[KindTable, Scope]:
    """Give the resources, streams and futures of an adapter numbers, and its types a scope."""
    kinds = KindTable.of(functions)
    kinds.custodies = dict(wanted.custody)
    kinds.add_all(wanted.resources, wanted.makes)
    scope: Scope = ImportScope("t") if kinds.custodians() or wanted.elsewhere else BagScope("t")
    scope.resources = {resource.id: f"$r{number}" for number, resource in enumerate(kinds.resources)}
    return kinds, scope


def _parts(
    role: Role,
    functions: Sequence[Function],
    builtins: Builtins,
    transport: Transport,
    tables: Sequence[str],
    direct: Collection[int],
    *,
    tasks: bool,
    defines: bool,
) -> Parts:
    """Return what does not depend on the types; an import adapter makes no calls, so it delivers nothing."""
    names = " ".join(f"$return{f.number}" if f.type.is_async else "$nothing" for f in functions)
    return Parts(
        builtins,
        transport,
        CALL_MARKS[role.name],
        tasks,
        {f"ret{f.number}": " ".join(return_cores(f)) for f in functions if f.type.is_async},
        [f"(table $results funcref (elem {names}))", *_NEVER_CALLED, *tables],
        bare={f"direct{number}": f"{DIRECT}{number}" for number in sorted(direct)},
        defines=defines,
    )


_NEVER_CALLED = (
    "(func $nothing (param i32) unreachable)",
    "(func $deliver (param i32 i32) unreachable)",
    "(func $enter (param i32 i32 i32) (result i64) unreachable)",
    "(func $hand_over (param i32 i32 i32) (result i32) unreachable)",
    "(func $forget (param i32) unreachable)",
)


def _types(scope: Scope, keeps: Mapping[int, str]) -> list[str]:
    """Export all types that need a name, where they have none by being imported."""
    if not isinstance(scope, BagScope):
        return []
    bag = scope.bag("$types", {name: scope.resources[id_] for id_, name in keeps.items()})
    return [] if bag is None else [bag, f'(export "{TYPES}" (instance $types))']


def _resources(numbers: Sequence[int], transport: Transport) -> str:
    """Define the host's resources: their representation is the key in the host's table.

    While a handle is taken apart the host keeps the object, so the destructor has nothing to say.
    """
    if not numbers:
        return ""
    told, type_ = "(call $drop (i32.const {}) (local.get 0))", "(param i32 i32)"
    if transport is MEMORY:  # where the host finds it
        told, type_ = f"(i32.store offset={DROPPED} (i32.const 0) (local.get 0)) (call $drop)", ""
    funcs = " ".join(
        f'(func (export "d{n}") (param i32) (if (i32.eqz (global.get $taking)) (then {told.format(n)})))'
        for n in numbers
    )
    types = [f'(type $r{n} (resource (rep i32) (dtor (core func $dtor "d{n}"))))' for n in numbers]
    return "\n".join(
        [
            f"""(core module $Dtor (import "h" "drop" (func $drop {type_})) (import "m" "memory" (memory 1))
(global $taking (export "taking") (mut i32) (i32.const 0)) {funcs})
(core instance $dtor (instantiate $Dtor (with "m" (instance $memory))
  (with "h" (instance (export "drop" (func $h_drop))))))""",
            *types,
        ]
    )


def _kept_core(kept: Sequence[int]) -> list[str]:
    """Return the core functions of what is kept for others; what arrives as a borrowed handle is the key."""
    takes = [f'(export "take{number}" (func $take{number}))' for number in kept]
    return [*takes, '(func (export "peek") (param i32) (result i32) (local.get 0))'] if kept else []


def _keeper(number: int) -> str:
    """Export the functions by which other adapters deal with a resource."""
    cores = {"take": f'$machine "take{number}"', "give": f"$new{number}", "peek": '$machine "peek"'}
    types = keeper_types(f"$r{number}")
    lines = [f"(core func $new{number} (canon resource.new $r{number}))"]
    for name, core in cores.items():
        lines.append(f"(func ${name}{number} {types[name]} (canon lift (core func {core})))")
        lines.append(f'(export "{name}{number}" (func ${name}{number}))')
    return "\n".join(lines)
