"""Generates the export adapter: the component above a guest that lets the host call any of its exports.

It exports one function, ``call``, which takes the number of a function and a block with the arguments. What
comes back goes to the host by an imported function, ``result``, because the task has to live on: a stream in
the result moves only while the call is under way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from wasmplex.bridge.builtins import Builtins
from wasmplex.bridge.kinds import Function, KindTable
from wasmplex.bridge.layout import MAX_FLAT_PARAMS, Core, flatten, size
from wasmplex.bridge.machine import ARENA, EVENT_START
from wasmplex.bridge.parts import Parts, host_instance
from wasmplex.bridge.transport import CALL_MARKS, Transport
from wasmplex.bridge.wat import Scope, quote
from wasmplex.component.shape import Export, InstanceType, NamedType
from wasmplex.wit.types import FuncType, Resource

__all__ = [
    "CALL",
    "HOST_EXPORTS",
    "ExportAdapter",
    "arguments",
    "export_adapter",
    "passes_in_memory",
    "returns_in_memory",
]

HOST_EXPORTS = "wasmplex:bridge/exports"
"""The instance of plain functions that an export adapter imports."""
CALL = "wasmplex-call"
"""What the composed component exports for it."""


@dataclass(frozen=True)
class ExportAdapter:
    """A generated adapter.

    :ivar text: the component ``$Exports`` in the text format
    :ivar functions: what it can call, by number
    :ivar arguments: what to instantiate it with, besides the host: import name, sort, path from the guest
    """

    text: str
    functions: tuple[Function, ...]
    kinds: KindTable
    builtins: Builtins
    arguments: tuple[tuple[str, str, tuple[str, ...]], ...]


def export_adapter(
    exports: Sequence[Export], functions: Sequence[Function], transport: Transport
) -> ExportAdapter:
    """Generate the adapter for some exports.

    :param exports: instances and functions
    :param functions: their functions, numbered
    :raises BridgeError: if a type cannot be carried
    """
    kinds, scope = KindTable.of(functions), Scope("e")
    imported = _Imported(scope)
    for export in exports:
        imported.add(export, functions)
    builtins = Builtins.of(kinds, scope, defined=False)
    types, scope.lines[:] = "\n".join(scope.lines), []
    calls = " ".join(f"$call{f.number}" for f in functions)
    parts = Parts(
        builtins,
        transport,
        CALL_MARKS["exports"],
        True,
        {f"g{f.number}": _lowered_signature(f) for f in functions} | {"sub_drop": "i32"},
        [
            "(type $called (func (param i32) (result i32)))",
            f"(table $calls funcref (elem {calls}))",
            "(table $results funcref (elem))",
            "(global $ret (mut i32) (i32.const 0))",
        ],
        " (memory $mem) string-encoding=latin1+utf16",
    )
    lowers = [
        f"(core func $g{f.number} (canon lower (func $f{f.number}){' async' if f.type.is_async else ''}"
        " (memory $mem) (realloc $realloc)))"
        for f in functions
    ]
    lines = [
        "(component $Exports",
        f'(import "host" (instance $host\n{host_instance(transport)}))',
        *imported.lines,
        types,
        parts.memories,
        parts.canons,
        "(core func $sub_drop (canon subtask.drop))",
        *lowers,
        parts.machine("\n".join([_CALL, *(_core(f) for f in functions)])),
        _LIFT,
        ")",
    ]
    return ExportAdapter("\n".join(lines), tuple(functions), kinds, builtins, tuple(imported.arguments))


class _Imported:
    """The guest's resources and functions, imported one by one under names of the adapter's own."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self.lines: list[str] = []
        self.arguments: list[tuple[str, str, tuple[str, ...]]] = []

    def _put(self, *lines: str) -> None:
        self.lines += self._scope.lines
        self._scope.lines.clear()
        self.lines += lines

    def add(self, export: Export, functions: Sequence[Function]) -> None:
        if isinstance(export.type, FuncType):
            [function] = [f for f in functions if not f.owner and f.name == export.name]
            self._function(function, (export.name,))
            return
        if not isinstance(export.type, InstanceType):
            return
        for name, extern in export.type.exports.items():
            path = (export.name, name)
            match extern:
                case Resource() if extern.id not in self._scope.resources:
                    self._scope.resources[extern.id] = local = f"$r{extern.id}"
                    self._put(f'(import "r{extern.id}" (type {local} (sub resource)))')
                    self.arguments.append((f"r{extern.id}", "type", path))
                case NamedType(type_):
                    self._named(type_, path)
                case FuncType():
                    for function in functions:
                        if (function.owner, function.name) == path:
                            self._function(function, path)

    def _named(self, type_: object, path: tuple[str, ...]) -> None:
        """Import a named type, for the functions that mention it must find it under a name."""
        name = f"t{len(self.arguments)}"
        body = self._scope.define(type_)  # type: ignore[arg-type]
        self._put(f'(import "{name}" (type ${name} (eq {body})))')
        self._scope.name(type_, f"${name}")  # type: ignore[arg-type]
        self.arguments.append((name, "type", path))

    def _function(self, function: Function, path: tuple[str, ...]) -> None:
        text = self._scope.func(function.type)
        self._put(f'(import "f{function.number}" (func $f{function.number} {text}))')
        self.arguments.append((f"f{function.number}", "func", path))


# ---------------------------------------------------------------- one function


def _all_cores(function: Function) -> tuple[Core, ...]:
    return sum((flatten(param.type) for param in function.type.params), ())


def passes_in_memory(function: Function) -> bool:
    """Say whether the parameters go through memory: there are more than the canonical ABI passes flat."""
    return len(_all_cores(function)) > (4 if function.type.is_async else MAX_FLAT_PARAMS)


def _param_cores(function: Function) -> tuple[Core, ...]:
    return ("i32",) if passes_in_memory(function) else _all_cores(function)


def _result_cores(function: Function) -> tuple[Core, ...]:
    return flatten(function.type.result) if function.type.result else ()


def returns_in_memory(function: Function) -> bool:
    """Say whether the result comes in memory layout, not as one flat value."""
    count = len(_result_cores(function))
    return count > 0 if function.type.is_async else count > 1


def _lowered_signature(function: Function) -> str:
    params = [*_param_cores(function), *(["i32"] if returns_in_memory(function) else [])]
    if function.type.is_async:
        return f"{' '.join(params)} -> i32"
    result = _result_cores(function) if not returns_in_memory(function) else ()
    return f"{' '.join(params)} -> {' '.join(result)}"


def _core(function: Function) -> str:
    """Return the core function that calls one export with the block at its parameter.

    It answers with the status of the subtask; a synchronous function has always returned.
    """
    cores = _param_cores(function)
    if passes_in_memory(function):
        loads = "(i32.add (local.get 0) (i32.const 16))"
    else:
        loads = " ".join(f"({c}.load offset={16 + 8 * i} (local.get 0))" for i, c in enumerate(cores))
    area, extra = "", ""
    result = function.type.result
    if result is not None:
        room = max(size(result), 8)
        area = (
            f"(global.set $ret (call $realloc (i32.const 0) (i32.const 0) (i32.const 16) (i32.const {room})))"
        )
        extra = "(global.get $ret)" if returns_in_memory(function) else ""
    else:
        # Nothing is passed on as an empty string, whose address has to be even, too.
        area = "(call $align) (global.set $ret (global.get $top))"
    call = f"(call $g{function.number} {loads} {extra})"
    if function.type.is_async:
        body = call
    elif result is not None and not extra:
        [core] = _result_cores(function)
        body = f"({core}.store (global.get $ret) {call}) (i32.const 2)"
    else:
        body = f"{call} (i32.const 2)"
    return f"(func $call{function.number} (param i32) (result i32) {area} {body})"


_CALL = f"""
    (func $deliver (param $task i32) (param $subtask i32)
      (if (local.get $subtask) (then
        (call $join (local.get $subtask) (i32.const 0)) (call $sub_drop (local.get $subtask))))
      (call $put_result (local.get $task) (global.get $ret)
        (i32.sub (global.get $top) (global.get $ret)))
      (global.set $top (i32.const {ARENA})))

    (func (export "call") (param $fn i32) (param $at i32) (param $size i32) (result i32)
      (local $task i32) (local $status i32)
      (local.set $task (call $record))
      (call $set_context (local.get $task))
      (local.set $status (call_indirect $calls (type $called) (call $finish (local.get $at)) (local.get $fn)))
      (if (i32.eq (i32.and (local.get $status) (i32.const 15)) (i32.const 2))
        (then (call $deliver (local.get $task) (i32.shr_u (local.get $status) (i32.const 4))))
        (else
          (call $join (i32.shr_u (local.get $status) (i32.const 4)) (i32.load offset=4 (local.get $task)))))
      (call $run (local.get $task) (i32.const {EVENT_START}) (i32.const 0) (i32.const 0)))
"""

_LIFT = """(func (export "call") async (param "fn" u32) (param "block" string)
  (canon lift (core func $machine "call") async (callback (core func $machine "callback"))
    (memory $mem) (realloc $realloc) string-encoding=latin1+utf16))"""


def arguments(adapter: ExportAdapter) -> list[str]:
    """Return the arguments of the adapter's instantiation, besides the host."""
    return [
        f'(with "{name}" ({sort} $guest {" ".join(map(quote, path))}))'
        for name, sort, path in adapter.arguments
    ]
