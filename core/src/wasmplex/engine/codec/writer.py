"""Generates the code that turns a Python value into a val in memory.

`emit_write` appends statements that write an expression's value at `base` + `offset`; the payload of what is
always there goes to the words from `room` + `used` on (see `fixed_words`), lists take theirs from the arena
``ar``. The statements raise an exception of any kind for a value that does not fit the type, before anything
leaves the arena; which part of the value it was is found out afterwards (`codec.refusal`), so that the
path to it costs nothing when all is well.

Integers are range-checked by the typed views of `engine.memory`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import singledispatch

from wasmplex.engine.capi import KINDS
from wasmplex.engine.codec.branching import branch
from wasmplex.engine.codec.layout import ENTRY, MAP_ENTRY, NAME, VAL, fixed_words, is_heavy
from wasmplex.engine.codec.source import Source, index, name_literal
from wasmplex.engine.inplace import InPlace
from wasmplex.wit.types import (
    Borrow,
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

__all__ = ["SCALARS", "Place", "emit_side", "emit_write"]

# view, number of its units in a 64-bit word, type code of `array`
SCALARS = {
    "u8": ("U8", 8, "B"), "u16": ("U16", 4, "H"), "u32": ("U32", 2, "I"), "u64": ("U64", 1, "Q"),
    "s8": ("S8", 8, "b"), "s16": ("S16", 4, "h"), "s32": ("S32", 2, "i"), "s64": ("S64", 1, "q"),
    "f32": ("F32", 2, "f"), "f64": ("F64", 1, "d"),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Place:
    """Where a val goes: its own words, and the room for its fixed payload."""

    base: str
    offset: int
    room: str
    used: int

    def at(self, word: int, unit: int = 1) -> str:
        """Return the index of a word of the val."""
        return index(self.base, self.offset + word, unit)

    @property
    def payload(self) -> str:
        """The index of the first word of the room."""
        return index(self.room, self.used)

    def inner(self, offset: int, used: int) -> Place:
        """Return the place of a val within the room: at `offset` of it, its own room from `used` on."""
        return Place(self.room, self.used + offset, self.room, self.used + used)


def emit_write(source: Source, type: ValueType, place: Place, value: str, *, top: bool = False) -> None:
    """Emit the writing of the value of an expression to a place.

    :param top: True for a whole parameter or result; a heavy type elsewhere becomes a function of its own,
        made once per component
    """
    if not top and is_heavy(type):
        helper = source.constant(source.namespace["writers"](type))
        source.line(f"{helper}({place.at(0)},{place.payload},{value},ar,ctx,state)")
        return
    _emit(type, source, place, source.let(value))


def _emit_kind(source: Source, place: Place, kind: str) -> None:
    source.line(f"U64[{place.at(0)}]={KINDS[kind]}")


@singledispatch
def _emit(type: ValueType, source: Source, place: Place, value: str) -> None:
    raise NotImplementedError(f"no value of type {type} can cross")


@_emit.register
def _(type: Primitive, source: Source, place: Place, value: str) -> None:
    if type.name in SCALARS:
        view, unit, _ = SCALARS[type.name]
        if type.name == "f32":
            source.line(f"pack_f32({value})")  # refuses what the view would turn into infinity
        source.line(f"{view}[{place.at(1, unit)}]={value}")
    elif type.name == "bool":
        source.line(f"U64[{place.at(1)}]=BOOLS[{value}]")
    elif type.name == "char":
        source.line(f"U32[{place.at(1, 2)}]=char({value})")
    else:
        text = source.let(f"encode({value})")
        source.line(f"ar.keep.append({text})")
        source.line(f"U64[{place.at(1)}]=len({text});U64[{place.at(2)}]=id({text})+HEADER")
    _emit_kind(source, place, type.name)


@_emit.register
def _(type: Enum, source: Source, place: Place, value: str) -> None:
    cases = source.constant({case: name_literal(case) for case in type.cases})
    source.line(f"U64[{place.at(1)}],U64[{place.at(2)}]={cases}[{value}]")
    _emit_kind(source, place, "enum")


@_emit.register
def _(type: Flags, source: Source, place: Place, value: str) -> None:
    names = source.constant({name: name_literal(name) for name in type.names})
    chosen, at, name = source.let(f"flag_set({value},{names})"), source.fresh(), source.fresh()
    source.line(f"{at}={place.payload}")
    source.line(f"U64[{place.at(1)}]=len({chosen});U64[{place.at(2)}]={at}<<3")
    with source.block(f"for {name} in {chosen}:"):
        source.line(f"U64[{at}],U64[{at}+1]={names}[{name}]")
        source.line(f"{at}+={NAME}")
    _emit_kind(source, place, "flags")


@_emit.register
def _(type: InPlace, source: Source, place: Place, value: str) -> None:
    data = source.let(f"{value} if {value}.__class__ is bytes else as_bytes({value})")
    source.line(f"U64[{place.at(1)}]=2;U64[{place.at(2)}]=({place.payload})<<3")
    for number, text in enumerate((f"places(state).keep({data})", f"len({data})")):
        part = place.inner(VAL * number, 2 * VAL)
        source.line(f"U64[{part.at(0)}]={KINDS['u32']};U32[{part.at(1, 2)}]={text}")
    _emit_kind(source, place, "tuple")


@_emit.register
def _(type: ListType, source: Source, place: Place, value: str) -> None:
    kind = "list"
    if type.length is not None:
        kind = "fixed-length-list"
        source.line(f"if len({value})!={type.length}: raise Unfit")
    if isinstance(type.element, Primitive) and type.element.name == "u8":
        value = source.let(f"{value} if {value}.__class__ is bytes else as_bytes({value})")
        source.line(f"U64[{place.at(1)}]=len({value});U64[{place.at(2)}]=ar.byte_vals({value})")
    elif isinstance(type.element, Primitive) and type.element.name in SCALARS:
        _emit_numbers(source, type.element.name, place, value)
    else:
        _emit_items(source, type.element, place, value)
    _emit_kind(source, place, kind)


def _emit_numbers(source: Source, name: str, place: Place, value: str) -> None:
    """Write a list of numbers in two steps of C code: all kinds, all payloads."""
    view, unit, code = SCALARS[name]
    numbers, count, start = source.let(f"numbers({code!r},{value})"), source.fresh(), source.fresh()
    source.line(f"{count}=len({numbers});{start}=ar.alloc({VAL}*{count})")
    source.line(f"U64[{place.at(1)}]={count};U64[{place.at(2)}]={start}<<3")
    with source.block(f"if {count}:"):
        source.line(f"U64[{start}:{start}+{VAL}*{count}:{VAL}]=array('Q',({KINDS[name]},))*{count}")
        first, step = f"{start}*{unit}+{unit}", VAL * unit
        source.line(f"{view}[{first}:{first}+{step}*{count}:{step}]={numbers}")


def _emit_items(source: Source, element: ValueType, place: Place, value: str) -> None:
    room = fixed_words(element)
    items = source.let(f"sequence({value})")  # a tuple: it cannot change under the loop
    count, at, rest, item = (source.fresh() for _ in range(4))
    source.line(f"{count}=len({items});{at}=ar.alloc({VAL + room}*{count});{rest}={at}+{VAL}*{count}")
    source.line(f"U64[{place.at(1)}]={count};U64[{place.at(2)}]={at}<<3")
    with source.block(f"for {item} in {items}:"):
        emit_write(source, element, Place(at, 0, rest, 0), item)
        source.line(f"{at}+={VAL};{rest}+={room}")


@_emit.register
def _(type: MapType, source: Source, place: Place, value: str) -> None:
    key_room = fixed_words(type.key)
    room = key_room + fixed_words(type.value)
    items = source.let(f"tuple({value}.items())")
    count, at, rest, key, item = (source.fresh() for _ in range(5))
    source.line(
        f"{count}=len({items});{at}=ar.alloc({MAP_ENTRY + room}*{count});{rest}={at}+{MAP_ENTRY}*{count}"
    )
    source.line(f"U64[{place.at(1)}]={count};U64[{place.at(2)}]={at}<<3")
    with source.block(f"for {key},{item} in {items}:"):
        emit_write(source, type.key, Place(at, 0, rest, 0), key)
        emit_write(source, type.value, Place(at, VAL, rest, key_room), item)
        source.line(f"{at}+={MAP_ENTRY};{rest}+={room}")
    _emit_kind(source, place, "map")


@_emit.register
def _(type: TupleType, source: Source, place: Place, value: str) -> None:
    items = [source.fresh() for _ in type.elements]
    source.line(f"{','.join(items)},=as_tuple({value})")
    source.line(f"U64[{place.at(1)}]={len(items)};U64[{place.at(2)}]=({place.payload})<<3")
    used = VAL * len(items)
    for i, (element, item) in enumerate(zip(type.elements, items, strict=True)):
        emit_write(source, element, place.inner(VAL * i, used), item)
        used += fixed_words(element)
    _emit_kind(source, place, "tuple")


@_emit.register
def _(type: Record, source: Source, place: Place, value: str) -> None:
    count = len(type.fields)
    source.line(f"U64[{place.at(1)}]={count};U64[{place.at(2)}]=({place.payload})<<3")
    used = ENTRY * count
    for i, field in enumerate(type.fields):
        length, address = name_literal(field.name)
        entry = place.inner(ENTRY * i, used)
        source.line(f"U64[{entry.at(0)}]={length};U64[{entry.at(1)}]={address}")
        emit_write(source, field.type, place.inner(ENTRY * i + NAME, used), f"{value}[{field.name!r}]")
        used += fixed_words(field.type)
    _emit_kind(source, place, "record")


@_emit.register
def _(type: Option, source: Source, place: Place, value: str) -> None:
    source.line(f"if {value} is None: U64[{place.at(1)}]=0")
    if isinstance(type.element, Option):
        source.line(f"elif not isinstance({value},Some): raise Unfit")
        inner = f"{value}.value"
    else:
        inner = value
    with source.block("else:"):
        source.line(f"U64[{place.at(1)}]=({place.payload})<<3")
        emit_write(source, type.element, place.inner(0, VAL), inner)
    _emit_kind(source, place, "option")


@_emit.register
def _(type: ResultType, source: Source, place: Place, value: str) -> None:
    for header, flag, side in (
        (f"if isinstance({value},Ok):", 1, type.ok),
        (f"elif isinstance({value},Err):", 0, type.err),
    ):
        with source.block(header):
            source.line(f"U64[{place.at(1)}]={flag}")
            emit_side(source, side, place, 2, f"{value}.value")
    source.line("else: raise Unfit")
    _emit_kind(source, place, "result")


def emit_side(source: Source, type: ValueType | None, place: Place, word: int, value: str) -> None:
    """Emit the writing of an optional payload whose pointer is at `word` of the val."""
    if type is None:
        source.line(f"if {value} is not None: raise Unfit")
        source.line(f"U64[{place.at(word)}]=0")
    else:
        source.line(f"U64[{place.at(word)}]=({place.payload})<<3")
        emit_write(source, type, place.inner(0, VAL), value)


@_emit.register
def _(type: VariantType, source: Source, place: Place, value: str) -> None:
    groups: dict[ValueType | None, list[str]] = {}
    for case in type.cases:
        groups.setdefault(case.type, []).append(case.name)
    table = {name: (*name_literal(name), i) for i, names in enumerate(groups.values()) for name in names}
    payload, number = source.fresh(), source.fresh()
    tag = source.fresh()
    source.line(f"{tag},{payload}=as_tuple({value})")
    source.line(f"U64[{place.at(1)}],U64[{place.at(2)}],{number}={source.constant(table)}[{tag}]")
    types = list(groups)
    branch(source.block, number, range(len(types)), lambda i: emit_side(source, types[i], place, 3, payload))
    _emit_kind(source, place, "variant")


@_emit.register
def _(type: Own, source: Source, place: Place, value: str) -> None:
    _emit_handle(source, type.resource, place, value, "give")


@_emit.register
def _(type: Borrow, source: Source, place: Place, value: str) -> None:
    _emit_handle(source, type.resource, place, value, "lend")


def _emit_handle(source: Source, resource: Resource, place: Place, value: str, verb: str) -> None:
    source.line(f"U64[{place.at(1)}]=state.{verb}({source.constant(resource)},{value},ar)")
    _emit_kind(source, place, "resource")
