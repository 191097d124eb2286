"""Generates the code that turns a val in memory into a Python value.

`emit_read` appends statements to a `Source` and returns an expression for the value. `base` is the name of a
local variable that holds the index in ``U64`` of a val (or of an aggregate that it lies in), `offset` the
distance from there in words. What wasmtime hands over is well-formed; nothing is checked again.
"""

from __future__ import annotations

from functools import singledispatch

from wasmplex.engine.bounds import NUMBERS, VALUES
from wasmplex.engine.codec.branching import branch
from wasmplex.engine.codec.layout import ENTRY, MAP_ENTRY, NAME, VAL, is_heavy
from wasmplex.engine.codec.source import Source, index
from wasmplex.engine.inplace import InPlace
from wasmplex.values import Variant
from wasmplex.wit.types import (
    Borrow,
    Case,
    Enum,
    Flags,
    ListType,
    MapType,
    Option,
    Own,
    Primitive,
    Record,
    Resource,
    ResultType,
    TupleType,
    ValueType,
    VariantType,
)

__all__ = ["emit_read", "emit_side"]

# view and number of its units in a 64-bit word
_SCALARS = {
    "u8": ("U8", 8), "u16": ("U16", 4), "u32": ("U32", 2), "u64": ("U64", 1),
    "s8": ("S8", 8), "s16": ("S16", 4), "s32": ("S32", 2), "s64": ("S64", 1),
    "f32": ("F32", 2), "f64": ("F64", 1),
}  # fmt: skip


def emit_read(source: Source, type: ValueType, base: str, offset: int = 0, *, top: bool = False) -> str:
    """Emit the reading of the val at `base` + `offset`; return an expression for its value.

    :param top: True for a whole parameter or result; a heavy type elsewhere becomes a function of its own,
        made once per component
    """
    if not top and is_heavy(type):
        helper = source.namespace["readers"](type)
        return f"{source.constant(helper)}({index(base, offset)},ctx,state)"
    return _emit(type, source, base, offset)


@singledispatch
def _emit(type: ValueType, source: Source, base: str, offset: int) -> str:
    raise NotImplementedError(f"no value of type {type} can cross")


@_emit.register
def _(type: Primitive, source: Source, base: str, offset: int) -> str:
    if scalar := _SCALARS.get(type.name):
        view, unit = scalar
        return f"{view}[{index(base, offset + 1, unit)}]"
    if type.name == "bool":
        return f"(U8[{index(base, offset + 1, 8)}]!=0)"
    if type.name == "char":
        return f"chr(U32[{index(base, offset + 1, 2)}])"
    return f"{_raw_name(source, base, offset + 1)}.decode()"


def _raw_name(source: Source, base: str, offset: int) -> str:
    """Return the bytes of the (length, address) pair at `offset`."""
    at = source.let(f"U64[{index(base, offset + 1)}]")
    return f"RAW[{at}:{at}+U64[{index(base, offset)}]]"


@_emit.register
def _(type: Enum, source: Source, base: str, offset: int) -> str:
    cases = source.constant({case.encode(): case for case in type.cases})
    return f"{cases}[{_raw_name(source, base, offset + 1)}]"


@_emit.register
def _(type: Flags, source: Source, base: str, offset: int) -> str:
    names = source.constant({name.encode(): name for name in type.names})
    first = source.let(f"U64[{index(base, offset + 2)}]>>3")
    end = f"{first}+{NAME}*U64[{index(base, offset + 1)}]"
    return (
        f"frozenset([{names}[RAW[U64[i+1]:U64[i+1]+U64[i]]] for i in range({first},{end},{NAME})])"
    )  # fmt: skip


@_emit.register
def _(type: InPlace, source: Source, base: str, offset: int) -> str:
    first = source.let(f"U64[{index(base, offset + 2)}]>>3")
    at, size = (f"U32[{index(first, VAL * i + 1, 2)}]" for i in range(2))
    return f"places(state).read({at},{size})"


@_emit.register
def _(type: ListType, source: Source, base: str, offset: int) -> str:
    count = source.let(f"U64[{index(base, offset + 1)}]")
    vals = source.let(f"U64[{index(base, offset + 2)}]")
    if type.element != Primitive("u8"):  # bytes are one each
        number = isinstance(type.element, Primitive) and type.element.name in _SCALARS
        source.line(f"if {count}>{NUMBERS if number else VALUES}: raise too_many({count})")
    if isinstance(type.element, Primitive) and (gather := _gather(type.element.name, vals, count)):
        return gather
    result, item = source.let("[]"), source.fresh()
    start = source.let(f"{vals}>>3")
    with source.block(f"for {item} in range({start},{start}+{VAL}*{count},{VAL}):"):
        source.line(f"{result}.append({emit_read(source, type.element, item)})")
    return result


def _gather(name: str, vals: str, count: str) -> str | None:
    """Return the expression that takes all numbers of a list in one step of C code."""
    if name == "u8":
        return f"RAW[{vals}+8:{vals}+32*{count}:32]"
    if name not in _SCALARS:
        return None
    view, unit = _SCALARS[name]
    shift = {8: 0, 4: 1, 2: 2, 1: 3}[unit]
    first = f"({vals}>>{shift})" if shift else vals
    return f"{view}[{first}+{unit}:{first}+{VAL * unit}*{count}:{VAL * unit}].tolist()"


@_emit.register
def _(type: MapType, source: Source, base: str, offset: int) -> str:
    result, item = source.let("{}"), source.fresh()
    start = source.let(f"U64[{index(base, offset + 2)}]>>3")
    end = f"{start}+{MAP_ENTRY}*U64[{index(base, offset + 1)}]"
    with source.block(f"for {item} in range({start},{end},{MAP_ENTRY}):"):
        key = source.let(emit_read(source, type.key, item))
        source.line(f"{result}[{key}]={emit_read(source, type.value, item, VAL)}")
    return result


@_emit.register
def _(type: TupleType, source: Source, base: str, offset: int) -> str:
    first = source.let(f"U64[{index(base, offset + 2)}]>>3")
    items = [emit_read(source, element, first, VAL * i) for i, element in enumerate(type.elements)]
    return f"({''.join(f'{item},' for item in items)})"


@_emit.register
def _(type: Record, source: Source, base: str, offset: int) -> str:
    first = source.let(f"U64[{index(base, offset + 2)}]>>3")
    items = [
        f"{field.name!r}:{emit_read(source, field.type, first, ENTRY * i + NAME)}"
        for i, field in enumerate(type.fields)
    ]
    return f"{{{','.join(items)}}}"


@_emit.register
def _(type: Option, source: Source, base: str, offset: int) -> str:
    result = source.fresh()
    payload = source.let(f"U64[{index(base, offset + 1)}]>>3")
    with source.block(f"if {payload}:"):
        value = emit_read(source, type.element, payload)
        wrapped = f"new(Some,({value},))" if isinstance(type.element, Option) else value
        source.line(f"{result}={wrapped}")
    source.line(f"else: {result}=None")
    return result


@_emit.register
def _(type: ResultType, source: Source, base: str, offset: int) -> str:
    result = source.fresh()
    for header, side, wrap in (
        (f"if U8[{index(base, offset + 1, 8)}]:", type.ok, "new(Ok,({},))"),
        ("else:", type.err, "Err({})"),
    ):
        with source.block(header):
            source.line(f"{result}={wrap.format(emit_side(source, side, base, offset))}")
    return result


def emit_side(source: Source, side: ValueType | None, base: str, offset: int) -> str:
    """Emit the reading of the payload of a result at `base` + `offset`."""
    if side is None:
        return "None"
    payload = source.let(f"U64[{index(base, offset + 2)}]>>3")
    return emit_read(source, side, payload)


@_emit.register
def _(type: VariantType, source: Source, base: str, offset: int) -> str:
    result, tag = source.fresh(), source.let(_raw_name(source, base, offset + 1))
    with_payload = [case for case in type.cases if case.type is not None]
    plain = {case.name.encode(): Variant(case.name) for case in type.cases if case.type is None}
    if not with_payload:
        return f"{source.constant(plain)}[{tag}]"
    if not plain:
        _emit_payload(source, with_payload, base, offset, tag, result)
        return result
    source.line(f"{result}={source.constant(plain)}.get({tag})")
    with source.block(f"if {result} is None:"):
        _emit_payload(source, with_payload, base, offset, tag, result)
    return result


def _emit_payload(
    source: Source, cases: list[Case], base: str, offset: int, tag: str, result: str
) -> None:  # fmt: skip
    """Emit the reading of a variant that has a payload, its name's bytes being in `tag`."""
    payload = source.let(f"U64[{index(base, offset + 3)}]>>3")
    groups: dict[ValueType, list[str]] = {}
    for case in cases:
        if case.type is not None:
            groups.setdefault(case.type, []).append(case.name)
    table = {name.encode(): (name, i) for i, names in enumerate(groups.values()) for name in names}
    name, number = source.fresh(), source.fresh()
    source.line(f"{name},{number}={source.constant(table)}[{tag}]")
    types = list(groups)

    def emit(i: int) -> None:
        source.line(f"{result}=new(Variant,({name},{emit_read(source, types[i], payload)}))")

    branch(source.block, number, range(len(types)), emit)


@_emit.register
def _(type: Own, source: Source, base: str, offset: int) -> str:
    return _emit_handle(source, type.resource, base, offset, "take")


@_emit.register
def _(type: Borrow, source: Source, base: str, offset: int) -> str:
    return _emit_handle(source, type.resource, base, offset, "look")


def _emit_handle(source: Source, resource: Resource, base: str, offset: int, verb: str) -> str:
    if not resource.imported:
        return f"state.adopt({source.constant(resource)},U64[{index(base, offset + 1)}])"
    # The val's third word is unused: the out slot. One per linked function would be overwritten when
    # another thread gets the GIL in between.
    handle, rep = source.fresh(), source.fresh()
    at = index(base, offset + 2)
    source.line(f"if any_to_host(ctx,U64[{index(base, offset + 1)}],({at})<<3): raise Foreign")
    source.line(f"{handle}=U64[{at}];{rep}=host_rep({handle});host_delete({handle})")
    return f"state.{verb}({rep})"
