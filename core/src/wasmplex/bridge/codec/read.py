"""Generates code that reads values out of a block: from memory layout (`load`) and from flat slots (`lift`).

The generated code sees `m`, the block; `base`, the address of its first byte; and `h`, a `Handles`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol, TypeAlias

from wasmplex.bridge.codec.runtime import flags_reader
from wasmplex.bridge.codec.source import DISCRIMINANTS, NUMBER_CODES, Source
from wasmplex.bridge.errors import BridgeError
from wasmplex.bridge.layout import Core, align_to, alignment, cases, discriminant_size, fields, flatten, size
from wasmplex.bridge.layout import payload_offset as payload_at
from wasmplex.engine.bounds import NUMBERS, VALUES
from wasmplex.engine.codec.branching import branch
from wasmplex.values import Err, Ok, Some, Variant
from wasmplex.wit.types import (
    Borrow,
    Enum,
    Flags,
    FutureType,
    ListType,
    MapType,
    Option,
    Own,
    Primitive,
    Record,
    ResultType,
    StreamType,
    TupleType,
    ValueType,
    VariantType,
)
from wasmplex.wit.walk import children

__all__ = ["Kinds", "Slot", "lift", "load", "nullable"]

Slot: TypeAlias = tuple[int, str, str]
Finish: TypeAlias = Callable[[str], str]

_CODES = {**NUMBER_CODES, "bool": "B", "char": "I"}
_SIGN = {"s8": (0xFF, 0x80), "s16": (0xFFFF, 0x8000), "s32": (0xFFFFFFFF, 1 << 31), "s64": (None, 1 << 63)}
_MASK = {"u8": "&0xff", "u16": "&0xffff"}


class Kinds(Protocol):
    """Numbers the resource, stream and future types of one adapter."""

    def resource(self, resource: Any) -> int:
        """Return the number of a resource type."""

    def stream(self, type_: StreamType) -> int:
        """Return the number of a stream type."""

    def future(self, type_: FutureType) -> int:
        """Return the number of a future type."""


def nullable(type_: ValueType) -> bool:
    """Say whether None is a value of the type in Python, so that an option of it needs `Some`."""
    return isinstance(type_, Option)


def handle(g: Source, type_: ValueType, kinds: Kinds, value: str) -> str | None:
    """Return the expression that turns a handle number into its Python object; None for other types."""
    match type_:
        case Own(resource):
            return f"{g.handles}.own({kinds.resource(resource)},{value})"
        case Borrow(resource):
            return g.borrowed.format(kind=kinds.resource(resource), handle=value)
        case StreamType():
            return f"{g.handles}.stream({kinds.stream(type_)},{value})"
        case FutureType():
            return f"{g.handles}.future({kinds.future(type_)},{value})"
    return None


# ---------------------------------------------------------------- memory layout


def load(g: Source, type_: ValueType, offset: str, kinds: Kinds) -> str:
    """Emit code that reads a value at `offset` of the block and return the expression for it."""
    if g.is_deep and children(type_):
        inner, names = g.another(), f"m,base,{g.handles}"
        with inner.block(f"def read({names},o):"):
            inner.line(f"return {load(inner, type_, 'o', kinds)}")
        return f"{g.constant(inner.function('read'))}({names},{offset})"
    slots: list[Slot] = []
    finish = _gather(g, type_, 0, slots, kinds)
    g.unpack(slots, "m", offset)
    return finish(offset)


def _gather(g: Source, type_: ValueType, at: int, slots: list[Slot], kinds: Kinds) -> Finish:
    """Collect the fixed part of a value for one unpack; return what completes it afterwards."""

    def slot(code: str, offset: int = 0) -> str:
        name = g.variable()
        slots.append((at + offset, code, name))
        return name

    if (parts := fields(type_)) is not None:
        return _gather_fields(g, type_, parts, at, slots, kinds)
    if (payloads := cases(type_)) is not None and not isinstance(type_, Enum):
        value = slot(DISCRIMINANTS[discriminant_size(len(payloads))])
        where = at + payload_at(payloads)
        return lambda offset: _choose(
            g, type_, value, lambda payload: load(g, payload, f"{offset}+{where}", kinds)
        )
    return _gather_fixed(g, type_, slot, kinds)


def _gather_fixed(g: Source, type_: ValueType, slot: Callable[..., str], kinds: Kinds) -> Finish:
    """Collect the fixed part of a value that has no other values in it, or has them out of line."""
    match type_:
        case Primitive("string"):
            p, n = slot("I"), slot("I", 4)
            return lambda _: _text(g, p, n)
        case Primitive(name):
            value = slot(_CODES[name])
            text = {"bool": f"{value}!=0", "char": f"chr({value})"}.get(name, value)
            return lambda _: text
        case ListType(element, None):
            p, n = slot("I"), slot("I", 4)
            return lambda _: _load_list(g, element, p, n, kinds)
        case MapType(key, value_type):
            p, n = slot("I"), slot("I", 4)
            pair = TupleType((key, value_type))
            return lambda _: f"dict({_load_list(g, pair, p, n, kinds)})"
        case Flags(names):
            return _gather_flags(g, names, slot)
        case Enum(names):
            value, table = slot(DISCRIMINANTS[discriminant_size(len(names))]), g.constant(names)
            return lambda _: f"{table}[{value}]"
    value = slot("I")
    if (expression := handle(g, type_, kinds, value)) is None:
        raise BridgeError(f"the bridge cannot carry {type_}")
    return lambda _: expression


def _gather_fields(
    g: Source, type_: ValueType, parts: tuple[ValueType, ...], at: int, slots: list[Slot], kinds: Kinds
) -> Finish:
    finishers = []
    for part in parts:
        at = align_to(at, alignment(part))
        finishers.append(_gather(g, part, at, slots, kinds))
        at += size(part)
    # Each part is assigned before the next is completed, for completing one may emit statements.
    return lambda offset: _build(type_, [g.assign(finish(offset)) for finish in finishers])


def _gather_flags(g: Source, names: tuple[str, ...], slot: Callable[..., str]) -> Finish:
    table = g.constant(flags_reader(names))
    if len(names) <= 16:
        value = slot("B" if len(names) <= 8 else "H")
        return lambda _: f"{table}({value})"
    words = [slot("I", 4 * index) for index in range((len(names) + 31) // 32)]
    total = "|".join(f"{word}<<{32 * index}" for index, word in enumerate(words))
    return lambda _: f"{table}({total})"


def _build(type_: ValueType, parts: list[str]) -> str:
    match type_:
        case Record():
            return "{" + ",".join(f"{f.name!r}:{v}" for f, v in zip(type_.fields, parts, strict=True)) + "}"
        case TupleType():
            return "(" + "".join(f"{part}," for part in parts) + ")"
    return "[" + ",".join(parts) + "]"


def _text(g: Source, p: str, n: str) -> str:
    start = g.assign(f"{p}-base")
    return f"m[{start}:{start}+{n}].decode()"


def _load_list(g: Source, element: ValueType, p: str, n: str, kinds: Kinds) -> str:
    start = g.assign(f"{p}-base")
    if element == Primitive("u8"):
        return f"m[{start}:{start}+{n}]"
    number = isinstance(element, Primitive) and element.name != "string"
    g.line(f"if {n}>{NUMBERS if number else VALUES}: raise too_many({n})")
    match element:
        case Primitive("bool"):
            return f"[x!=0 for x in m[{start}:{start}+{n}]]"
        case Primitive("char"):
            return f'[chr(x) for x in memoryview(m[{start}:{start}+4*{n}]).cast("I")]'
        case Primitive(name) if name in NUMBER_CODES:
            width = size(element)
            return f'memoryview(m[{start}:{start}+{width}*{n}]).cast("{NUMBER_CODES[name]}").tolist()'
    result, width = g.assign("[]"), size(element)
    cursor = g.variable()
    with g.block(f"for {cursor} in range({start},{start}+{width}*{n},{width}):"):
        g.line(f"{result}.append({load(g, element, cursor, kinds)})")
    return result


# ---------------------------------------------------------------- flat slots


def lift(g: Source, type_: ValueType, slots: Iterator[tuple[str, Core]], kinds: Kinds) -> str:
    """Emit code that reads a value out of flat slots (variable, core type) and return its expression."""
    match type_:
        case Primitive("string"):
            p, n = _next(slots, "i32"), _next(slots, "i32")
            return _text(g, p, n)
        case Primitive(name):
            return _lift_primitive(name, _next(slots, flatten(type_)[0]))
        case ListType(element, None):
            return _load_list(g, element, _next(slots, "i32"), _next(slots, "i32"), kinds)
        case MapType(key, value):
            pair = TupleType((key, value))
            return f"dict({_load_list(g, pair, _next(slots, 'i32'), _next(slots, 'i32'), kinds)})"
        case Flags(names):
            words = [_next(slots, "i32") for _ in flatten(type_)]
            total = "|".join(f"({word})<<{32 * index}" for index, word in enumerate(words))
            return f"{g.constant(flags_reader(names))}({total or 0})"
        case Enum(names):
            return f"{g.constant(names)}[{_next(slots, 'i32')}]"
    if (parts := fields(type_)) is not None:
        return _build(type_, [g.assign(lift(g, part, slots, kinds)) for part in parts])
    if cases(type_) is not None:
        discriminant = g.assign(_next(slots, "i32"))
        joined = [next(slots) for _ in flatten(type_)[1:]]
        return _choose(g, type_, discriminant, lambda payload: lift(g, payload, iter(joined), kinds))
    if (expression := handle(g, type_, kinds, _next(slots, "i32"))) is None:
        raise BridgeError(f"the bridge cannot carry {type_}")
    return expression


def _next(slots: Iterator[tuple[str, Core]], want: Core) -> str:
    value, have = next(slots)
    if have == want:
        return value
    if want == "f32":
        return f"bits_to_f32({value})"
    if want == "f64":
        return f"bits_to_f64({value})"
    return f"({value}&0xffffffff)"


def _lift_primitive(name: str, value: str) -> str:
    if name == "bool":
        return f"{value}!=0"
    if name == "char":
        return f"chr({value})"
    if name in _SIGN:
        mask, sign = _SIGN[name]
        bits = f"({value}&{mask:#x})" if mask else f"({value})"
        return f"({bits}^{sign:#x})-{sign:#x}"
    return f"{value}{_MASK.get(name, '')}"


# ---------------------------------------------------------------- variants, in either layout


def _choose(g: Source, type_: ValueType, discriminant: str, read: Callable[[ValueType], str]) -> str:
    """Emit an if-chain over the cases and return the variable that holds the value."""
    result = g.variable()
    payloads = cases(type_) or ()

    def emit(index: int) -> None:
        payload = payloads[index]
        value = None if payload is None else read(payload)
        g.line(f"{result}={_case(g, type_, index, value)}")

    branch(g.block, discriminant, range(len(payloads)), emit)
    return result


def _case(g: Source, type_: ValueType, index: int, value: str | None) -> str:
    match type_:
        case Option(element):
            if index == 0:
                return "None"
            return f"{g.constant(Some)}({value})" if nullable(element) else str(value)
        case ResultType():
            return f"{g.constant(Err if index else Ok)}({value})"
        case VariantType():
            return f"{g.constant(Variant)}({type_.cases[index].name!r},{value})"
    raise BridgeError(f"the bridge cannot carry {type_}")
