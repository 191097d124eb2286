"""The memories of an adapter, core modules each: one for its calls, two for what moves in streams."""

from __future__ import annotations

from wasmplex.bridge.protocol import ARENA, HEAP_END

__all__ = ["call_memory", "stream_memory"]

_RESERVE = """    (func $reserve (export "reserve") (param $end i32)
      (local $have i32)
      (local.set $have (i32.shl (memory.size) (i32.const 16)))
      (if (i32.gt_u (local.get $end) (local.get $have)) (then
        (if (i32.eq (i32.const -1) (memory.grow (i32.shr_u
              (i32.add (i32.sub (local.get $end) (local.get $have)) (i32.const 65535)) (i32.const 16))))
          (then unreachable)))))"""
"""Makes a memory large enough for what ends at an address."""
_MEMORY = f"""
  (core module $Memory
    (memory (export "memory") {ARENA // 65536 + 2} MAXIMUM)
    (global $top (export "top") (mut i32) (i32.const {ARENA}))
{_RESERVE}
    ;; The last allocation grows and shrinks in place: the host relies on knowing where its block will lie.
    (func (export "realloc") (param $old i32) (param $size i32) (param $align i32) (param $new i32)
        (result i32)
      (local $at i32)
      (if (i32.and (i32.ne (local.get $size) (i32.const 0))
            (i32.eq (i32.add (local.get $old) (local.get $size)) (global.get $top)))
        (then (local.set $at (local.get $old)))
        (else
          (local.set $at (i32.and
            (i32.add (global.get $top) (i32.sub (local.get $align) (i32.const 1)))
            (i32.sub (i32.const 0) (local.get $align))))))
      (global.set $top (i32.add (local.get $at) (local.get $new)))
      (call $reserve (global.get $top))
      (if (i32.and (i32.ne (local.get $size) (i32.const 0)) (i32.ne (local.get $at) (local.get $old)))
        (then (memory.copy (local.get $at) (local.get $old)
          (select (local.get $size) (local.get $new) (i32.lt_u (local.get $size) (local.get $new))))))
      (local.get $at)))
  (core instance $memory (instantiate $Memory))
  (alias core export $memory "memory" (core memory $mem))
  (alias core export $memory "realloc" (core func $realloc))"""


def call_memory(maximum: int) -> str:
    """Return the module that holds the arena and the task records.

    :param maximum: the maximum that it declares, in pages; the mark by which the host tells memories
    """
    return _MEMORY.replace("MAXIMUM", str(maximum))


def stream_memory(name: str, heap: int, maximum: int, packing: str = "") -> str:
    """Return the module that holds the buffers of streams: chunks the host hands out, a heap above.

    :param name: prefix of the names it defines
    :param maximum: the maximum that it declares, in pages; the mark by which the host tells memories
    :param heap: address from which data that stream elements point to is put
    :param packing: the functions by which chunks are packed, if they can be
    """
    return f"""
  (core module $StreamMemory_{name}
    (memory (export "memory") 1 {maximum})
    (global $target (export "target") (mut i32) (i32.const 0))
    (global $heap (export "heap") (mut i32) (i32.const {heap}))
{_RESERVE}
    ;; While the host fills a chunk, the one allocation that is made is put at the chunk.
    (func (export "realloc") (param $old i32) (param $size i32) (param $align i32) (param $new i32)
        (result i32)
      (local $at i32)
      (if (global.get $target) (then
        (call $reserve (i32.add (global.get $target) (local.get $new)))
        (return (global.get $target))))
      (local.set $at (i32.and
        (i32.add (global.get $heap) (i32.sub (local.get $align) (i32.const 1)))
        (i32.sub (i32.const 0) (local.get $align))))
      (global.set $heap (i32.add (local.get $at) (local.get $new)))
      (i32.store (i32.const {HEAP_END}) (global.get $heap))
      (call $reserve (global.get $heap))
      (if (local.get $size) (then (memory.copy (local.get $at) (local.get $old) (local.get $size))))
      (local.get $at)){packing})
  (core instance ${name}memory (instantiate $StreamMemory_{name}))
  (alias core export ${name}memory "memory" (core memory ${name}mem))
  (alias core export ${name}memory "realloc" (core func ${name}realloc))"""
