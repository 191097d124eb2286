"""How blocks cross between an adapter and the host: two ways, everything else is the same.

``strings``
    A block is a string whose code points are its bytes. The host's block is put at the top of the arena by
    ``realloc``, and its address is returned through address 16. Works with any engine. What is not text
    crosses as hexadecimal digits.
``memory``
    The host sees the adapter's memories (the engine gives it `Instance.memories`) and is told where a block
    lies, and where to put its answer: at the top of the arena, where `ROOM` bytes are free. A larger answer
    is kept back until the adapter has made room. Costs nothing per byte but the copy; instances of big guests
    are made more slowly, for their memory images cannot be mapped.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from wasmplex.bridge.packing import AS_IT_IS, CHUNKS_AS_THEY_ARE, PACKED_CHUNKS, PACKING

__all__ = [
    "CALL_MARKS", "MEMORY", "PLAIN_STRINGS", "STRINGS", "Marks", "Transport", "TransportName",
]  # fmt: skip

TransportName: TypeAlias = Literal["strings", "memory"]


@dataclass(frozen=True)
class Marks:
    """The maxima, in pages, that the memories of an adapter declare; the host tells them by these."""

    calls: int
    buffers: int
    pointed: int


CALL_MARKS: Final = {
    "below": Marks(65_001, 65_003, 65_005),
    "above": Marks(65_011, 65_013, 65_015),
    "aside": Marks(65_021, 65_023, 65_025),
}

_U32, _STRING = "u32", "string"
Functions: TypeAlias = dict[str, tuple[tuple[tuple[str, str], ...], str | None]]


def _u32s(*names: str) -> tuple[tuple[str, str], ...]:
    return tuple((name, _U32) for name in names)


_SAME: Functions = {
    "step": (_u32s("task", "event", "a", "b"), "u64"),
    "next": ((), None),
    "drop": (_u32s("kind", "rep"), None),
}


@dataclass(frozen=True)
class Transport:
    """One way.

    :ivar functions: what the host serves: parameters and result of each
    :ivar lowered: the core functions they are lowered to, by name: host function, signature, which memory
        (``m`` the arena's, ``s`` and ``h`` those of streams, ``a`` that of ``s`` for what is ASCII, empty
        for none)
    :ivar calls: core functions that pass blocks, for any adapter
    :ivar tasks: the same for an adapter with tasks
    :ivar chunks: functions of the memory of streams whose elements are all in line, if it has its own
    :ivar packs: whether the adapter can unpack answers (`wasmplex.bridge.packing`)
    """

    name: TransportName
    functions: Functions
    lowered: dict[str, tuple[str, str, str]]
    calls: str
    tasks: str
    chunks: str = ""
    packs: bool = False

    def wanted(self, *, tasks: bool) -> dict[str, tuple[str, str, str]]:
        """Return the part of `lowered` that an adapter needs."""
        if tasks:
            return self.lowered
        return {name: self.lowered[name] for name in self.lowered if name in _WITHOUT_TASKS}


_WITHOUT_TASKS = ("h_call", "h_call_wait", "h_resume", "h_refill", "h_drop")
_LOWERED_SAME = {
    "step": ("step", "i32 i32 i32 i32 -> i64", ""),
    "next": ("next", "", ""),
    "h_drop": ("drop", "i32 i32", ""),
}


def _strings(packing: str, chunks: str, *, packs: bool) -> Transport:
    return Transport(
        "strings",
        {
            "call": ((("fn", _U32), ("block", _STRING)), _STRING),
            "call-wait": ((("fn", _U32), ("block", _STRING)), _STRING),
            "submit": ((("fn", _U32), ("task", _U32), ("block", _STRING)), _STRING),
            "resume": ((("block", _STRING),), _STRING),
            "take": ((("task", _U32),), _STRING),
            "chunk": ((("task", _U32),), _STRING),
            "emit": ((("task", _U32), ("block", _STRING)), None),
            "result": ((("task", _U32), ("at", _U32), ("block", _STRING)), None),
            "operands": (_u32s("task"), "u64"),
            **_SAME,
        },
        {
            "h_call": ("call", "i32 i32 i32 i32", "m"),
            "h_call_wait": ("call-wait", "i32 i32 i32 i32", "m"),
            "h_submit": ("submit", "i32 i32 i32 i32 i32", "m"),
            "h_resume": ("resume", "i32 i32 i32", "m"),
            "h_take": ("take", "i32 i32", "m"),
            "h_chunk_s": ("chunk", "i32 i32", "s"),
            "h_ascii_s": ("chunk", "i32 i32", "a"),
            "h_chunk_h": ("chunk", "i32 i32", "h"),
            "h_emit_s": ("emit", "i32 i32 i32", "s"),
            "h_emit_h": ("emit", "i32 i32 i32", "h"),
            "h_result": ("result", "i32 i32 i32 i32", "m"),
            "operands": ("operands", "i32 -> i64", ""),
            **_LOWERED_SAME,
        },
        packing + _STRING_CALLS,
        _STRING_TASKS,
        chunks,
        packs=packs,
    )


_STRING_CALLS = """
    ;; A block that was packed lies at the top of the arena, and its number has a mark.
    (func $call (param $fn i32) (param $at i32) (param $size i32) (result i32)
      (call $align)
      (if (call $pack (local.get $at) (local.get $size))
        (then (call $h_call (i32.or (local.get $fn) (i32.const @PACKED@)) (global.get $top)
          (i32.shl (local.get $size) (i32.const 1)) (i32.const @RESULTS@)))
        (else (call $h_call (local.get $fn) (local.get $at) (local.get $size) (i32.const @RESULTS@))))
      (call $answer))
    (func $call_wait (param $fn i32) (param $at i32) (param $size i32) (result i32)
      (call $align)
      (if (call $pack (local.get $at) (local.get $size))
        (then (call $h_call_wait (i32.or (local.get $fn) (i32.const @PACKED@)) (global.get $top)
          (i32.shl (local.get $size) (i32.const 1)) (i32.const @RESULTS@)))
        (else (call $h_call_wait (local.get $fn) (local.get $at) (local.get $size) (i32.const @RESULTS@))))
      (call $answer))
    (func $resume (param $at i32) (param $size i32) (result i32)
      (call $align)
      (call $h_resume (local.get $at) (local.get $size) (i32.const @RESULTS@)) (call $answer))
    """

_STRING_TASKS = """
    (func $submit (param $fn i32) (param $task i32) (param $at i32) (param $size i32) (result i32)
      (call $align)
      (if (call $pack (local.get $at) (local.get $size))
        (then (call $h_submit (i32.or (local.get $fn) (i32.const @PACKED@)) (local.get $task)
          (global.get $top) (i32.shl (local.get $size) (i32.const 1)) (i32.const @RESULTS@)))
        (else (call $h_submit (local.get $fn) (local.get $task) (local.get $at) (local.get $size)
          (i32.const @RESULTS@))))
      (call $answer))
    (func $take (param $task i32) (result i32)
      (call $align)
      (call $h_take (local.get $task) (i32.const @RESULTS@)) (call $answer))
    (func $put_result (param $task i32) (param $at i32) (param $size i32)
      (if (call $pack (local.get $at) (local.get $size))
        (then (call $h_result (i32.or (local.get $task) (i32.const @PACKED@)) (local.get $at)
          (global.get $top) (i32.shl (local.get $size) (i32.const 1))))
        (else (call $h_result (local.get $task) (local.get $at) (local.get $at) (local.get $size)))))
    (func $more_events (param $set i32))  ;; the host is told of each
    (func $show_result (param $task i32) (param $at i32) (param $size i32)
      (call $put_result (local.get $task) (local.get $at) (local.get $size)))
    (func $fill (param $which i32) (param $task i32) (param $at i32) (param $ascii i32)
      (if (local.get $which) (then
        (global.set $htarget (local.get $at))
        (call $h_chunk_h (local.get $task) (i32.const @RESULTS@)) (global.set $htarget (i32.const 0))
        (return)))
      (global.set $starget (select (i32.const @DIGITS@) (local.get $at)
        (i32.gt_u (local.get $ascii) (i32.const @ASCII@))))
      (if (local.get $ascii)
        (then (call $h_ascii_s (local.get $task) (i32.const @RESULTS@)))
        (else (call $h_chunk_s (local.get $task) (i32.const @RESULTS@))))
      (global.set $starget (i32.const 0))
      (if (i32.gt_u (local.get $ascii) (i32.const @ASCII@))
        (then (call $unpack (local.get $at) (local.get $ascii)))))
    (func $send (param $which i32) (param $task i32) (param $at i32) (param $size i32)
      (if (local.get $which) (then
        (call $h_emit_h (local.get $task) (local.get $at) (local.get $size)) (return)))
      (if (call $pack_chunk (local.get $at) (local.get $size))
        (then (call $h_emit_s (i32.or (local.get $task) (i32.const @PACKED@)) (i32.const @DIGITS@)
          (i32.shl (local.get $size) (i32.const 1))))
        (else (call $h_emit_s (local.get $task) (local.get $at) (local.get $size)))))
    """

STRINGS: Final = _strings(PACKING, PACKED_CHUNKS, packs=True)
PLAIN_STRINGS: Final = _strings(AS_IT_IS, CHUNKS_AS_THEY_ARE, packs=False)
"""The same for engines whose vectors are switched off."""

MEMORY: Final = Transport(
    "memory",
    {
        "call": (_u32s("fn", "at", "size", "to"), _U32),
        "call-wait": (_u32s("fn", "at", "size", "to"), _U32),
        "submit": (_u32s("fn", "task", "at", "size", "to"), _U32),
        "resume": (_u32s("at", "size", "to"), _U32),
        "take": (_u32s("task", "to"), _U32),
        "refill": (_u32s("to"), _U32),
        "emit": (_u32s("task", "which", "at", "size"), None),
        "result": (_u32s("task", "at", "size"), None),
        **_SAME,
        "drop": ((), None),
    },
    {
        "h_call": ("call", "i32 i32 i32 i32 -> i32", ""),
        "h_call_wait": ("call-wait", "i32 i32 i32 i32 -> i32", ""),
        "h_submit": ("submit", "i32 i32 i32 i32 i32 -> i32", ""),
        "h_resume": ("resume", "i32 i32 i32 -> i32", ""),
        "h_take": ("take", "i32 i32 -> i32", ""),
        "h_refill": ("refill", "i32 -> i32", ""),
        "h_emit": ("emit", "i32 i32 i32 i32", ""),
        "h_result": ("result", "i32 i32 i32", ""),
        **_LOWERED_SAME,
        "h_drop": ("drop", "", ""),
    },
    """
    ;; The place of the host's answer: at the top, where there is room for most.
    (func $room (result i32)
      (call $align)
      (call $reserve (i32.add (global.get $top) (i32.const @ROOM@)))
      (global.get $top))
    (func $placed (param $to i32) (param $size i32) (result i32)
      (if (i32.eq (i32.load (local.get $to)) (i32.const @FIRST_GROW@)) (then
        (call $reserve (i32.add (local.get $to) (i32.load offset=4 (local.get $to))))
        (local.set $size (call $h_refill (local.get $to)))))
      (global.set $top (i32.add (local.get $to) (local.get $size)))
      (local.get $to))
    ;; Make the room that the host has asked for, and have it put its answer there.
    (func $more (param $to i32)
      (call $reserve (i32.add (local.get $to) (i32.load offset=@MORE@ (i32.const 0))))
      (i32.store offset=@MORE@ (i32.const 0) (i32.const 0))
      (drop (call $h_refill (local.get $to))))
    (func $call (param $fn i32) (param $at i32) (param $size i32) (result i32)
      (local $to i32)
      (local.set $to (call $room))
      (call $placed (local.get $to)
        (call $h_call (local.get $fn) (local.get $at) (local.get $size) (local.get $to))))
    (func $call_wait (param $fn i32) (param $at i32) (param $size i32) (result i32)
      (local $to i32)
      (local.set $to (call $room))
      (call $placed (local.get $to)
        (call $h_call_wait (local.get $fn) (local.get $at) (local.get $size) (local.get $to))))
    (func $resume (param $at i32) (param $size i32) (result i32)
      (local $to i32)
      (local.set $to (call $room))
      (call $placed (local.get $to) (call $h_resume (local.get $at) (local.get $size) (local.get $to))))
    """,
    """
    ;; Those of an order that is in no list are 0, as is what lies at 8.
    (func $operands (param $task i32) (result i64) (i64.load offset=8 (global.get $order)))
    (func $submit (param $fn i32) (param $task i32) (param $at i32) (param $size i32) (result i32)
      (local $to i32)
      (local.set $to (call $room))
      (call $placed (local.get $to)
        (call $h_submit (local.get $fn) (local.get $task) (local.get $at) (local.get $size) (local.get $to))))
    (func $take (param $task i32) (result i32)
      (local $to i32)
      (local.set $to (call $room))
      (call $placed (local.get $to) (call $h_take (local.get $task) (local.get $to))))
    (func $put_result (param $task i32) (param $at i32) (param $size i32)
      (call $h_result (local.get $task) (local.get $at) (local.get $size)))
    (func $show_result (param $task i32) (param $at i32) (param $size i32))  ;; the host sees it
    ;; Put what else there is into a list, so that the host is told of all of it at once.
    (func $more_events (param $set i32)
      (local $at i32) (local $event i32)
      (local.set $at (i32.const @EVENTS@))
      (block $none (loop $each
        (local.set $at (i32.add (local.get $at) (i32.const 16)))
        (br_if $none (i32.eq (local.get $at) (i32.const @EVENTS_END@)))
        (local.set $event (call $poll (local.get $set) (i32.const @POLLED@)))
        (br_if $none (i32.eqz (local.get $event)))
        (i32.store (local.get $at) (local.get $event))
        (i64.store offset=4 (local.get $at) (i64.load (i32.const @POLLED@)))
        (br $each)))
      (i32.store (i32.const @EVENTS@)
        (i32.shr_u (i32.sub (local.get $at) (i32.const @FIRST_EVENT@)) (i32.const 4))))
    (func $fill (param $which i32) (param $task i32) (param $at i32) (param $ascii i32) unreachable)
    (func $send (param $which i32) (param $task i32) (param $at i32) (param $size i32)
      (call $h_emit (local.get $task) (local.get $which) (local.get $at) (local.get $size)))
    """,
)
