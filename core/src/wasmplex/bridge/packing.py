"""Blocks of bytes as hexadecimal digits, for the string transport.

A string's code points above 127 are slow on both sides: wasmtime makes two bytes of UTF-8 of each, Python one
of two, at 3 to 13 ns a byte. Digits are copied as they are. So a block of which enough is above 127 crosses
as twice as many digits, which the adapter makes and reads sixteen bytes at a time, and Python with
`binascii`: 1 ns a byte, whatever is in it. Text crosses as it is, faster still.
"""

from __future__ import annotations

from binascii import hexlify, unhexlify
from typing import Final

from wasmplex.bridge.protocol import PACKED

__all__ = ["AS_IT_IS", "PACKING", "packed", "unpacked"]

_MARK: Final = "\x7f" * 16
"""Begins a packed answer; no block begins with this byte."""
_LEAST: Final = 256
_SHARE: Final = 16
"""A block is packed from this many bytes on, if more than one byte in so many is above 127."""
_MOST: Final = 1 << 29
"""No block is packed from here on: the length of its digits must not be taken for another encoding."""
_SAMPLE: Final = 256
_HIGH: Final = bytes(range(128, 256))
_TABLE: Final = f"(v128.const i8x16 {' '.join(map(str, b'0123456789abcdef'))})"


def unpacked(number: int, block: str) -> bytes:
    """Return the bytes of a block from an adapter.

    :param number: what came with it
    """
    return unhexlify(block) if number & PACKED else block.encode("latin-1")


def packed(block: bytes | bytearray) -> str:
    """Return an answer to an adapter that can unpack."""
    if len(block) < _LEAST or block.isascii():
        return block.decode("latin-1")
    sample = block[:: len(block) // _SAMPLE]
    high = len(sample) - len(sample.translate(None, _HIGH))
    if high * _SHARE <= len(sample):
        return block.decode("latin-1")
    return _MARK + hexlify(block).decode()


PACKING: Final = f"""
    ;; Say whether the memory reaches so far, or can be made to.
    (func $reaches (param $end i32) (result i32)
      (local $have i32)
      (local.set $have (i32.shl (memory.size) (i32.const 16)))
      (if (i32.le_u (local.get $end) (local.get $have)) (then (return (i32.const 1))))
      (i32.ne (i32.const -1) (memory.grow (i32.shr_u
        (i32.add (i32.sub (local.get $end) (local.get $have)) (i32.const 65535)) (i32.const 16)))))

    ;; Say whether a block is to be packed, and if so make digits of it behind the arena.
    (func $pack (param $at i32) (param $size i32) (result i32)
      (local $from i32) (local $end i32) (local $to i32) (local $high i32) (local $bytes v128)
      (local $left v128) (local $right v128)
      (if (i32.or (i32.lt_u (local.get $size) (i32.const {_LEAST}))
          (i32.ge_u (local.get $size) (i32.const {_MOST})))
        (then (return (i32.const 0))))
      (local.set $end (i32.add (local.get $at) (local.get $size)))
      (local.set $from (local.get $at))
      (loop $count
        (local.set $high (i32.add (local.get $high)
          (i32.popcnt (i8x16.bitmask (v128.load (local.get $from))))))
        (br_if $count (i32.lt_u (local.tee $from (i32.add (local.get $from) (i32.const 16)))
          (local.get $end))))
      (if (i32.le_u (i32.mul (local.get $high) (i32.const {_SHARE})) (local.get $size))
        (then (return (i32.const 0))))
      (call $align)
      (local.set $to (global.get $top))
      ;; Where a limit leaves no memory for the digits, the block crosses as it is.
      (if (i32.eqz (call $reaches (i32.add (i32.const 64)
          (i32.add (local.get $to) (i32.shl (local.get $size) (i32.const 1))))))
        (then (return (i32.const 0))))
      (loop $each
        (local.set $bytes (v128.load (local.get $at)))
        (local.set $left (i8x16.swizzle {_TABLE}
          (i8x16.shr_u (local.get $bytes) (i32.const 4))))
        (local.set $right (i8x16.swizzle {_TABLE}
          (v128.and (local.get $bytes) (i8x16.splat (i32.const 15)))))
        (v128.store (local.get $to) (i8x16.shuffle 0 16 1 17 2 18 3 19 4 20 5 21 6 22 7 23
          (local.get $left) (local.get $right)))
        (v128.store offset=16 (local.get $to) (i8x16.shuffle 8 24 9 25 10 26 11 27 12 28 13 29 14 30 15 31
          (local.get $left) (local.get $right)))
        (local.set $to (i32.add (local.get $to) (i32.const 32)))
        (br_if $each (i32.lt_u (local.tee $at (i32.add (local.get $at) (i32.const 16)))
          (local.get $end))))
      (i32.const 1))

    ;; The values of sixteen digits, in pairs: half of the bytes they stand for.
    (func $digits (param $at i32) (result v128)
      (local $digits v128) (local $letter v128)
      (local.set $digits (v128.load (local.get $at)))
      (local.set $letter (i8x16.shr_u (local.get $digits) (i32.const 6)))
      (local.set $digits (i8x16.add (v128.and (local.get $digits) (i8x16.splat (i32.const 15)))
        (i8x16.add (local.get $letter) (i16x8.shl (local.get $letter) (i32.const 3)))))
      (v128.or (v128.and (i16x8.shl (local.get $digits) (i32.const 4)) (i16x8.splat (i32.const 240)))
        (i16x8.shr_u (local.get $digits) (i32.const 8))))

    ;; Read the host's answer, whose pointer and length are at address 16; leave it where it is in bytes.
    (func $answer (result i32)
      (local $at i32) (local $to i32) (local $from i32) (local $end i32)
      (local.set $at (i32.load (i32.const @RESULTS@)))
      (if (i32.ne (i32.load8_u (local.get $at)) (i32.const {ord(_MARK[0])})) (then (return (local.get $at))))
      (local.set $to (local.get $at))
      (local.set $from (i32.add (local.get $at) (i32.const {len(_MARK)})))
      (local.set $end (i32.add (local.get $at) (i32.load offset=4 (i32.const @RESULTS@))))
      (global.set $top (i32.add (local.get $at)
        (i32.shr_u (i32.sub (local.get $end) (local.get $from)) (i32.const 1))))
      (call $reserve (i32.add (local.get $end) (i32.const 64)))
      (loop $each
        (v128.store (local.get $to) (i8x16.narrow_i16x8_u (call $digits (local.get $from))
          (call $digits (i32.add (local.get $from) (i32.const 16)))))
        (local.set $to (i32.add (local.get $to) (i32.const 16)))
        (br_if $each (i32.lt_u (local.tee $from (i32.add (local.get $from) (i32.const 32)))
          (local.get $end))))
      (local.get $at))
"""

AS_IT_IS: Final = """
    (func $pack (param $at i32) (param $size i32) (result i32) (i32.const 0))
    (func $answer (result i32) (i32.load (i32.const @RESULTS@)))
"""
"""The same for adapters that may not use vectors."""
