"""Blocks of bytes as digits, for the string transport.

A string's code points above 127 are slow on both sides: wasmtime makes two bytes of UTF-8 of each, Python one
of two, at 3 to 13 ns a byte. Digits are copied as they are. So a block of which enough is above 127 crosses
as digits, which the adapter makes and reads sixteen at a time, and Python with `binascii`: 1 ns a byte,
whatever is in it. Text crosses as it is, faster still. To the adapter digits are base64, for there are fewer;
from it they are hexadecimal, for Python reads these three times as fast.
"""

from __future__ import annotations

from binascii import b2a_base64, unhexlify
from typing import Final

from wasmplex.bridge.protocol import ASCII, PACKED, fill

__all__ = [
    "AS_IT_IS", "CHUNKS_AS_THEY_ARE", "PACKED_CHUNKS", "PACKING", "packed", "packed_chunk", "unpacked",
]  # fmt: skip

_MARK: Final = b"\x7f" * 16
"""Begins a packed answer; no block begins with this byte."""
_LEAST: Final = 256
_SHARE: Final = 16
"""A block is packed from this many bytes on, if more than one byte in so many is above 127."""
_MOST: Final = 1 << 29
"""No block is packed from here on: the length of its digits must not be taken for another encoding."""
_SAMPLE: Final = 256
_HIGH: Final = bytes(range(128, 256))
_SHIFTS: Final = "(v128.const i8x16 0 16 19 4 -65 -65 -71 -71 0 0 0 0 0 0 0 0)"
"""What to add to a digit of base64 for its value, by its upper half; "/" counts as the half below its own."""
_TABLE: Final = f"(v128.const i8x16 {' '.join(map(str, b'0123456789abcdef'))})"


def unpacked(number: int, block: str) -> bytes:
    """Return the bytes of a block from an adapter.

    :param number: what came with it
    """
    return unhexlify(block) if number & PACKED else block.encode("latin-1")


def packed(block: bytes | bytearray) -> str:
    """Return an answer to an adapter that can unpack."""
    return (_MARK + b2a_base64(block, newline=False)).decode() if dense(block) else block.decode("latin-1")


def packed_chunk(chunk: bytes | bytearray, *, packs: bool) -> tuple[str, int]:
    """Return a chunk of a stream for an adapter, and what to tell with it, see `Op.FILL`.

    :param packs: whether it can unpack
    """
    if packs and dense(chunk):
        digits = b2a_base64(chunk, newline=False)
        return digits.decode(), len(digits)
    return chunk.decode("latin-1"), ASCII if chunk.isascii() else 0


def dense(block: bytes | bytearray) -> bool:
    """Say whether a block is worth packing, by a sample of it."""
    if not _LEAST <= len(block) < _MOST or block.isascii():
        return False
    sample = block[:: len(block) // _SAMPLE]
    high = len(sample) - len(sample.translate(None, _HIGH))
    return high * _SHARE > len(sample)


_DIGITS: Final = f"""
    ;; Say whether a block is worth packing.
    (func $dense (param $from i32) (param $size i32) (result i32)
      (local $end i32) (local $high i32)
      (if (i32.or (i32.lt_u (local.get $size) (i32.const {_LEAST}))
          (i32.ge_u (local.get $size) (i32.const {_MOST})))
        (then (return (i32.const 0))))
      (local.set $end (i32.add (local.get $from) (local.get $size)))
      (loop $count
        (local.set $high (i32.add (local.get $high)
          (i32.popcnt (i8x16.bitmask (v128.load (local.get $from))))))
        (br_if $count (i32.lt_u (local.tee $from (i32.add (local.get $from) (i32.const 16)))
          (local.get $end))))
      (i32.gt_u (i32.mul (local.get $high) (i32.const {_SHARE})) (local.get $size)))

    ;; Make digits of bytes, sixteen at a time.
    (func $write_digits (param $at i32) (param $end i32) (param $to i32)
      (local $bytes v128) (local $left v128) (local $right v128)
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
          (local.get $end)))))

    ;; The values of sixteen digits of base64, in order: twelve bytes, and four that mean nothing.
    (func $values (param $digits v128) (result v128)
      (local.set $digits (i8x16.add (local.get $digits) (i8x16.swizzle {_SHIFTS} (i8x16.add
        (i8x16.shr_u (local.get $digits) (i32.const 4))
        (i8x16.eq (local.get $digits) (i8x16.splat (i32.const {ord("/")})))))))
      (local.set $digits (v128.or (i16x8.shr_u (local.get $digits) (i32.const 8))
        (i16x8.shl (v128.and (local.get $digits) (i16x8.splat (i32.const 255))) (i32.const 6))))
      (local.set $digits (v128.or (i32x4.shr_u (local.get $digits) (i32.const 16))
        (i32x4.shl (v128.and (local.get $digits) (i32x4.splat (i32.const 65535))) (i32.const 12))))
      (i8x16.swizzle (local.get $digits)
        (v128.const i8x16 2 1 0 6 5 4 10 9 8 14 13 12 -1 -1 -1 -1)))

    ;; Make bytes of digits, where these lie or before them; up to sixteen bytes more are overwritten.
    (func $read_digits (param $from i32) (param $end i32) (param $to i32)
      (loop $each
        (v128.store (local.get $to) (call $values (v128.load (local.get $from))))
        (local.set $to (i32.add (local.get $to) (i32.const 12)))
        (br_if $each (i32.lt_u (local.tee $from (i32.add (local.get $from) (i32.const 16)))
          (local.get $end)))))
"""

PACKING: Final = f"""{_DIGITS}
    ;; Say whether the memory reaches so far, or can be made to.
    (func $reaches (param $end i32) (result i32)
      (local $have i32)
      (local.set $have (i32.shl (memory.size) (i32.const 16)))
      (if (i32.le_u (local.get $end) (local.get $have)) (then (return (i32.const 1))))
      (i32.ne (i32.const -1) (memory.grow (i32.shr_u
        (i32.add (i32.sub (local.get $end) (local.get $have)) (i32.const 65535)) (i32.const 16)))))

    ;; Say whether a block is to be packed, and if so make digits of it behind the arena.
    (func $pack (param $at i32) (param $size i32) (result i32)
      (if (i32.eqz (call $dense (local.get $at) (local.get $size))) (then (return (i32.const 0))))
      (call $align)
      ;; Where a limit leaves no memory for the digits, the block crosses as it is.
      (if (i32.eqz (call $reaches (i32.add (i32.const 64)
          (i32.add (global.get $top) (i32.shl (local.get $size) (i32.const 1))))))
        (then (return (i32.const 0))))
      (call $write_digits
        (local.get $at) (i32.add (local.get $at) (local.get $size)) (global.get $top))
      (i32.const 1))

    ;; Read the host's answer, whose pointer and length are at address 16; leave it where it is in bytes.
    (func $answer (result i32)
      (local $at i32) (local $from i32) (local $end i32)
      (local.set $at (i32.load (i32.const @RESULTS@)))
      (if (i32.ne (i32.load8_u (local.get $at)) (i32.const {_MARK[0]})) (then (return (local.get $at))))
      (local.set $from (i32.add (local.get $at) (i32.const {len(_MARK)})))
      (local.set $end (i32.add (local.get $at) (i32.load offset=4 (i32.const @RESULTS@))))
      (global.set $top (i32.add (local.get $at)
        (i32.mul (i32.shr_u (i32.sub (local.get $end) (local.get $from)) (i32.const 2)) (i32.const 3))))
      (call $reserve (i32.add (local.get $end) (i32.const 64)))
      (call $read_digits (local.get $from) (local.get $end) (local.get $at))
      (local.get $at))
"""

PACKED_CHUNKS: Final = fill(f"""{_DIGITS}
    ;; Make digits of a piece of this memory, if it is worth it; say whether.
    (func (export "pack") (param $at i32) (param $size i32) (result i32)
      (if (i32.eqz (call $dense (local.get $at) (local.get $size))) (then (return (i32.const 0))))
      (call $write_digits
        (local.get $at) (i32.add (local.get $at) (local.get $size)) (i32.const @DIGITS@))
      (i32.const 1))
    ;; Make bytes of so many digits.
    (func (export "unpack") (param $to i32) (param $count i32)
      (call $read_digits
        (i32.const @DIGITS@) (i32.add (i32.const @DIGITS@) (local.get $count)) (local.get $to)))
""")
"""What the memory of streams has for it. Buffers are above the digits: where there is one, there is room."""

CHUNKS_AS_THEY_ARE: Final = """
    (func (export "pack") (param $at i32) (param $size i32) (result i32) (i32.const 0))
    (func (export "unpack") (param $to i32) (param $count i32) unreachable)
"""

AS_IT_IS: Final = """
    (func $pack (param $at i32) (param $size i32) (result i32) (i32.const 0))
    (func $answer (result i32) (i32.load (i32.const @RESULTS@)))
"""
"""The same for adapters that may not use vectors."""
