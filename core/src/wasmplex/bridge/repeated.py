"""The loop by which an export adapter makes calls whose entries lie in the arena, one after the other."""

from __future__ import annotations

__all__ = ["repeated"]


def repeated(name: str, call: str, before: str = "") -> str:
    """Return a core function that makes calls until the host pauses it, or their results are many.

    :param name: that it is exported under
    :param call: the instructions that make the call of the entry at ``$entry``
    :param before: what comes before the first
    """
    return f"""
    (func (export "{name}") (param $fn i32) (param $count i32) (param $end i32)
      (local $entry i32) (local $last i32){before}
      (call $reserve (local.get $end))
      (global.set $top (local.get $end))
      (local.set $entry (i32.const @ARENA@))
      (local.set $last (i32.add (local.get $entry) (i32.shl (local.get $count) (i32.const 4))))
      (block $done (loop $each
        (br_if $done (i32.ge_u (local.get $entry) (local.get $last)))
        {call}
        (i32.store offset=4 (local.get $entry) (global.get $ret))
        (i32.store offset=8 (local.get $entry) (global.get $top))
        (local.set $entry (i32.add (local.get $entry) (i32.const 16)))
        (i32.store (i32.const @MADE@) (local.get $entry))
        (br_if $done (i32.load (i32.const @PAUSED@)))
        (br_if $each (i32.lt_u (i32.sub (global.get $top) (local.get $end)) (i32.const @FULL@)))))
      (global.set $top (i32.const @ARENA@)))
"""
