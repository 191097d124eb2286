"""Generates code that writes values into a block: in memory layout (`store`) and as flat slots (`lower`).

The generated code sees `b`, the block, a bytearray that grows at its end; `base`, the address its first byte
will have, a multiple of 16; and `h`, a `Handles`. What is out of line goes to the end of the block.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from wasmplex.bridge.codec.read import Kinds, Slot, nullable
from wasmplex.bridge.codec.runtime import flags_writer
from wasmplex.bridge.codec.source import DISCRIMINANTS, NUMBER_CODES, Source
from wasmplex.bridge.errors import BridgeError
from wasmplex.bridge.layout import Core, align_to, alignment, cases, discriminant_size, fields, flatten, size
from wasmplex.bridge.layout import payload_offset as payload_at
from wasmplex.bridge.protocol import HEADER
from wasmplex.engine.codec.branching import branch
from wasmplex.values import Err, Ok, Some
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

__all__ = ["lower", "store"]

Later: TypeAlias = Callable[[], None]


def handle(g: Source, type_: ValueType, kinds: Kinds, value: str) -> str | None:
    """Return the expression that turns a Python object into a handle number; None for other types."""
    match type_:
        case Own(resource):
            return f"{g.handles}.give(0,{kinds.resource(resource)},{value})"
        case Borrow(resource):
            return f"{g.handles}.lend({kinds.resource(resource)},{value})"
        case StreamType() if g.stream is not None:
            return g.stream(value)
        case StreamType():
            return f"{g.handles}.give(1,{kinds.stream(type_)},{value})"
        case FutureType():
            return f"{g.handles}.give(2,{kinds.future(type_)},{value})"
    return None


# ---------------------------------------------------------------- out of line


def _out_of_line(g: Source, type_: ValueType, value: str, kinds: Kinds) -> tuple[str, str] | None:
    """Emit code that puts a string, list or map behind the block; return its address and length."""
    match type_:
        case Primitive("string"):
            return _string(g, value)
        case ListType(element, None):
            return _list(g, element, value, kinds)
        case MapType(key, item):
            return _list(g, TupleType((key, item)), f"{value}.items()", kinds)
    return None


def _string(g: Source, value: str) -> tuple[str, str]:
    data = g.assign(f"{value}.encode()")
    start = _align(g, 2 if g.even else 1)
    g.line(f"b+={data}")
    return f"{start}+base", f"len({data})"


def _list(g: Source, element: ValueType, value: str, kinds: Kinds) -> tuple[str, str]:
    value = g.assign(value)
    match element:
        case Primitive("u8"):
            g.line(f"if {value}.__class__ is not bytes: {value}=octets({value})")
            start = _align(g, 2 if g.even else 1)
            g.line(f"b+={value}")
            return f"{start}+base", f"len({value})"
        case Primitive(name) if name in NUMBER_CODES:
            data = g.assign(f'array("{NUMBER_CODES[name]}",{value})')
            start = _align(g, alignment(element))
            g.line(f"b+={data}.tobytes()")
            return f"{start}+base", f"len({data})"
    count, width = g.assign(f"len({value})"), size(element)
    start = _align(g, alignment(element))
    g.line(f"b+=bytes({width}*{count})")
    cursor, item = g.variable(), g.variable()
    g.line(f"{cursor}={start}")
    with g.block(f"for {item} in {value}:"):
        store(g, element, item, cursor, kinds)
        g.line(f"{cursor}+={width}")
    return f"{start}+base", count


def _align(g: Source, alignment_: int) -> str:
    start = g.assign("len(b)")
    if alignment_ > 1:
        padding = g.assign(f"-{start}&{alignment_ - 1}")
        g.line(f"if {padding}: b+=bytes({padding}); {start}+={padding}")
    return start


# ---------------------------------------------------------------- memory layout


def store(
    g: Source, type_: ValueType, value: str, offset: str, kinds: Kinds, head: Sequence[Slot] = ()
) -> None:
    """Emit code that writes a value at `offset` of the block, whose bytes there are zero.

    :param head: what is written from `offset` on, in `HEADER` bytes before the value
    """
    if g.is_deep and children(type_):
        inner, names = g.another(), f"b,base,{g.handles}"
        with inner.block(f"def write({names},v,o):"):
            store(inner, type_, "v", "o", kinds)
        g.line(f"{g.constant(inner.function('write'))}({names},{value},{offset})")
        return
    slots: list[Slot] = [*head]
    later: list[Later] = []
    _scatter(g, type_, value, HEADER if head else 0, offset, slots, later, kinds)
    g.pack(slots, "b", offset)
    for action in later:
        action()


def _scatter(
    g: Source,
    type_: ValueType,
    value: str,
    at: int,
    offset: str,
    slots: list[Slot],
    later: list[Later],
    kinds: Kinds,
) -> None:
    """Compute the fixed part of a value for one pack; payloads of variants are written after it."""
    if (parts := fields(type_)) is not None:
        for part, expression in zip(parts, _take_apart(g, type_, value), strict=True):
            at = align_to(at, alignment(part))
            _scatter(g, part, expression, at, offset, slots, later, kinds)
            at += size(part)
    elif (payloads := cases(type_)) is not None and not isinstance(type_, Enum):
        discriminant, payload = _decide(g, type_, value)
        slots.append((at, DISCRIMINANTS[discriminant_size(len(payloads))], discriminant))
        where = at + payload_at(payloads)

        def write(case: ValueType, _: int) -> None:
            store(g, case, payload, f"{offset}+{where}", kinds)

        later.append(lambda: _each_case(g, payloads, discriminant, write))
    else:
        slots += [(at + behind, code, part) for behind, code, part in _fixed(g, type_, value, kinds)]


def _fixed(g: Source, type_: ValueType, value: str, kinds: Kinds) -> list[Slot]:
    """Compute the fixed part of a value that has no other values in it, or has them out of line."""
    match type_:
        case Primitive("bool"):
            return [(0, "B", f"truth({value})")]
        case Primitive("char"):
            return [(0, "I", f"char({value})")]
        case Primitive(name) if name != "string":
            return [(0, NUMBER_CODES[name], value if name[0] == "f" else f"int_{name}({value})")]
        case Flags(names):
            bits = g.assign(f"{g.constant(flags_writer(names))}({value})")
            if len(names) <= 16:
                return [(0, "B" if len(names) <= 8 else "H", bits)]
            words = range((len(names) + 31) // 32)
            return [(4 * index, "I", f"{bits}>>{32 * index}&0xffffffff") for index in words]
        case Enum(names):
            table = g.constant({name: index for index, name in enumerate(names)})
            return [(0, DISCRIMINANTS[discriminant_size(len(names))], f"{table}[{value}]")]
    if (pointer := _out_of_line(g, type_, value, kinds)) is not None:
        return [(4 * index, "I", expression) for index, expression in enumerate(pointer)]
    if (number := handle(g, type_, kinds, value)) is None:
        raise BridgeError(f"the bridge cannot carry {type_}")
    return [(0, "I", number)]


def _take_apart(g: Source, type_: ValueType, value: str) -> list[str]:
    match type_:
        case Record():
            whole = g.assign(value)
            return [f"{whole}[{field.name!r}]" for field in type_.fields]
        case TupleType():
            names = [g.variable() for _ in type_.elements]
        case _:
            names = [g.variable() for _ in fields(type_) or ()]
    g.line(f"{','.join(names)},={value}")
    return names


# ---------------------------------------------------------------- flat slots


def lower(g: Source, type_: ValueType, value: str, kinds: Kinds) -> list[tuple[Core, str]]:
    """Emit code that computes the flat values of `value`; return (core type, expression) of each.

    An i32 or i64 is given as its bits, an unsigned number.
    """
    if (pointer := _out_of_line(g, type_, value, kinds)) is not None:
        return [("i32", expression) for expression in pointer]
    match type_:
        case Primitive("bool" | "char" as name):
            return [("i32", f"{'truth' if name == 'bool' else 'char'}({value})")]
        case Primitive("f32" | "f64" as name):
            return [(name, value)]
        case Primitive(name):
            return [(flatten(type_)[0], f"raw_{name}({value})")]
        case Flags(names):
            bits = g.assign(f"{g.constant(flags_writer(names))}({value})")
            return [("i32", f"{bits}>>{32 * index}&0xffffffff") for index in range(len(flatten(type_)))]
        case Enum(names):
            table = g.constant({name: index for index, name in enumerate(names)})
            return [("i32", f"{table}[{value}]")]
    if (parts := fields(type_)) is not None:
        pieces = zip(parts, _take_apart(g, type_, value), strict=True)
        return [slot for part, piece in pieces for slot in lower(g, part, piece, kinds)]
    if (payloads := cases(type_)) is not None:
        return _lower_cases(g, type_, payloads, value, kinds)
    if (expression := handle(g, type_, kinds, value)) is None:
        raise BridgeError(f"the bridge cannot carry {type_}")
    return [("i32", expression)]


def _lower_cases(
    g: Source, type_: ValueType, payloads: tuple[ValueType | None, ...], value: str, kinds: Kinds
) -> list[tuple[Core, str]]:
    discriminant, payload = _decide(g, type_, value)
    joined = [(core, g.variable()) for core in flatten(type_)[1:]]
    for _, name in joined:
        g.line(f"{name}=0")

    def write(case: ValueType, _: int) -> None:
        for (have, expression), (want, name) in zip(lower(g, case, payload, kinds), joined, strict=False):
            g.line(f"{name}={_coerce(have, want, expression)}")

    _each_case(g, payloads, discriminant, write)
    return [("i32", discriminant), *joined]


def _coerce(have: Core, want: Core, expression: str) -> str:
    if have == want or have == "i32":
        return expression
    return f"f32_to_bits({expression})" if have == "f32" else f"f64_to_bits({expression})"


# ---------------------------------------------------------------- variants, in either layout


def _each_case(
    g: Source,
    payloads: tuple[ValueType | None, ...],
    discriminant: str,
    write: Callable[[ValueType, int], None],
) -> None:
    found = {index: payload for index, payload in enumerate(payloads) if payload is not None}
    branch(g.block, discriminant, list(found), lambda index: write(found[index], index))


def _decide(g: Source, type_: ValueType, value: str) -> tuple[str, str]:
    """Emit code that finds the case of a value; return the names of discriminant and payload."""
    discriminant, payload = g.variable(), g.variable()
    match type_:
        case Option(element):
            g.line(f"{payload}={value}")
            g.line(f"{discriminant}=0 if {payload} is None else 1")
            if nullable(element):
                some = g.constant(Some)
                with g.block(f"if {discriminant}:"):
                    g.line(f"if {payload}.__class__ is not {some}: raise TypeError")
                    g.line(f"{payload}={payload}.value")
        case ResultType():
            g.line(f"{payload}={value}")
            err, ok = g.constant(Err), g.constant(Ok)
            with g.block(f"if {payload}.__class__ is {ok}:"):
                g.line(f"{discriminant}=0")
            with g.block(f"elif isinstance({payload},{err}):"):
                g.line(f"{discriminant}=1")
            g.line("else: raise TypeError")
            g.line(f"{payload}={payload}.value")
            _refuse_payload(g, type_, discriminant, payload)
        case VariantType():
            table = g.constant({case.name: index for index, case in enumerate(type_.cases)})
            g.line(f"{discriminant},{payload}={value}")
            g.line(f"{discriminant}={table}[{discriminant}]")
            _refuse_payload(g, type_, discriminant, payload)
    return discriminant, payload


def _refuse_payload(g: Source, type_: ValueType, discriminant: str, payload: str) -> None:
    """Emit a check that a case without a payload was not given one: it would be lost in silence."""
    bare = tuple(index for index, case in enumerate(cases(type_) or ()) if case is None)
    if bare:
        g.line(f"if {payload} is not None and {discriminant} in {bare!r}: raise TypeError")
