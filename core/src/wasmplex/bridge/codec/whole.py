"""One generated function for a whole call: read the arguments, call the Python, write the result.

For functions whose types hold no handles that would have to be exchanged and whose Python does not wait:
the calls that are made most often, and that cost least, so that every frame counts.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import Any

from wasmplex.bridge.codec.read import Kinds, lift, load
from wasmplex.bridge.codec.source import Source
from wasmplex.bridge.codec.write import lower, store
from wasmplex.bridge.layout import MAX_FLAT_PARAMS, Core, flatten, size
from wasmplex.bridge.protocol import HEADER, First
from wasmplex.values import Err, Ok
from wasmplex.wit.mismatch import mismatch
from wasmplex.wit.types import ResultType, TupleType, ValueType

__all__ = [
    "DONE", "HEADER", "REFUSALS", "SLOT", "argument_slots", "arguments", "fixed_size", "in_memory",
    "read_arguments", "whole_call", "write_result", "write_value",
]  # fmt: skip

DONE = int(First.DONE)
SLOT = {"i32": "I", "i64": "Q", "f32": "f", "f64": "d"}
REFUSALS = (struct.error, TypeError, KeyError, AttributeError, ValueError, OverflowError, IndexError)
"""What generated code raises for a value that does not fit."""


def read_arguments(g: Source, types: Sequence[ValueType], kinds: Kinds) -> list[str]:
    """Emit code that reads the arguments at the end of the block `m`; return an expression for each."""
    slots = argument_slots(g, types)
    g.unpack(slots, "m", f"len(m)-{8 * len(slots)}")
    return arguments(g, types, slots, kinds)


def argument_slots(g: Source, types: Sequence[ValueType]) -> list[tuple[int, str, str]]:
    """Return offset, struct code and variable of each slot that the arguments take, from 0 on."""
    return [(8 * index, SLOT[core], g.variable()) for index, core in enumerate(_slot_cores(types))]


def _slot_cores(types: Sequence[ValueType]) -> Sequence[Core]:
    return ("i32",) if in_memory(types) else flatten(TupleType(tuple(types)))


def in_memory(types: Sequence[ValueType]) -> bool:
    """Say whether arguments are too many values for slots of their own: one slot points at all of them."""
    return len(flatten(TupleType(tuple(types)))) > MAX_FLAT_PARAMS


def arguments(
    g: Source, types: Sequence[ValueType], slots: Sequence[tuple[int, str, str]], kinds: Kinds
) -> list[str]:
    """Emit code that makes the arguments of what is in their slots; return an expression for each."""
    if in_memory(types):
        pointer = g.assign(f"{slots[0][2]}-base")
        values = g.assign(load(g, TupleType(tuple(types)), pointer, kinds))
        return [f"{values}[{index}]" for index in range(len(types))]
    pairs = zip((name for _, _, name in slots), _slot_cores(types), strict=True)
    return [g.assign(lift(g, type_, pairs, kinds)) for type_ in types]


def write_result(g: Source, type_: ValueType | None, kinds: Kinds, *, flat: bool) -> None:
    """Emit code that writes `v` into a new block `b`."""
    g.line(f"b=bytearray({fixed_size(type_, flat=flat)});b[0]={DONE}")
    write_value(g, type_, kinds, str(HEADER), flat=flat)


def fixed_size(type_: ValueType | None, *, flat: bool) -> int:
    """Return how long the header of a block is with the value behind it, without what that points to."""
    if type_ is None:
        return HEADER
    return HEADER + (8 * len(flatten(type_)) if flat else size(type_))


def write_value(g: Source, type_: ValueType | None, kinds: Kinds, offset: str, *, flat: bool) -> None:
    """Emit code that writes `v` at `offset` of `b`."""
    if type_ is None:
        g.line("if v is not None: raise TypeError")
    elif flat:
        slots = lower(g, type_, "v", kinds)
        g.pack([(8 * i, SLOT[core], text) for i, (core, text) in enumerate(slots)], "b", offset)
    else:
        store(g, type_, "v", offset, kinds)


def whole_call(
    params: Sequence[ValueType],
    result: ValueType | None,
    kinds: Kinds,
    function: Callable[..., Any],
    *,
    flat: bool,
    context: bool,
    even: bool = False,
) -> Callable[[Any, int, int, Any, Any], bytearray]:
    """Return ``(block, its address, address of the answer, handles, instance) -> answer``."""
    g = Source(even=even)
    call, ok, err = g.constant(function), g.constant(Ok), g.constant(Err)
    refusals, explain = g.constant(REFUSALS), g.constant(lambda value: mismatch(result, value))
    with g.block("def serve(m,base,out,h,instance):"):
        arguments = [*(["instance"] if context else []), *read_arguments(g, params, kinds)]
        if isinstance(result, ResultType):
            with g.block("try:"):
                g.line(f"v={ok}({call}({','.join(arguments)}))")
            g.line(f"except {err} as x: v=x")
        else:
            g.line(f"v={call}({','.join(arguments)})")
        g.line("base=out")
        with g.block("try:"):
            write_result(g, result, kinds, flat=flat)
        g.line(f"except {refusals} as x: raise {explain}(v) or x from None")
        g.line("return b")
    return g.function("serve")
