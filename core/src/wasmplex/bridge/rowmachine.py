"""The program that writes rows where a guest will read them, in WebAssembly: far faster than Python.

It has a memory of its own, and reads and writes nowhere else, whatever a server sends.
"""

from __future__ import annotations

import ctypes
import struct
import threading
from collections.abc import Sequence
from typing import Any, Final, cast

import wasmtime

from wasmplex.engine import capi
from wasmplex.engine.memory import RAW, U8
from wasmplex.engine.text import assemble

__all__ = ["OPERATIONS", "RowMachine", "plan_of", "row_machine"]

OPERATIONS: Final = ("s8", "s16", "s32", "s64", "bool", "f64", "f32", "string", "octets", "characters")
"""What can be done with a field; its place is its number in a plan."""
_CALL: Final = struct.Struct("<9I")
_WRITTEN: Final = struct.Struct("<I")
_PLAN: Final = 64
_PAGE: Final = 1 << 16

# A call is told by what lies at 0: rows, columns, size of a cell, where its payload is in it, the case of
# NULL, where the messages lie and end, where to write, and what to add to that for the guest's address.
# At 36 it puts how much it has written, and at 64 is the plan, for each column its operation and case.
_PROGRAM: Final = """(module
(memory (export "memory") 2 4096)
(func $swap (param $x i32) (result i32)
  (i32.or (i32.and (i32.rotl (local.get $x) (i32.const 8)) (i32.const 0x00ff00ff))
          (i32.and (i32.rotr (local.get $x) (i32.const 8)) (i32.const 0xff00ff00))))
(func $u32 (param $at i32) (result i32) (call $swap (i32.load align=1 (local.get $at))))
(func $u64 (param $at i32) (result i64)
  (i64.or (i64.shl (i64.extend_i32_u (call $u32 (local.get $at))) (i64.const 32))
          (i64.extend_i32_u (call $u32 (i32.add (local.get $at) (i32.const 4))))))
(func $wants (param $have i32) (param $want i32)
  (if (i32.ne (local.get $have) (local.get $want)) (then unreachable)))

;; mantissa, exponent, sign: 8, 2 and 1 bytes
(func $parts (param $to i32) (param $mantissa i64) (param $exponent i32) (param $negative i32)
  (i64.store (local.get $to) (local.get $mantissa))
  (i32.store16 offset=8 (local.get $to) (local.get $exponent))
  (i32.store8 offset=10 (local.get $to) (select (i32.const -1) (i32.const 1) (local.get $negative))))
(func $double (param $to i32) (param $bits i64)
  (local $exponent i32) (local $fraction i64)
  (local.set $exponent
    (i32.and (i32.wrap_i64 (i64.shr_u (local.get $bits) (i64.const 52))) (i32.const 0x7ff)))
  (local.set $fraction (i64.and (local.get $bits) (i64.const 0xfffffffffffff)))
  (call $parts (local.get $to)
    (select (i64.or (local.get $fraction) (i64.const 0x10000000000000))
            (i64.shl (local.get $fraction) (i64.const 1)) (local.get $exponent))
    (i32.sub (local.get $exponent) (i32.const 1075))
    (i32.wrap_i64 (i64.shr_u (local.get $bits) (i64.const 63)))))
(func $float (param $to i32) (param $bits i32)
  (local $exponent i32) (local $fraction i32)
  (local.set $exponent (i32.and (i32.shr_u (local.get $bits) (i32.const 23)) (i32.const 0xff)))
  (local.set $fraction (i32.and (local.get $bits) (i32.const 0x7fffff)))
  (call $parts (local.get $to)
    (i64.extend_i32_u (select (i32.or (local.get $fraction) (i32.const 0x800000))
                              (i32.shl (local.get $fraction) (i32.const 1)) (local.get $exponent)))
    (i32.sub (local.get $exponent) (i32.const 150))
    (i32.shr_u (local.get $bits) (i32.const 31))))

;; Traps unless the bytes are UTF-8 (RFC 3629, section 4).
(func $utf8 (param $at i32) (param $end i32)
  (local $c i32) (local $more i32) (local $least i32)
  (loop $next
    (block $slow
      (loop $fast
        (br_if $slow (i32.gt_u (i32.add (local.get $at) (i32.const 8)) (local.get $end)))
        (br_if $slow (i64.ne (i64.and (i64.load align=1 (local.get $at)) (i64.const 0x8080808080808080))
                             (i64.const 0)))
        (local.set $at (i32.add (local.get $at) (i32.const 8)))
        (br $fast)))
    (if (i32.ge_u (local.get $at) (local.get $end)) (then (return)))
    (local.set $c (i32.load8_u (local.get $at)))
    (local.set $at (i32.add (local.get $at) (i32.const 1)))
    (br_if $next (i32.lt_u (local.get $c) (i32.const 0x80)))
    (if (i32.or (i32.lt_u (local.get $c) (i32.const 0xc2)) (i32.gt_u (local.get $c) (i32.const 0xf4)))
      (then unreachable))
    (if (i32.lt_u (local.get $c) (i32.const 0xe0))
      (then (local.set $more (i32.const 1)) (local.set $least (i32.const 0x80))
            (local.set $c (i32.and (local.get $c) (i32.const 0x1f))))
      (else (if (i32.lt_u (local.get $c) (i32.const 0xf0))
        (then (local.set $more (i32.const 2)) (local.set $least (i32.const 0x800))
              (local.set $c (i32.and (local.get $c) (i32.const 0xf))))
        (else (local.set $more (i32.const 3)) (local.set $least (i32.const 0x10000))
              (local.set $c (i32.and (local.get $c) (i32.const 7)))))))
    (if (i32.gt_u (i32.add (local.get $at) (local.get $more)) (local.get $end)) (then unreachable))
    (loop $rest
      (call $wants (i32.and (i32.load8_u (local.get $at)) (i32.const 0xc0)) (i32.const 0x80))
      (local.set $c (i32.or (i32.shl (local.get $c) (i32.const 6))
                            (i32.and (i32.load8_u (local.get $at)) (i32.const 0x3f))))
      (local.set $at (i32.add (local.get $at) (i32.const 1)))
      (br_if $rest (local.tee $more (i32.sub (local.get $more) (i32.const 1)))))
    (if (i32.or (i32.lt_u (local.get $c) (local.get $least)) (i32.gt_u (local.get $c) (i32.const 0x10ffff)))
      (then unreachable))
    (call $wants (i32.eq (i32.and (local.get $c) (i32.const 0xfffff800)) (i32.const 0xd800)) (i32.const 0))
    (br $next)))

(func (export "run")
  (local $rows i32) (local $columns i32) (local $size i32) (local $payload i32) (local $null i32)
  (local $at i32) (local $end i32) (local $to i32) (local $delta i32)
  (local $head i32) (local $cell i32) (local $heap i32) (local $left i32) (local $plan i32)
  (local $length i32) (local $put i32)
  (local.set $rows (i32.load (i32.const 0)))
  (local.set $columns (i32.load (i32.const 4)))
  (local.set $size (i32.load (i32.const 8)))
  (local.set $payload (i32.load (i32.const 12)))
  (local.set $null (i32.load (i32.const 16)))
  (local.set $at (i32.load (i32.const 20)))
  (local.set $end (i32.load (i32.const 24)))
  (local.set $to (i32.load (i32.const 28)))
  (local.set $delta (i32.load (i32.const 32)))
  (local.set $head (local.get $to))
  (local.set $cell (i32.add (local.get $to) (i32.shl (local.get $rows) (i32.const 3))))
  (local.set $heap (i32.add (local.get $cell)
    (i32.mul (local.get $size) (i32.mul (local.get $rows) (local.get $columns)))))
  (loop $row
    (i32.store (local.get $head) (i32.add (local.get $cell) (local.get $delta)))
    (i32.store offset=4 (local.get $head) (local.get $columns))
    (local.set $head (i32.add (local.get $head) (i32.const 8)))
    (call $wants
      (i32.or (i32.shl (i32.load8_u offset=5 (local.get $at)) (i32.const 8))
              (i32.load8_u offset=6 (local.get $at)))
      (local.get $columns))
    (local.set $at (i32.add (local.get $at) (i32.const 7)))
    (local.set $plan (i32.const PLAN))
    (local.set $left (local.get $columns))
    (block $all (loop $column
      (br_if $all (i32.eqz (local.get $left)))
      (local.set $length (call $u32 (local.get $at)))
      (local.set $at (i32.add (local.get $at) (i32.const 4)))
      (local.set $put (i32.add (local.get $cell) (local.get $payload)))
      (block $done
        (if (i32.eq (local.get $length) (i32.const -1)) (then
          (i32.store8 (local.get $cell) (local.get $null))
          (local.set $length (i32.const 0))
          (br $done)))
        (if (i32.gt_u (local.get $length) (i32.sub (local.get $end) (local.get $at))) (then unreachable))
        (i32.store8 (local.get $cell) (i32.load offset=4 (local.get $plan)))
        (block $octets (block $characters (block $string (block $f32 (block $f64 (block $bool
        (block $s64 (block $s32 (block $s16 (block $s8
          (br_table $s8 $s16 $s32 $s64 $bool $f64 $f32 $string $octets $characters
            (i32.load (local.get $plan))))
          (call $wants (local.get $length) (i32.const 1))
          (i32.store8 (local.get $put) (i32.load8_u (local.get $at)))
          (br $done))
          (call $wants (local.get $length) (i32.const 2))
          (i32.store16 (local.get $put) (i32.shr_u (call $swap (i32.load16_u align=1 (local.get $at)))
                                                   (i32.const 16)))
          (br $done))
          (call $wants (local.get $length) (i32.const 4))
          (i32.store (local.get $put) (call $u32 (local.get $at)))
          (br $done))
          (call $wants (local.get $length) (i32.const 8))
          (i64.store (local.get $put) (call $u64 (local.get $at)))
          (br $done))
          (call $wants (local.get $length) (i32.const 1))
          (i32.store8 (local.get $put) (i32.ne (i32.load8_u (local.get $at)) (i32.const 0)))
          (br $done))
          (call $wants (local.get $length) (i32.const 8))
          (call $double (local.get $put) (call $u64 (local.get $at)))
          (br $done))
          (call $wants (local.get $length) (i32.const 4))
          (call $float (local.get $put) (call $u32 (local.get $at)))
          (br $done))
          (call $utf8 (local.get $at) (i32.add (local.get $at) (local.get $length)))
          (br $octets))
          ;; a tuple of an option<u32>, which is none, and a list
          (i32.store8 (local.get $put) (i32.const 0))
          (local.set $put (i32.add (local.get $put) (i32.const 8))))
        (i32.store (local.get $put) (i32.add (local.get $heap) (local.get $delta)))
        (i32.store offset=4 (local.get $put) (local.get $length))
        (memory.copy (local.get $heap) (local.get $at) (local.get $length))
        (local.set $heap (i32.add (local.get $heap) (local.get $length))))
      (local.set $at (i32.add (local.get $at) (local.get $length)))
      (local.set $cell (i32.add (local.get $cell) (local.get $size)))
      (local.set $plan (i32.add (local.get $plan) (i32.const 8)))
      (local.set $left (i32.sub (local.get $left) (i32.const 1)))
      (br $column)))
    (br_if $row (local.tee $rows (i32.sub (local.get $rows) (i32.const 1)))))
  (i32.store (i32.const 36) (i32.sub (local.get $heap) (local.get $to)))))
"""


class RowMachine:
    """One instance of the program, for one thread."""

    def __init__(self) -> None:
        engine = wasmtime.Engine()
        self._store = wasmtime.Store(engine)
        module = wasmtime.Module(engine, assemble(_PROGRAM.replace("PLAN", str(_PLAN))))
        exports = wasmtime.Instance(self._store, module, []).exports(self._store)
        self._memory: Any = exports["memory"]
        self._run = cast(Any, exports["run"])
        # Called by its address: to find out its type each time, as the package does, takes longer than it.
        self._context = ctypes.cast(self._store._context(), ctypes.c_void_p).value  # noqa: SLF001
        self._function = ctypes.addressof(self._run._func)  # noqa: SLF001
        self._trap = ctypes.c_size_t()
        self._size = 0
        self._base = 0
        self._reach(2 * _PAGE)

    def _reach(self, size: int) -> None:
        if (missing := size - self._memory.data_len(self._store)) > 0:
            self._memory.grow(self._store, -(-missing // _PAGE))
        self._size = self._memory.data_len(self._store)
        self._base = ctypes.addressof(self._memory.data_ptr(self._store).contents)

    def write(
        self, messages: bytes | bytearray, rows: int, plan: bytes, layout: tuple[int, int, int], base: int
    ) -> bytes:
        """Return rows in memory layout, for the address `base`.

        :param plan: for each column an operation and a case, see `plan_of`
        :param layout: the size of a cell, where its payload is in it, and the case of NULL
        :raises ValueError: if the messages are not such rows
        """
        size, payload, null = layout
        columns = len(plan) // _COLUMN.size
        source = _PLAN + (len(plan) + 15 & -16)
        to = source + (len(messages) + 15 & -16)
        end = to + rows * (8 + columns * size) + len(messages)
        if end > self._size:
            self._reach(end)
        at = self._base
        stop, delta = source + len(messages), (base - to) & _ALL
        call = _CALL.pack(rows, columns, size, payload, null, source, stop, to, delta)
        U8[at : at + len(call)] = call
        U8[at + _PLAN : at + _PLAN + len(plan)] = plan
        U8[at + source : at + source + len(messages)] = messages
        self._call()
        (written,) = _WRITTEN.unpack(RAW[at + _CALL.size : at + _CALL.size + _WRITTEN.size])
        data: bytes = RAW[at + to : at + to + written]
        return data

    def _call(self) -> None:
        trap = self._trap
        error = capi.func_call(self._context, self._function, 0, 0, 0, 0, ctypes.addressof(trap))
        if error:
            capi.error_delete(error)
        if trap.value:
            capi.trap_delete(trap.value)
        if error or trap.value:
            trap.value = 0
            raise ValueError("the server sends rows that are none")


_COLUMN: Final = struct.Struct("<II")
_ALL: Final = 0xFFFFFFFF
_local = threading.local()


def plan_of(columns: Sequence[tuple[str, int]]) -> bytes:
    """Return what a machine is to do with the fields of a row: an operation and a case for each."""
    return b"".join(_COLUMN.pack(OPERATIONS.index(operation), case) for operation, case in columns)


def row_machine() -> RowMachine:
    """Return the machine of this thread, made when it is first asked for."""
    found: RowMachine | None = getattr(_local, "machine", None)
    if found is None:
        found = _local.machine = RowMachine()
    return found
