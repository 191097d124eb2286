"""Generates the import adapter: the component below a guest that makes its imports of plain functions."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from wasmplex.bridge.builtins import Builtins
from wasmplex.bridge.codec import HEADER
from wasmplex.bridge.custody import keeper_types
from wasmplex.bridge.direct import DIRECT, MORE, RESULT, SLOTS, TO, answers_in_arena, is_direct
from wasmplex.bridge.errors import BridgeError
from wasmplex.bridge.kinds import Function, KindTable, lifts, mentioned, value_types
from wasmplex.bridge.layout import MAX_FLAT_PARAMS, Core, flatten
from wasmplex.bridge.machine import ARENA
from wasmplex.bridge.parts import GUEST_OPTIONS, START, TWIN_ENCODING, Parts, host_instance
from wasmplex.bridge.transport import CALL_MARKS, Transport
from wasmplex.bridge.wat import NOMINAL, BagScope, ImportScope, Scope, quote
from wasmplex.component.shape import Extern, Import, InstanceType, NamedType
from wasmplex.wit.types import FuncType, Primitive, Resource, ResultType, TupleType

__all__ = ["HOST", "TYPES", "ImportAdapter", "import_adapter"]

HOST = "wasmplex:bridge/imports"
"""The instance of plain functions that an import adapter imports."""
TYPES = "types"
"""The instance of all types that need a name, which an import adapter exports before anything else."""


@dataclass(frozen=True)
class ImportAdapter:
    """A generated adapter.

    :ivar text: the component ``$Imports`` in the text format
    :ivar functions: what it carries, by number
    :ivar instances: the export that stands for each import, by the import's external name
    :ivar keeps: the resources that it keeps for others, by id: the name of each in the instance `TYPES` that
        it exports; ``take0``, ``give0`` and ``peek0`` are its functions for the first
    :ivar needs_start: whether its ``start`` must be called once in every instance
    :ivar direct: numbers of the functions whose calls are direct
    """

    text: str
    functions: tuple[Function, ...]
    kinds: KindTable
    builtins: Builtins
    instances: dict[str, str]
    needs_start: bool
    keeps: dict[int, str]
    direct: frozenset[int] = frozenset()

    @property
    def bare(self) -> dict[str, str]:
        """The host's functions for direct calls, by the name of the core function."""
        return {f"direct{number}": f"{DIRECT}{number}" for number in sorted(self.direct)}


def import_adapter(
    imports: Sequence[Import],
    functions: Sequence[Function],
    shared: Collection[int],
    transport: Transport,
) -> ImportAdapter:
    """Generate the adapter for some imports.

    :param imports: instances, functions and types, closed over the resources they share
    :param functions: their functions, numbered
    :param shared: ids of those of their resources that another adapter has handles of
    :raises BridgeError: if a type cannot be carried
    """
    kinds, scope = KindTable.of(functions), BagScope("t")
    for item in imports:
        kinds.add_resources(item.type)
    scope.resources = {resource.id: f"$r{number}" for number, resource in enumerate(kinds.resources)}
    keeps = {r.id: f"r{n}" for n, r in enumerate(kinds.resources)}
    kept = [number for number, resource in enumerate(kinds.resources) if resource.id in shared]
    builtins = Builtins.of(kinds, scope)
    lifted = [_lifted(function, scope) for function in functions]
    returns = "\n".join(_task_return_canon(f, scope) for f in functions if f.type.is_async)
    instances = {item.name: f"i{number}" for number, item in enumerate(imports)}
    exported = [_export(item, f"i{number}", functions, scope) for number, item in enumerate(imports)]
    tasks = any(f.type.is_async for f in functions) or bool(kinds.streams or kinds.futures)
    direct = frozenset(f.number for f in functions if is_direct(f, kinds, transport.name, tasks=tasks))
    names = " ".join(f"$return{f.number}" if f.type.is_async else "$nothing" for f in functions)
    parts = Parts(
        builtins,
        transport,
        CALL_MARKS["imports"],
        tasks,
        {f"ret{f.number}": " ".join(_return_cores(f)) for f in functions if f.type.is_async},
        [
            f"(table $results funcref (elem {names}))",
            "(func $nothing (param i32) unreachable)",
            "(func $deliver (param i32 i32) unreachable)",
            *_kept_core(kept),
        ],
        bare={f"direct{number}": f"{DIRECT}{number}" for number in sorted(direct)},
        defines=bool(kinds.resources),
    )
    lines = [
        "(component $Imports",
        f'(import "host" (instance $host\n{host_instance(transport, parts.bare.values())}))',
        parts.memories,
        _resources(kinds),
        *scope.take(),
        parts.canons,
        returns,
        parts.machine(
            "\n".join(_core_direct(f) if f.number in direct else _core(f, kinds) for f in functions)
        ),
        "\n".join(lifted),
        START if tasks else "",
        scope.bag("$types", {name: scope.resources[id_] for id_, name in keeps.items()}),
        f'(export "{TYPES}" (instance $types))',
        "\n".join(exported),
        *(_keeper(number) for number in kept),
        ")",
    ]
    text = "\n".join(lines)
    return ImportAdapter(text, tuple(functions), kinds, builtins, instances, tasks, keeps, direct)


def _resources(kinds: KindTable) -> str:
    """Define the host's resources: their representation is the key in the host's table.

    While a handle is taken apart the host keeps the object, so the destructor has nothing to say.
    """
    if not kinds.resources:
        return ""
    count = range(len(kinds.resources))
    funcs = " ".join(
        f'(func (export "d{n}") (param i32) (if (i32.eqz (global.get $taking)) (then'
        f" (call $drop (i32.const {n}) (local.get 0)))))"
        for n in count
    )
    types = "\n".join(f'(type $r{n} (resource (rep i32) (dtor (core func $dtor "d{n}"))))' for n in count)
    return f"""(core module $Dtor (import "h" "drop" (func $drop (param i32 i32)))
(global $taking (export "taking") (mut i32) (i32.const 0)) {funcs})
(core instance $dtor (instantiate $Dtor (with "h" (instance (export "drop" (func $h_drop))))))
{types}"""


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


def _lifted(function: Function, scope: BagScope) -> str:
    n, type_ = function.number, function.carried
    how = GUEST_OPTIONS if function.twin is None else f"{GUEST_OPTIONS} {TWIN_ENCODING}"
    if type_.is_async:
        how = f'async (callback (core func $machine "callback")) {how}'
    elif type_.result is not None and len(flatten(type_.result)) > 1:
        how += ' (post-return (core func $machine "post"))'
    return f'(func $f{n} {scope.func(type_)} (canon lift (core func $machine "f{n}") {how}))'


def _task_return_canon(function: Function, scope: BagScope) -> str:
    result = function.carried.result
    text = "" if result is None else f" (result {scope.ref(result)})"
    encoding = "" if function.twin is None else f" {TWIN_ENCODING}"
    return f"(core func $ret{function.number} (canon task.return{text} (memory $mem){encoding}))"


def _core(function: Function, kinds: KindTable) -> str:
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
    head = f"{make}\n{slots}"
    block = f"(i32.const {ARENA}) (i32.sub (global.get $top) (i32.const {ARENA}))"
    if function.type.is_async:
        return _core_async(function, cores, head, block)
    takes = lifts([param.type for param in function.type.params], kinds.custody)
    return _core_sync(function, cores, head, block, takes=takes)


def _core_direct(function: Function) -> str:
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
    flat = flatten(function.type.result) if function.type.result else ()
    reset = f"(global.set $top (i32.const {ARENA}))"
    if len(flat) > 1:
        result, tail = "(result i32)", at
    elif flat:
        result, tail = f"(result {flat[0]})", f"({flat[0]}.load {at}) {reset}"
    else:
        result, tail = "", reset
    return f"""(func (export "f{n}") {_params(cores)} {result} (local $to i32)
{stores}
{prepare}
{call}
{tail})"""


def _core_sync(function: Function, cores: Sequence[Core], head: str, block: str, *, takes: bool) -> str:
    flat = flatten(function.type.result) if function.type.result else ()
    number = f"(i32.const {function.number})"
    call = f"(local.set $at (call $finish (call $call {number} {block})))"
    if function.waits and takes:
        call += f"(local.set $at (call $finish (call $call_wait {number} (i32.const 0) (i32.const 0))))"
    elif function.waits:
        call = call.replace("$call ", "$call_wait ")
    reset = f"(global.set $top (i32.const {ARENA}))"
    if len(flat) > 1:
        result, tail = "(result i32)", "(i32.add (local.get $at) (i32.const 16))"
    elif flat:
        result, tail = f"(result {flat[0]})", f"({flat[0]}.load offset=16 (local.get $at)) {reset}"
    else:
        result, tail = "", reset
    return f"""(func (export "f{function.number}") {_params(cores)} {result}
(local $slots i32) (local $at i32)
{head}
{call}
{tail})"""


def _core_async(function: Function, cores: Sequence[Core], head: str, block: str) -> str:
    n = function.number
    flat = _return_cores(function)
    if function.type.result is not None and len(flatten(function.type.result)) > MAX_FLAT_PARAMS:
        loads = "(i32.add (local.get 0) (i32.const 16))"
    else:
        loads = " ".join(f"({core}.load offset={16 + 8 * i} (local.get 0))" for i, core in enumerate(flat))
    return f"""(func $return{n} (param i32) (call $ret{n} {loads}))
(func (export "f{n}") {_params(cores)} (result i32) (local $slots i32) (local $at i32) (local $task i32)
(local.set $task (call $record))
(call $set_context (local.get $task))
{head}
(local.set $at (call $finish (call $submit (i32.const {n}) (local.get $task) {block})))
(if (i32.load (local.get $at)) (then
  (call $return{n} (local.get $at))
  (global.set $top (i32.const {ARENA}))
  (call $release (local.get $task))
  (return (i32.const 0))))
(global.set $top (i32.const {ARENA}))
(call $run (local.get $task) (i32.const 101) (i32.const 0) (i32.const 0)))"""


# ---------------------------------------------------------------- what the guest sees


def _export(item: Import, name: str, functions: Sequence[Function], outer: BagScope) -> str:
    """Return the export that stands for an import, once all its types have a name.

    A method belongs to a resource that is exported by its side under a name of its own, which only a
    component can do: this one is given types and functions and exports them.
    """
    if isinstance(item.type, FuncType):
        [function] = [f for f in functions if f.owner == item.name]
        return f"(export {quote(name)} (func $f{function.number}))"
    if not isinstance(item.type, InstanceType):
        return ""
    shape = _Shape(name, item, {f.export: f for f in functions if f.owner == item.name}, outer)
    return "\n".join(
        [
            *shape.lines(),
            f"(instance ${name} (instantiate $Shape_{name} {' '.join(shape.arguments)}))",
            f"(export {quote(name)} (instance ${name}))",
        ]
    )


class _Shape:
    """The component that gives the exports of one instance their names.

    :ivar arguments: what to instantiate it with
    """

    def __init__(self, name: str, item: Import, functions: Mapping[str, Function], outer: BagScope) -> None:
        self._name, self._functions, self._outer = name, functions, outer
        self._exports = item.type.exports if isinstance(item.type, InstanceType) else {}
        self._scope = ImportScope(f"{name}x")
        self._exported = Scope(f"{name}y", self._scope)
        self.arguments: list[str] = []

    def lines(self) -> list[str]:
        """Return its text."""
        resources = {r.id: None for extern in self._exports.values() for r in mentioned(extern)}
        lines = [f"(component $Shape_{self._name}", *map(self._resource, resources)]
        self._exported.resources = dict(self._scope.resources)
        exports = [self._export(name, extern) for name, extern in self._exports.items()]
        for name, type_ in self._scope.introduced:
            self.arguments.append(f"(with {quote(name)} (type {self._outer.ref(type_)}))")
        return [*lines, *self._scope.take(), *exports, ")"]

    def _resource(self, id_: int) -> str:
        self._scope.resources[id_] = local = self._scope.fresh()
        self.arguments.append(f'(with "r{id_}" (type {self._outer.resources[id_]}))')
        return f'(import "r{id_}" (type {local} (sub resource)))'

    def _export(self, name: str, extern: Extern) -> str:
        scope = self._exported
        match extern:
            case Resource():
                local = scope.fresh()
                line = f"(export {local} {quote(name)} (type {scope.resources[extern.id]}))"
                if scope.resources[extern.id] == self._scope.resources[extern.id]:
                    scope.resources[extern.id] = local  # methods go by the first of several names
                return line
            case NamedType(type_):
                # Only what has a definition can be exported: an alias of `string` gets one.
                anew = isinstance(type_, Primitive)
                text = self._scope.define(type_) if anew else self._scope.ref(type_)
                return f"(export {quote(name)} (type {text}))"
            case FuncType():
                number = self._functions[name].number
                want = self._scope.func(extern)
                self._scope.lines.append(f'(import "f{number}" (func $f{number} {want}))')
                self.arguments.append(f'(with "f{number}" (func $f{number}))')
                for type_ in filter(lambda part: isinstance(part, NOMINAL), value_types(extern)):
                    scope.name(type_, self._scope.ref(type_))
                give = scope.func(extern)
                return "\n".join([*scope.take(), f"(export {quote(name)} (func $f{number}) (func {give}))"])
        raise BridgeError(f"{self._name}: {name!r} is none of a type, a resource and a function")
