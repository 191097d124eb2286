"""What the export adapter does for `wasmplex.bridge.bodies`: which functions, and the code."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from wasmplex.bridge.builtins import Builtins
from wasmplex.bridge.kinds import Function, KindTable, inner_types
from wasmplex.bridge.layout import align_to, alignment, fields, flatten, size
from wasmplex.bridge.repeated import repeated
from wasmplex.bridge.wat import Scope
from wasmplex.wit.types import FutureType, Primitive, StreamType, TupleType, ValueType

__all__ = ["LEFT", "NO_BODIES", "Bodies", "bodies_of", "body_place"]

LEFT: Final = 2
"""What `PAUSED` is if the guest has returned and keeps a stream that it has not read."""
_FLAT_MOST = 4
_BYTES = StreamType(Primitive("u8"))


def body_place(function: Function) -> int | None:
    """Return where the handle of the stream of bytes is in a function's parameters; None for others.

    It has to be asynchronous and to have this one stream always, and no other; its parameters have to go
    through memory.
    """
    type_ = function.type
    params = TupleType(tuple(param.type for param in type_.params))
    if not type_.is_async or len(flatten(params)) <= _FLAT_MOST:
        return None
    moving = [t for t in inner_types(params) if isinstance(t, (StreamType, FutureType))]
    returned = [t for t in inner_types(type_.result) if isinstance(t, (StreamType, FutureType))]
    places = [*_places(params, 0)]
    if returned or moving != [_BYTES] or len(places) != 1:
        return None
    return places[0]


def _places(type_: ValueType, at: int) -> Iterator[int]:
    """Yield where streams are in a value, those that are always there."""
    if isinstance(type_, StreamType):
        yield at
    for part in fields(type_) or ():
        at = align_to(at, alignment(part))
        yield from _places(part, at)
        at += size(part)


@dataclass(frozen=True)
class Bodies:
    """What an adapter has for such calls, in parts.

    :ivar canons: built-ins, for the component
    :ivar imports: their signatures, for the core module
    :ivar code: the core function
    :ivar lift: the function that the component exports; empty if there is none
    """

    canons: str = ""
    imports: Mapping[str, str] = field(default_factory=dict)
    code: str = ""
    lift: str = ""


NO_BODIES: Final = Bodies()


def bodies_of(functions: Sequence[Function], kinds: KindTable, builtins: Builtins, scope: Scope) -> Bodies:
    """Return what the adapter of some functions needs: nothing if there are none of the kind."""
    if all(body_place(function) is None for function in functions):
        return NO_BODIES
    new = builtins.stream[kinds.streams.index(_BYTES)]
    return Bodies(
        f"""(core func $body_write (canon stream.write {scope.ref(_BYTES)} async (memory $mem)))
(core func $body_wait (canon waitable-set.wait (memory $mem)))""",
        {"body_write": "i32 i32 i32 -> i32", "body_wait": "i32 i32 -> i32"},
        _CODE.replace("@NEW@", builtins.name(new)).replace("@DROP@", builtins.name(new + 6)),
        _LIFT,
    )


_LIFT = """(func (export "bodies") async (param "fn" u32) (param "count" u32) (param "end" u32)
  (canon lift (core func $machine "bodies")))"""
_CODE = """
    (global $bodies (mut i32) (i32.const 0))  ;; the waitables of these calls

    ;; Call a function with a stream into which some bytes go, and wait until it has returned. Say whether it
    ;; keeps the stream, and has not read all of it.
    (func $call_with_body (param $at i32) (param $fn i32) (result i32)
      (local $ends i64) (local $writer i32) (local $from i32) (local $left i32)
      (local $task i32) (local $code i32) (local $event i32)
      (local.set $ends (call @NEW@))
      (i32.store (i32.load (local.get $at)) (i32.wrap_i64 (local.get $ends)))
      (local.set $writer (i32.wrap_i64 (i64.shr_u (local.get $ends) (i64.const 32))))
      (local.set $from (i32.load offset=4 (local.get $at)))
      (local.set $left (i32.load offset=8 (local.get $at)))
      (local.set $code (call_indirect $calls (type $called) (local.get $at) (local.get $fn)))
      (if (i32.ne (i32.and (local.get $code) (i32.const 15)) (i32.const 2)) (then
        (local.set $task (i32.shr_u (local.get $code) (i32.const 4)))
        (call $join (local.get $task) (global.get $bodies))))
      (loop $more
        (if (local.get $left)
          (then
            (local.set $code
              (call $body_write (local.get $writer) (local.get $from) (local.get $left)))
            (if (i32.ne (local.get $code) (i32.const -1)) (then
              (local.set $from (i32.add (local.get $from) (i32.shr_u (local.get $code) (i32.const 4))))
              (local.set $left (i32.sub (local.get $left) (i32.shr_u (local.get $code) (i32.const 4))))
              (if (i32.and (local.get $code) (i32.const 15)) (then (local.set $left (i32.const 0))))
              (br $more)))
            (call $join (local.get $writer) (global.get $bodies)))
          (else
            (call @DROP@ (local.get $writer))
            (local.set $writer (i32.const 0))))
        (loop $wait
          (if (i32.eqz (local.get $task)) (then
            (if (i32.eqz (local.get $writer)) (then (return (i32.const 0))))
            (local.set $event (call $poll (global.get $bodies) (i32.const @POLLED@)))
            (if (i32.eqz (local.get $event)) (then (return (i32.const 1)))))
          (else (local.set $event (call $body_wait (global.get $bodies) (i32.const @POLLED@)))))
          (local.set $code (i32.load offset=4 (i32.const @POLLED@)))
          (if (i32.eq (local.get $event) (i32.const 1)) (then
            (br_if $wait (i32.ne (local.get $code) (i32.const 2)))
            (call $sub_drop (local.get $task))
            (local.set $task (i32.const 0))
            (br $wait)))
          (br_if $wait (i32.ne (local.get $event) (i32.const 3)))
          (call $join (local.get $writer) (i32.const 0))
          (local.set $from (i32.add (local.get $from) (i32.shr_u (local.get $code) (i32.const 4))))
          (local.set $left (i32.sub (local.get $left) (i32.shr_u (local.get $code) (i32.const 4))))
          (if (i32.and (local.get $code) (i32.const 15)) (then (local.set $left (i32.const 0))))
          (br $more)))
      unreachable)

    ;; The same as "series" for functions that are given a stream each.""" + repeated(
    "bodies",
    f"""(if (call $call_with_body (i32.load (local.get $entry)) (local.get $fn))
          (then (i32.store (i32.const @PAUSED@) (i32.const {LEFT}))))""",
    "\n      (if (i32.eqz (global.get $bodies)) (then (global.set $bodies (call $set_new))))",
)
