"""Generates the export adapter: the component above a guest that lets the host call any of its exports.

It exports one function, ``call``, which takes the number of a function and a block with the arguments. What
comes back goes to the host by an imported function, ``result``, because the task has to live on: a stream in
the result moves only while the call is under way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from wasmplex.bridge.builtins import Builtins
from wasmplex.bridge.custody import Custody
from wasmplex.bridge.elsewhere import elsewhere_imports
from wasmplex.bridge.kinds import End, Function, KindTable
from wasmplex.bridge.layout import MAX_FLAT_PARAMS, Core, flatten, size
from wasmplex.bridge.parts import Parts, host_instance
from wasmplex.bridge.places import Exchanged, exchanged_export
from wasmplex.bridge.protocol import HEADER
from wasmplex.bridge.repeated import repeated
from wasmplex.bridge.streamed import NO_BODIES, Bodies, bodies_of
from wasmplex.bridge.transport import CALL_MARKS, MEMORY, Transport
from wasmplex.bridge.wat import ImportScope
from wasmplex.wit.types import ValueType

__all__ = [
    "BODIES",
    "CALL",
    "HOST_EXPORTS",
    "SERIES",
    "ExportAdapter",
    "export_adapter",
    "passes_in_memory",
    "returns_in_memory",
]

HOST_EXPORTS = "wasmplex:bridge/exports"
"""The instance of plain functions that an export adapter imports."""
CALL = "wasmplex-call"
"""What the composed component exports for it."""
SERIES = "wasmplex-series"
"""What it exports for several calls of one function, see `wasmplex.bridge.series`."""
BODIES = "wasmplex-bodies"
"""The same for functions that are given a stream of bytes, see `wasmplex.bridge.bodies`."""


@dataclass(frozen=True)
class ExportAdapter:
    """A generated adapter.

    :ivar text: the component ``$Exports`` in the text format
    :ivar functions: what it can call, by number
    :ivar types: the types that it imports besides resources, each with the name of the import
    :ivar elsewhere: the streams and futures that it has made for it
    :ivar exchanged: how it exchanges the handles of functions by itself, by number
    :ivar has_bodies: whether it exports `BODIES`
    """

    text: str
    functions: tuple[Function, ...]
    kinds: KindTable
    builtins: Builtins
    types: tuple[tuple[str, ValueType], ...]
    elsewhere: frozenset[End]
    exchanged: Mapping[int, Exchanged]
    has_bodies: bool


def export_adapter(
    functions: Sequence[Function],
    custody: Mapping[int, Custody],
    elsewhere: Sequence[End],
    transport: Transport,
) -> ExportAdapter:
    """Generate the adapter for some functions of the guest.

    :param functions: the functions, numbered
    :param custody: who defines each resource in them, by its id
    :param elsewhere: the streams and futures that another adapter makes for it
    :raises BridgeError: if a type cannot be carried
    """
    kinds, scope = KindTable.of(functions), ImportScope("e")
    kinds.custodies = dict(custody)
    scope.resources = {resource.id: f"$r{number}" for number, resource in enumerate(kinds.resources)}
    imported = elsewhere_imports(kinds, elsewhere, scope)
    wanted = [(f.number, scope.func(f.type)) for f in functions]
    imported += scope.take()
    imported += [f'(import "f{number}" (func $f{number} {text}))' for number, text in wanted]
    builtins = Builtins.of(kinds, scope, elsewhere)
    types = "\n".join(scope.take())
    exchanged = {f.number: _exchanged(f, kinds, builtins, transport) for f in functions}
    bodies = bodies_of(functions, kinds, builtins, scope) if transport is MEMORY else NO_BODIES
    parts = _parts(functions, builtins, transport, bodies)
    call = _CALL.replace("@TAKEN@", _TAKEN_AT_ONCE if transport is MEMORY else "")
    lines = [
        "(component $Exports",
        f'(import "host" (instance $host\n{host_instance(transport)}))',
        *imported,
        types,
        parts.memories,
        parts.canons,
        "(core func $sub_drop (canon subtask.drop))",
        bodies.canons,
        *map(_lower, functions),
        parts.machine(
            "\n".join([call, _SERIES, bodies.code, *(_core(f, exchanged[f.number]) for f in functions)])
        ),
        _LIFT,
        _LIFT_SERIES,
        bodies.lift,
        ")",
    ]
    return ExportAdapter(
        "\n".join(lines), tuple(functions), kinds, builtins, tuple(scope.introduced), frozenset(elsewhere),
        exchanged, bool(bodies.lift),
    )  # fmt: skip


def _exchanged(function: Function, kinds: KindTable, builtins: Builtins, transport: Transport) -> Exchanged:
    if transport is not MEMORY:
        return Exchanged()
    in_memory = passes_in_memory(function), returns_in_memory(function)
    return exchanged_export(function, kinds, builtins, in_memory=in_memory)


def _parts(functions: Sequence[Function], builtins: Builtins, transport: Transport, bodies: Bodies) -> Parts:
    """Return what does not depend on the types."""
    calls, taken = (" ".join(f"${name}{f.number}" for f in functions) for name in ("call", "taken"))
    return Parts(
        builtins,
        transport,
        CALL_MARKS["above"],
        True,
        {f"g{f.number}": _lowered_signature(f) for f in functions} | {"sub_drop": "i32", **bodies.imports},
        [
            "(type $called (func (param i32) (result i32)))",
            f"(table $calls funcref (elem {calls}))",
            "(table $results funcref (elem))",
            f"(table $takes funcref (elem {taken}))",
            "(global $ret (mut i32) (i32.const 0))",
            "(global $called (mut i32) (i32.const 0))",
        ],
        " (memory $mem) string-encoding=latin1+utf16",
    )


# ---------------------------------------------------------------- one function


def _lower(function: Function) -> str:
    number, how = function.number, " async" if function.type.is_async else ""
    return f"(core func $g{number} (canon lower (func $f{number}){how} (memory $mem) (realloc $realloc)))"


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


def _core(function: Function, exchanged: Exchanged) -> str:
    """Return the core function that calls one export with the block at its parameter.

    It answers with the status of the subtask; a synchronous function has always returned. A second one puts
    representations in the places of handles in its result.
    """
    cores = _param_cores(function)
    if passes_in_memory(function):
        loads = "(i32.add (local.get 0) (i32.const @HEADER@))"
    else:
        loads = " ".join(f"({c}.load offset={HEADER + 8 * i} (local.get 0))" for i, c in enumerate(cores))
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
    number, giving, taking = function.number, exchanged.giving or "", exchanged.taking or ""
    return f"""(func $call{number} (param $at i32) (result i32) {giving} {area} {body})
(func $taken{number} (param $at i32) {taking})"""


_CALL = """
    (func $deliver (param $task i32) (param $subtask i32)
      (if (local.get $subtask) (then
        (call $join (local.get $subtask) (i32.const 0)) (call $sub_drop (local.get $subtask))))
      (call_indirect $takes (type $none) (global.get $ret) (global.get $called))
      (call $put_result (local.get $task) (global.get $ret)
        (i32.sub (global.get $top) (global.get $ret)))
      (global.set $top (i32.const @ARENA@)))

    (func $enter (param $fn i32) (param $task i32) (param $at i32) (result i64)
      (local $status i32)
      (local.set $status (call_indirect $calls (type $called)
        (if (result i32) (local.get $at)
          (then (local.get $at))
          (else (call $finish (call $take (local.get $task)))))
        (local.get $fn)))@TAKEN@
      (i64.or (i64.extend_i32_u (local.get $status))
        (i64.shl (i64.extend_i32_u (global.get $ret)) (i64.const 32))))

    (func $hand_over (param $fn i32) (param $task i32) (param $at i32) (result i32)
      (local $size i32)
      (call_indirect $takes (type $none) (local.get $at) (local.get $fn))
      (local.set $size (i32.sub (global.get $top) (local.get $at)))
      (call $show_result (local.get $task) (local.get $at) (local.get $size))
      (local.get $size))

    (func $forget (param $subtask i32) (call $sub_drop (local.get $subtask)))

    (func (export "call") (param $fn i32) (param $at i32) (param $size i32) (result i32)
      (local $task i32) (local $status i32)
      (local.set $task (call $record))
      (call $set_context (local.get $task))
      (if (i32.eq (local.get $fn) (i32.const @SERVE@)) (then
        (return (call $run (local.get $task) (i32.const @EVENT_START@) (i32.const 0) (i32.const 0)))))
      (global.set $called (local.get $fn))
      (local.set $status (call_indirect $calls (type $called) (call $finish (local.get $at)) (local.get $fn)))
      (if (i32.eq (i32.and (local.get $status) (i32.const 15)) (i32.const 2))
        (then (call $deliver (local.get $task) (i32.shr_u (local.get $status) (i32.const 4))))
        (else
          (call $join (i32.shr_u (local.get $status) (i32.const 4))
            (i32.load offset=@SET@ (local.get $task)))))
      (call $run (local.get $task) (i32.const @EVENT_START@) (i32.const 0) (i32.const 0)))
"""

_TAKEN_AT_ONCE = """
      (if (i32.and (i32.eq (local.get $status) (i32.const 2))
          (i32.lt_u (i32.sub (global.get $top) (global.get $ret)) (i32.const @LARGE@)))
        (then (local.set $status (i32.or (i32.const 2) (i32.shl
          (call $hand_over (local.get $fn) (local.get $task) (global.get $ret)) (i32.const 4))))))"""
"""Where the host sees the memory it needs no order of its own for a result that is there."""

_LIFT = """(func (export "call") async (param "fn" u32) (param "block" string)
  (canon lift (core func $machine "call") async (callback (core func $machine "callback"))
    (memory $mem) (realloc $realloc) string-encoding=latin1+utf16))"""

_SERIES = """
    ;; Make room up to an address, then calls of a function whose entries lie in the arena, the blocks with
    ;; their arguments up to that address. The results go above it.""" + repeated(
    "series", "(drop (call_indirect $calls (type $called) (i32.load (local.get $entry)) (local.get $fn)))"
)

_LIFT_SERIES = """(func (export "series") (param "fn" u32) (param "count" u32) (param "end" u32)
  (canon lift (core func $machine "series")))"""
