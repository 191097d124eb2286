"""Generates the import adapter: the component below a guest that makes its imports of plain functions."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from wasmplex.bridge.builtins import Builtins
from wasmplex.bridge.codec import HEADER
from wasmplex.bridge.direct import DIRECT, MORE, RESULT, SLOTS, TO, answers_in_arena, is_direct
from wasmplex.bridge.kinds import Function, KindTable
from wasmplex.bridge.layout import MAX_FLAT_PARAMS, Core, flatten
from wasmplex.bridge.machine import ARENA
from wasmplex.bridge.parts import GUEST_OPTIONS, START, TWIN_ENCODING, Parts, host_instance
from wasmplex.bridge.transport import CALL_MARKS, Transport
from wasmplex.bridge.wat import Scope, nameless, quote
from wasmplex.component.shape import Import, InstanceType, NamedType
from wasmplex.wit.types import FuncType, Primitive, Resource, ResultType, TupleType

__all__ = ["HOST", "ImportAdapter", "import_adapter"]

HOST = "wasmplex:bridge/imports"
"""The instance of plain functions that an import adapter imports."""


@dataclass(frozen=True)
class ImportAdapter:
    """A generated adapter.

    :ivar text: the component ``$Imports`` in the text format
    :ivar functions: what it carries, by number
    :ivar instances: the export that stands for each import, by the import's external name
    :ivar givers: for each resource that the host may give to the guest's exports, by its id: the function
        that makes an owned handle of a representation, and the name of the resource
    :ivar needs_start: whether its ``start`` must be called once in every instance
    :ivar direct: numbers of the functions whose calls are direct
    """

    text: str
    functions: tuple[Function, ...]
    kinds: KindTable
    builtins: Builtins
    instances: dict[str, str]
    needs_start: bool
    givers: dict[int, tuple[str, str]]
    direct: frozenset[int] = frozenset()

    @property
    def bare(self) -> dict[str, str]:
        """The host's functions for direct calls, by the name of the core function."""
        return {f"direct{number}": f"{DIRECT}{number}" for number in sorted(self.direct)}


def import_adapter(
    imports: Sequence[Import],
    functions: Sequence[Function],
    given: Collection[Resource],
    transport: Transport,
) -> ImportAdapter:
    """Generate the adapter for some imports.

    :param imports: instances, closed over the resources they share
    :param functions: their functions, numbered
    :param given: their resources that the guest's exports take
    :raises BridgeError: if a type cannot be carried
    """
    kinds, scope = KindTable.of(functions), Scope("t")
    for item in imports:
        if isinstance(item.type, InstanceType):
            for resource in item.type.resources.values():
                if resource not in kinds.resources:
                    kinds.resources.append(resource)
    scope.resources = {resource.id: f"$r{number}" for number, resource in enumerate(kinds.resources)}
    builtins = Builtins.of(kinds, scope, defined=True)
    lifted = [_lifted(function, scope) for function in functions]
    returns = "\n".join(_task_return_canon(f, scope) for f in functions if f.type.is_async)
    types, scope.lines[:] = "\n".join(scope.lines), []
    instances = {item.name: f"i{number}" for number, item in enumerate(imports)}
    givers = {r.id: (f"give{n}", f"given{n}") for n, r in enumerate(kinds.resources) if r in given}
    exported = [_export(item, f"i{number}", functions, scope) for number, item in enumerate(imports)]
    tasks = any(f.type.is_async for f in functions) or bool(kinds.streams or kinds.futures)
    direct = frozenset(f.number for f in functions if is_direct(f, transport.name, tasks=tasks))
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
        ],
        bare={f"direct{number}": f"{DIRECT}{number}" for number in sorted(direct)},
    )
    lines = [
        "(component $Imports",
        f'(import "host" (instance $host\n{host_instance(transport, parts.bare.values())}))',
        parts.memories,
        _resources(kinds),
        types,
        parts.canons,
        returns,
        parts.machine("\n".join(_core_direct(f) if f.number in direct else _core(f) for f in functions)),
        "\n".join(lifted),
        START if tasks else "",
        "\n".join(exported),
        *(_giver(scope.resources[id_], *names) for id_, names in givers.items()),
        ")",
    ]
    text = "\n".join(lines)
    return ImportAdapter(text, tuple(functions), kinds, builtins, instances, tasks, givers, direct)


def _giver(resource: str, function: str, name: str) -> str:
    """Export what makes handles of a resource for the host."""
    return f"""(export ${name} "{name}" (type {resource}))
(core func $new_{name} (canon resource.new {resource}))
(func ${function} (param "rep" u32) (result (own ${name})) (canon lift (core func $new_{name})))
(export "{function}" (func ${function}))"""


def _resources(kinds: KindTable) -> str:
    """Define the host's resources: their representation is the key in the host's table."""
    if not kinds.resources:
        return ""
    count = range(len(kinds.resources))
    funcs = " ".join(
        f'(func (export "d{n}") (param i32) (call $drop (i32.const {n}) (local.get 0)))' for n in count
    )
    types = "\n".join(f'(type $r{n} (resource (rep i32) (dtor (core func $dtor "d{n}"))))' for n in count)
    return f"""(core module $Dtor (import "h" "drop" (func $drop (param i32 i32))) {funcs})
(core instance $dtor (instantiate $Dtor (with "h" (instance (export "drop" (func $h_drop))))))
{types}"""


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


def _core(function: Function) -> str:
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
    return _core_sync(function, cores, head, block)


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


def _core_sync(function: Function, cores: Sequence[Core], head: str, block: str) -> str:
    flat = flatten(function.type.result) if function.type.result else ()
    number = f"(i32.const {function.number})"
    call = f"(local.set $at (call $finish (call $call {number} {block})))"
    if function.waits and function.takes:
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


def _export(item: Import, name: str, functions: Sequence[Function], outer: Scope) -> str:
    """Return the inner component that gives an instance's exports their names, and its instantiation.

    A type may appear in an exported function only under a name of its own there; a component that imports
    types and functions and exports them again is how such names are given.
    """
    if not isinstance(item.type, InstanceType):
        [function] = [f for f in functions if f.owner == item.name]
        return f"(export {quote(name)} (func $f{function.number}))"
    own = {f.export: f for f in functions if f.owner == item.name}
    before, after = Scope(f"{name}x"), Scope(f"{name}y")
    withs: list[str] = []
    text: list[str] = []

    def put(scope: Scope, *lines: str) -> None:
        text.extend(scope.lines)  # what the lines refer to was defined while they were made
        scope.lines.clear()
        text.extend(lines)

    hidden = nameless(item.type)
    for number, part in enumerate(hidden):
        x, given, label = before.fresh(), outer.fresh(), quote(f"{name}h{number}")
        put(before, f"(import {label} (type {x} (eq {before.define(part)})))")
        before.name(part, x)
        after.name(part, x)
        outer.lines.append(f"(export {given} {label} (type {outer.define(part)}))")
        outer.name(part, given)
        withs.append(f"(with {label} (type {given}))")
    for number, (export, extern) in enumerate(item.type.exports.items()):
        match extern:
            case Resource():
                x, y = before.fresh(), after.fresh()
                put(before, f'(import "t{number}" (type {x} (sub resource)))')
                put(after, f"(export {y} {quote(export)} (type {x}))")
                before.resources[extern.id], after.resources[extern.id] = x, y
                withs.append(f'(with "t{number}" (type {outer.resources[extern.id]}))')
            case NamedType(type_):
                x, y = before.fresh(), after.fresh()
                body = before.define(type_)
                put(before, f'(import "t{number}" (type {x} (eq {body})))')
                # Ascribed in terms of what is exported: what it is made of must be named here, too.
                put(after, f"(export {y} {quote(export)} (type {x}) (type (eq {after.define(type_)})))")
                before.name(type_, x)
                after.name(type_, y)
                # Only what has a definition can be passed: an alias of `string` gets one.
                anew = hidden or isinstance(type_, Primitive)
                local = outer.define(type_) if anew else outer.ref(type_)
                withs.append(f'(with "t{number}" (type {local}))')
            case FuncType():
                want, give = before.func(extern), after.func(extern)
                put(before, f'(import "f{number}" (func $f{number} {want}))')
                put(after, f"(export {quote(export)} (func $f{number}) (func {give}))")
                withs.append(f'(with "f{number}" (func $f{own[export].number}))')
    inner = "\n".join(text)
    # `outer.ref` may have defined types of its own just now; they come first.
    lines, outer.lines[:] = list(outer.lines), []
    return "\n".join(
        [
            *lines,
            f"(component $Shape_{name}\n{inner})",
            f"(instance ${name} (instantiate $Shape_{name} {' '.join(withs)}))",
            f"(export {quote(name)} (instance ${name}))",
        ]
    )
