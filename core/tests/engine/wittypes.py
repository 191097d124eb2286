"""Hypothesis strategies: random WIT types, and values of them with what lies at the edges."""

from __future__ import annotations

import math
from typing import Any

from hypothesis import strategies as st
from wasmplex.values import Err, Ok, Some, Variant
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

INTEGERS = {
    f"{sign}{bits}": (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if sign == "s" else (0, 2**bits - 1)
    for sign in "su"
    for bits in (8, 16, 32, 64)
}
NAMES = [
    f"{letter}-{number}" if number % 3 else letter * 3 + str(number)
    for number in range(5)
    for letter in "kvwxyz"
]
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20) | st.sampled_from(
    ["\x00", "\ufffd", "\U0010ffff", "e\u0301", "\ud7ff\ue000"]
)


def primitive(name: str) -> Primitive:
    return Primitive(name)  # type: ignore[arg-type]


PRIMITIVES = st.sampled_from([*INTEGERS, "bool", "f32", "f64", "char", "string"]).map(primitive)
KEYS = st.sampled_from([*INTEGERS, "bool", "char", "string"]).map(primitive)


def names(least: int, most: int) -> st.SearchStrategy[tuple[str, ...]]:
    return st.lists(st.sampled_from(NAMES), min_size=least, max_size=most, unique=True).map(tuple)


def types(leaves: int = 10) -> st.SearchStrategy[ValueType]:
    leaf = PRIMITIVES | names(1, 20).map(Enum) | names(1, 20).map(Flags) | PRIMITIVES.map(ListType)
    return st.recursive(leaf, _compound, max_leaves=leaves)


def _compound(inner: st.SearchStrategy[ValueType]) -> st.SearchStrategy[ValueType]:
    optional = st.none() | inner
    return st.one_of(
        inner.map(ListType),
        inner.map(Option),
        st.builds(MapType, KEYS, inner),
        st.builds(ResultType, optional, optional),
        st.lists(inner, min_size=1, max_size=5).map(lambda parts: TupleType(tuple(parts))),
        _named(inner, 5).map(lambda pairs: Record(tuple(Field(*pair) for pair in pairs))),
        _named(optional, 8).map(lambda pairs: VariantType(tuple(Case(*pair) for pair in pairs))),
    )


@st.composite
def _named(draw: st.DrawFn, inner: st.SearchStrategy[Any], most: int) -> list[tuple[str, Any]]:
    return [(name, draw(inner)) for name in draw(names(1, most))]


def values(type: ValueType) -> st.SearchStrategy[Any]:
    match type:
        case Primitive(name):
            return _primitives(name)
        case Enum(cases):
            return st.sampled_from(cases)
        case Flags(flags):
            return st.frozensets(st.sampled_from(flags))
        case ListType(Primitive("u8")):
            return st.binary(max_size=100)
        case ListType(element):
            return st.lists(values(element), max_size=5)
        case MapType(key, value):
            return st.dictionaries(values(key), values(value), max_size=4)
        case Option(element):
            some = values(element)
            return st.none() | (some.map(Some) if isinstance(element, Option) else some)
        case ResultType(ok, err):
            return payloads(ok).map(Ok) | payloads(err).map(Err)
        case TupleType(elements):
            return st.tuples(*map(values, elements))
        case Record(fields):
            return st.fixed_dictionaries({field.name: values(field.type) for field in fields})
        case VariantType(cases):
            return st.one_of([st.builds(Variant, st.just(case.name), payloads(case.type)) for case in cases])
    raise AssertionError(type)


def payloads(type: ValueType | None) -> st.SearchStrategy[Any]:
    return st.none() if type is None else values(type)


def _primitives(name: str) -> st.SearchStrategy[Any]:
    if name in INTEGERS:
        low, high = INTEGERS[name]
        return st.sampled_from([low, high, 0, 1]) | st.integers(low, high)
    simple = {
        "bool": st.booleans(),
        "f32": st.floats(width=32) | st.sampled_from([0.0, -0.0, math.inf, -math.inf]),
        "f64": st.floats() | st.sampled_from([0.0, -0.0, 5e-324, math.inf]),
        "char": st.characters(exclude_categories=["Cs"]) | st.sampled_from("\x00\ud7ff\ue000\U0010ffff"),
    }
    return simple.get(name, TEXT)


def same(left: Any, right: Any) -> bool:
    """Tell whether two values are one: as ``==``, but NaN is NaN, -0.0 not 0.0, and classes must agree."""
    if left.__class__ is not right.__class__:
        return False
    if isinstance(left, float):
        if math.isnan(left) or math.isnan(right):
            return math.isnan(left) and math.isnan(right)
        return left == right and math.copysign(1, left) == math.copysign(1, right)
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    if isinstance(left, (list, tuple)):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, Err):
        return same(left.value, right.value)
    return bool(left == right)
