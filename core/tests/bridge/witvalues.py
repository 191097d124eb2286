"""Hypothesis strategies: random WIT types, and values that fit them."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from wasmplex.values import Err, Ok, Some, Variant
from wasmplex.wit.types import (
    Case,
    Enum,
    Field,
    Flags,
    ListType,
    Option,
    Primitive,
    Record,
    ResultType,
    TupleType,
    ValueType,
    VariantType,
)

RANGES = {"s8": (-(2**7), 2**7 - 1), "u8": (0, 2**8 - 1), "s16": (-(2**15), 2**15 - 1), "u16": (0, 2**16 - 1),
          "s32": (-(2**31), 2**31 - 1), "u32": (0, 2**32 - 1), "s64": (-(2**63), 2**63 - 1),
          "u64": (0, 2**64 - 1)}  # fmt: skip
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
LABELS = [f"{c}{n}" for c in "abcdefgh" for n in range(10)]


def primitives() -> st.SearchStrategy[ValueType]:
    return st.sampled_from([*RANGES, "bool", "f32", "f64", "char", "string"]).map(lambda n: Primitive(n))  # type: ignore[arg-type]


def _names(least: int, most: int) -> st.SearchStrategy[tuple[str, ...]]:
    return st.integers(least, most).map(lambda n: tuple(LABELS[:n]))


def types(leaves: int = 8) -> st.SearchStrategy[ValueType]:
    base = (
        primitives() | _names(1, 9).map(Enum) | _names(1, 32).map(Flags) | st.just(ListType(Primitive("u8")))
    )
    return st.recursive(base, _compound, max_leaves=leaves)


def _compound(inner: st.SearchStrategy[ValueType]) -> st.SearchStrategy[ValueType]:
    maybe = st.none() | inner
    return (
        inner.map(ListType)
        | inner.map(Option)
        | st.tuples(maybe, maybe).map(lambda p: ResultType(*p))
        | st.lists(inner, min_size=1, max_size=4).map(lambda e: TupleType(tuple(e)))
        | st.lists(inner, min_size=1, max_size=4).map(
            lambda e: Record(tuple(Field(n, t) for n, t in zip(LABELS, e, strict=False)))
        )
        | st.lists(maybe, min_size=1, max_size=5).map(
            lambda e: VariantType(tuple(Case(n, t) for n, t in zip(LABELS, e, strict=False)))
        )
    )


def values(type_: ValueType) -> st.SearchStrategy[Any]:  # noqa: C901  one case a type
    """Values of the type that come back equal; NaN is left to tests of its own."""
    match type_:
        case Primitive(name) if name in RANGES:
            low, high = RANGES[name]
            return st.sampled_from([low, high, 0]) | st.integers(low, high)
        case Primitive("bool"):
            return st.booleans()
        case Primitive("f32"):
            return st.floats(width=32, allow_nan=False)
        case Primitive("f64"):
            return st.floats(allow_nan=False)
        case Primitive("char"):
            return st.characters(exclude_categories=["Cs"])
        case Primitive("string"):
            return TEXT
        case Enum(names):
            return st.sampled_from(names)
        case Flags(names):
            return st.frozensets(st.sampled_from(names))
        case ListType(Primitive("u8")):
            return st.binary(max_size=40)
        case ListType(element):
            return st.lists(values(element), max_size=4)
        case Option(element):
            some = values(element)
            return st.none() | (some.map(Some) if isinstance(element, Option) else some)
        case ResultType(ok, err):
            return _payload(ok).map(Ok) | _payload(err).map(Err)
        case TupleType(elements):
            return st.tuples(*(values(element) for element in elements))
        case Record(fields):
            return st.fixed_dictionaries({field.name: values(field.type) for field in fields})
        case VariantType(cases):
            return st.one_of(
                [_payload(case.type).map(lambda v, tag=case.name: Variant(tag, v)) for case in cases]  # type: ignore[misc]
            )
    raise AssertionError(type_)


def _payload(type_: ValueType | None) -> st.SearchStrategy[Any]:
    return st.none() if type_ is None else values(type_)


@st.composite
def typed_values(draw: st.DrawFn, leaves: int = 8) -> tuple[ValueType, Any]:
    type_ = draw(types(leaves))
    return type_, draw(values(type_))
