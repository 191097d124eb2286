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
from typing import Literal

from wasmplex.bridge.builtins import Builtins
from wasmplex.bridge.custody import Custody, keeper_types
from wasmplex.bridge.direct import DIRECT, answers_in_arena, is_direct
from wasmplex.bridge.elsewhere import elsewhere_imports, maker, maker_core
from wasmplex.bridge.kinds import End, Function, KindTable, lifts
from wasmplex.bridge.layout import MAX_FLAT_PARAMS, Core, flatten
from wasmplex.bridge.parts import GUEST_OPTIONS, START, TWIN_ENCODING, Parts, host_instance
from wasmplex.bridge.places import Exchanged, exchanged_call
from wasmplex.bridge.protocol import DROPPED, HEADER, MORE, RESULT, SLOTS, TO
from wasmplex.bridge.transport import CALL_MARKS, MEMORY, Transport
from wasmplex.bridge.wat import BagScope, ImportScope, Scope
from wasmplex.wit.types import (
    Resource,
    ResultType,
    TupleType,
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
    kinds = KindTable.of(functions)
    kinds.custodies = dict(wanted.custody)
    kinds.add_all(wanted.resources, wanted.makes)
    given = kinds.custodians()
    scope: Scope = ImportScope("t") if given or wanted.elsewhere else BagScope("t")
    scope.resources = {resource.id: f"$r{number}" for number, resource in enumerate(kinds.resources)}
    keeps = {r.id: f"r{n}" for n, r in enumerate(kinds.resources) if kinds.custody(r) is Custody.DEFINED}
    kept = [number for number, resource in enumerate(kinds.resources) if resource.id in wanted.shared]
    imported = elsewhere_imports(kinds, wanted.elsewhere, scope)
    builtins = Builtins.of(kinds, scope, wanted.elsewhere)
    lifted = [_lifted(function, scope) for function in functions]
    made = [maker(end, kinds, scope) for end in wanted.makes]
    returns = "\n".join(_task_return_canon(f, scope) for f in functions if f.type.is_async)
    tasks = any(f.type.is_async for f in functions) or bool(kinds.streams or kinds.futures)
    by_host = transport is not MEMORY
    exchanged = {f.number: Exchanged() if by_host else exchanged_call(f, kinds, builtins) for f in functions}
    direct = frozenset(
        f.number for f in functions if is_direct(f, kinds, transport.name, exchanged[f.number], tasks=tasks)
    )
    names = " ".join(f"$return{f.number}" if f.type.is_async else "$nothing" for f in functions)
    parts = Parts(
        builtins,
        transport,
        CALL_MARKS[role.name],
        tasks,
        {f"ret{f.number}": " ".join(_return_cores(f)) for f in functions if f.type.is_async},
        [
            f"(table $results funcref (elem {names}))",
            "(func $nothing (param i32) unreachable)",
            "(func $deliver (param i32 i32) unreachable)",
            "(func $enter (param i32 i32 i32) (result i64) unreachable)",
            "(func $hand_over (param i32 i32 i32) (result i32) unreachable)",
            "(func $forget (param i32) unreachable)",
            *_kept_core(kept),
            *(maker_core(end, kinds, builtins) for end in wanted.makes),
        ],
        bare={f"direct{number}": f"{DIRECT}{number}" for number in sorted(direct)},
        defines=bool(keeps),
    )
    cores = [
        _core_direct(f, exchanged[f.number], tasks=tasks)
        if f.number in direct
        else _core(f, kinds, exchanged[f.number])
        for f in functions
    ]
    lines = [
        f"(component ${role.name}_adapter",
        f'(import "host" (instance $host\n{host_instance(transport, parts.bare.values())}))',
        *imported,
        parts.memories,
        _resources([n for n, r in enumerate(kinds.resources) if r.id in keeps], transport),
        *scope.take(),
        parts.canons,
        returns,
        parts.machine("\n".join(cores)),
        "\n".join(lifted),
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
        frozenset(wanted.elsewhere), direct, exchanged,
    )  # fmt: skip


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


# ---------------------------------------------------------------- one function


def _params(cores: Sequence[Core]) -> str:
    return f"(param {' '.join(cores)})" if cores else ""


def _param_cores(function: Function) -> tuple[Core, ...]:
    cores = flatten(TupleType(tuple(p.type for p in function.type.params))) if function.type.params else ()
    return cores if len(cores) <= MAX_FLAT_PARAMS else ("i32",)


def _return_cores(function: Function) -> tuple[Core, ...]:
    """Flat parameters of ``task.return``."""
    cores = flatten(function.type.result) if function.type.result else ()
    return cores if len(cores) <= MAX_FLAT_PARAMS else ("i32",)


def _lifted(function: Function, scope: Scope) -> str:
    n, type_ = function.number, function.carried
    how = GUEST_OPTIONS if function.twin is None else f"{GUEST_OPTIONS} {TWIN_ENCODING}"
    if type_.is_async:
        how = f'async (callback (core func $machine "callback")) {how}'
    elif type_.result is not None and len(flatten(type_.result)) > 1:
        how += ' (post-return (core func $machine "post"))'
    return f'(func $f{n} {scope.func(type_)} (canon lift (core func $machine "f{n}") {how}))'


def _task_return_canon(function: Function, scope: Scope) -> str:
    result = function.carried.result
    text = "" if result is None else f" (result {scope.ref(result)})"
    encoding = "" if function.twin is None else f" {TWIN_ENCODING}"
    return f"(core func $ret{function.number} (canon task.return{text} (memory $mem){encoding}))"


def _core(function: Function, kinds: KindTable, exchanged: Exchanged) -> str:
    """Return the core functions of one lifted function."""
    cores = _param_cores(function)
    slots = "\n".join(
        f"({core}.store offset={8 * i} (local.get $slots) (local.get {i}))" for i, core in enumerate(cores)
    )
    make = (
        "(local.set $slots (call $realloc (i32.const 0) (i32.const 0) (i32.const 8)"
        f" (i32.const {8 * len(cores)})))"
        if cores
        else ""
    )
    head = f"{make}\n{slots}\n{exchanged.taking or ''}"
    block = "(i32.const @ARENA@) (i32.sub (global.get $top) (i32.const @ARENA@))"
    if function.type.is_async:
        return _core_async(function, cores, head, block, exchanged.giving or "")
    takes = exchanged.taking is None and lifts([p.type for p in function.type.params], kinds.custody)
    return _core_sync(function, cores, head, block, exchanged.giving or "", takes=takes)


def _core_direct(function: Function, exchanged: Exchanged, *, tasks: bool) -> str:
    cores, n = _param_cores(function), function.number
    stores = "\n".join(
        f"({core}.store offset={SLOTS + 8 * i} (i32.const 0) (local.get {i}))" for i, core in enumerate(cores)
    )
    call, at = f"(call $direct{n})", f"(i32.const {RESULT + HEADER})"
    prepare, ready = "", f"(i32.const {RESULT})"
    if answers_in_arena(function):
        prepare = f"(i32.store offset={TO} (i32.const 0) (local.tee $to (call $room)))"
        call = f"""{call}
(if (i32.load offset={MORE} (i32.const 0)) (then (call $more (local.get $to))))"""
        at = f"(i32.add (local.get $to) (i32.const {HEADER}))"
        ready = "(local.get $to)"
    if isinstance(function.type.result, ResultType):  # ok until the host says otherwise
        call = f"(i32.store offset={HEADER} {ready} (i32.const 0))\n{call}"
    if tasks:
        call = f"""{call}
(if (i32.load offset=@ROUSE@ (i32.const 0)) (then
  (call $rouse (i32.load offset=@ROUSE@ (i32.const 0)))
  (i32.store offset=@ROUSE@ (i32.const 0) (i32.const 0))))"""
    if exchanged.giving:
        call = f"{call}\n(local.set $at {ready})\n{exchanged.giving}"
    flat = flatten(function.type.result) if function.type.result else ()
    reset = "(global.set $top (i32.const @ARENA@))"
    if len(flat) > 1:
        result, tail = "(result i32)", at
    elif flat:
        result, tail = f"(result {flat[0]})", f"({flat[0]}.load {at}) {reset}"
    else:
        result, tail = "", reset
    return f"""(func (export "f{n}") {_params(cores)} {result}
(local $to i32) (local $at i32) (local $slots i32)
{stores}
(local.set $slots (i32.const {SLOTS}))
{exchanged.taking}
{prepare}
{call}
{tail})"""


def _core_sync(
    function: Function, cores: Sequence[Core], head: str, block: str, giving: str, *, takes: bool
) -> str:
    flat = flatten(function.type.result) if function.type.result else ()
    number = f"(i32.const {function.number})"
    call = f"(local.set $at (call $finish (call $call {number} {block})))"
    if function.waits and takes:
        call += f"(local.set $at (call $finish (call $call_wait {number} (i32.const 0) (i32.const 0))))"
    elif function.waits:
        call = call.replace("$call ", "$call_wait ")
    reset = "(global.set $top (i32.const @ARENA@))"
    if len(flat) > 1:
        result, tail = "(result i32)", "(i32.add (local.get $at) (i32.const @HEADER@))"
    elif flat:
        result, tail = f"(result {flat[0]})", f"({flat[0]}.load offset=@HEADER@ (local.get $at)) {reset}"
    else:
        result, tail = "", reset
    return f"""(func (export "f{function.number}") {_params(cores)} {result}
(local $slots i32) (local $at i32)
{head}
{call}
{giving}
{tail})"""


def _core_async(function: Function, cores: Sequence[Core], head: str, block: str, giving: str) -> str:
    n = function.number
    flat = _return_cores(function)
    if function.type.result is not None and len(flatten(function.type.result)) > MAX_FLAT_PARAMS:
        loads = "(i32.add (local.get 0) (i32.const @HEADER@))"
    else:
        loads = " ".join(
            f"({core}.load offset={HEADER + 8 * i} (local.get 0))" for i, core in enumerate(flat)
        )
    return f"""(func $return{n} (param $at i32) {giving} (call $ret{n} {loads}))
(func (export "f{n}") {_params(cores)} (result i32) (local $slots i32) (local $at i32) (local $task i32)
(local.set $task (call $record))
(call $set_context (local.get $task))
{head}
(local.set $at (call $finish (call $submit (i32.const {n}) (local.get $task) {block})))
(if (i32.load (local.get $at)) (then
  (call $return{n} (local.get $at))
  (global.set $top (i32.const @ARENA@))
  (call $release (local.get $task))
  (return (i32.const 0))))
(global.set $top (i32.const @ARENA@))
(call $run (local.get $task) (i32.const @EVENT_START@) (i32.const 0) (i32.const 0)))"""
