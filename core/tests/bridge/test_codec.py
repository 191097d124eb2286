"""The canonical-ABI codecs: what is written is read back, what does not fit is named."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wasmplex.bridge.codec import HEADER, elements, reader, writer
from wasmplex.bridge.codec.read import load
from wasmplex.bridge.codec.several import several_writer
from wasmplex.bridge.codec.source import Source
from wasmplex.bridge.kinds import KindTable
from wasmplex.bridge.layout import MAX_FLAT_PARAMS, flatten
from wasmplex.engine.memory import RAW, bytes_address
from wasmplex.values import Err, Ok, Some, Variant
from wasmplex.wit.mismatch import ValueMismatch, mismatch
from wasmplex.wit.types import (
    Case,
    Enum,
    Field,
    Flags,
    ListType,
    MapType,
    Option,
    Primitive,
    Record,
    ResultType,
    TupleType,
    ValueType,
    VariantType,
)

from .witvalues import typed_values, values

BASES = st.integers(0, 1 << 20).map(lambda n: n * 16)
STRING, U32, BYTES = Primitive("string"), Primitive("u32"), ListType(Primitive("u8"))


NO_KINDS = KindTable()


def through_memory(type_: ValueType, value: Any, base: int) -> Any:
    block = writer(type_, NO_KINDS, flat=False)(value, base, None)
    return reader([type_], NO_KINDS, flat=False)(bytes(block[HEADER:]), base + HEADER, None)[0]


def through_slots(type_: ValueType, value: Any, base: int) -> Any:
    block = writer(type_, NO_KINDS, flat=True)(value, base, None)
    slots = block[HEADER : HEADER + 8 * len(flatten(type_))]
    return reader([type_], NO_KINDS)(bytes(block + slots), base, None)[0]


@settings(max_examples=150, deadline=None)
@given(typed_values(), BASES)
def test_memory_layout_round_trips(pair: tuple[ValueType, Any], base: int) -> None:
    type_, value = pair
    assert mismatch(type_, value) is None
    assert through_memory(type_, value, base) == value


@settings(max_examples=150, deadline=None)
@given(typed_values(), BASES)
def test_flat_slots_round_trip(pair: tuple[ValueType, Any], base: int) -> None:
    type_, value = pair
    if len(flatten(type_)) <= MAX_FLAT_PARAMS:
        assert through_slots(type_, value, base) == value


@settings(max_examples=100, deadline=None)
@given(typed_values(4).flatmap(lambda p: st.tuples(st.just(p[0]), st.just([p[1]] * 3))), BASES)
def test_runs_of_elements_round_trip(pair: tuple[ValueType, Any], base: int) -> None:
    type_, run = pair
    read, write = elements(type_, NO_KINDS)
    assert read((bytes(write(run, base, None)), 0, len(run)), base, None) == run


@settings(max_examples=25, deadline=None)
@given(
    typed_values(4).flatmap(lambda p: st.tuples(st.just(p[0]), st.lists(values(p[0]), max_size=3))),
    BASES,
    st.integers(0, 17),
    st.booleans(),
)
def test_the_arguments_of_several_calls_are_what_each_has_alone(
    pair: tuple[ValueType, list[Any]], base: int, before: int, flat: bool
) -> None:
    type_, block, places = TupleType((pair[0],)), bytearray(before), list[int]()
    calls = [(value,) for value in pair[1]]
    several_writer(type_, NO_KINDS, flat=flat)(calls, block, base, places)
    assert len(places) == len(calls)
    write = writer(type_, NO_KINDS, flat=flat)
    for place, args in zip(places, calls, strict=True):
        alone = write(args, place, None)
        assert place % 16 == 0
        assert block[place - base :].startswith(alone)


@pytest.mark.parametrize("odd", [(-1,), ("5",), (None,)])
def test_calls_are_written_up_to_the_first_that_does_not_fit(odd: tuple[Any]) -> None:
    write = several_writer(TupleType((U32,)), NO_KINDS, flat=True)
    block, places = bytearray(), list[int]()
    write([(1,), odd, (2,)], block, 0, places)
    assert (places, bytes(block)) == (
        [0],
        bytes(writer(TupleType((U32,)), NO_KINDS, flat=True)((1,), 0, None)),
    )
    with pytest.raises(ValueMismatch):
        write([odd, (1,)], bytearray(), 0, [])


def test_a_value_is_read_where_it_lies_in_the_process() -> None:
    type_ = TupleType((STRING, BYTES, ListType(U32)))
    value = ("naïve", b"\x00\xff", [1, 2**32 - 1])
    block = bytes(writer(type_, NO_KINDS, flat=False)(value, 64, None))
    g = Source()
    g.namespace["m"] = RAW
    with g.block("def read(at,base):"):
        g.line(f"return {load(g, type_, 'at', NO_KINDS)}")
    start = bytes_address(block)
    assert g.function("read")(start + HEADER, 64 - start) == value


def test_a_map_is_a_dict() -> None:
    type_ = MapType(STRING, U32)
    assert through_memory(type_, {"a": 1, "b": 2}, 0) == {"a": 1, "b": 2}
    assert through_slots(type_, {"a": 1}, 0) == {"a": 1}


def test_more_than_32_flags_take_more_words() -> None:
    type_ = Flags(tuple(f"f{n}" for n in range(40)))
    value = frozenset({"f0", "f31", "f32", "f39"})
    assert through_memory(type_, value, 0) == value
    assert through_slots(type_, value, 0) == value


NESTED = Record((Field("items", ListType(TupleType((U32, STRING)))), Field("mode", Enum(("on", "off")))))


@pytest.mark.parametrize(
    ("type_", "value", "text"),
    [
        (U32, -1, "value: -1 is out of range for u32: 0 to 4294967295"),
        (U32, True, "value: an int is wanted for u32, not bool True"),
        (U32, 1.0, "value: an int is wanted for u32, not float 1.0"),
        (Primitive("s64"), 2**63, "out of range for s64"),
        (Primitive("bool"), 1, "a bool is wanted, not int 1"),
        (Primitive("f64"), "1", "a float is wanted for f64, not str"),
        (Primitive("f32"), 1e300, "1e+300 is out of range for f32"),
        (Primitive("char"), "ab", "a str of one character is wanted"),
        (Primitive("char"), "\ud800", "the surrogate U+D800"),
        (STRING, "a\udfff", "character 1 is the surrogate U+DFFF"),
        (STRING, b"a", "a str is wanted, not bytes"),
        (BYTES, "a", "bytes are wanted, not str"),
        (BYTES, 5, "bytes are wanted, not int 5"),
        (TupleType((U32, U32)), (1,), "a tuple of 2 is wanted"),
        (Enum(("red", "green")), "gren", "'gren' is not a case of the enum; did you mean 'green'?"),
        (Flags(("read", "write")), {"raed"}, "did you mean 'read'?"),
        (Option(Option(U32)), 3, r"Some(...) or None is wanted"),
        (ResultType(U32, STRING), 3, "Ok(...) or Err(...) is wanted, not int 3"),
        (ResultType(U32, STRING), Err(3), "err: a str is wanted, not int 3"),
        (VariantType((Case("other", STRING),)), Variant("oter", "x"), "did you mean 'other'?"),
        (VariantType((Case("none"),)), Variant("none", 1), "none: this case has no payload"),
        (ResultType(None, None), Ok(1), "ok: this case has no payload, so int 1 would be lost"),
        (NESTED, {"items": [(1, "a"), (2, 3)], "mode": "on"}, "items[1][1]: a str is wanted, not int 3"),
        (NESTED, {"itmes": [], "mode": "on"}, "field 'items' is missing; did you mean 'itmes'?"),
        (NESTED, [], "a dict is wanted, not list"),
    ],
)
@pytest.mark.parametrize("flat", [True, False])
def test_what_does_not_fit_is_named_by_its_path(type_: ValueType, value: Any, text: str, flat: bool) -> None:
    with pytest.raises(ValueMismatch) as caught:
        writer(type_, NO_KINDS, flat=flat)(value, 0, None)
    assert text in str(caught.value)


@settings(max_examples=150, deadline=None)
@given(typed_values(4), typed_values(4))
def test_a_value_of_another_type_is_written_right_or_refused(
    one: tuple[ValueType, Any], other: tuple[ValueType, Any]
) -> None:
    type_, value = one[0], other[1]
    for flat in (True, False):
        try:
            block = writer(type_, NO_KINDS, flat=flat)(value, 0, None)
        except ValueMismatch:
            continue
        assert block


def test_nothing_is_wanted_where_there_is_no_result() -> None:
    assert len(writer(None, NO_KINDS, flat=True)(None, 0, None)) == HEADER
    with pytest.raises(ValueMismatch, match="no value is wanted here"):
        writer(None, NO_KINDS, flat=True)(1, 0, None)


def test_nested_options_keep_their_levels() -> None:
    type_ = Option(Option(U32))
    for value in (None, Some(None), Some(7)):
        assert through_memory(type_, value, 0) == value
