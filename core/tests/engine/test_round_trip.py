"""Values of random types go host -> guest -> host -> guest -> host and come back as they were."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from wasmplex.component import read
from wasmplex.engine import Engine, EngineSettings, Linked
from wasmplex.engine.bounds import BYTES, NUMBERS, VALUES
from wasmplex.errors import LimitExceeded
from wasmplex.values import Err, Ok, Some, Variant
from wasmplex.wit.types import (
    Case,
    Enum,
    Field,
    ListType,
    Option,
    Primitive,
    Record,
    ResultType,
    TupleType,
    ValueType,
    VariantType,
)
from wasmtime import wat2wasm

from .identity import identity_guest
from .wittypes import PRIMITIVES, same, types, values

ENGINE = Engine(EngineSettings(use_cache=False, proposals={"component-model-map": True}))


async def linked(type: ValueType, echo: Any, *, whole: bool) -> Linked:
    wasm = bytes(wat2wasm(identity_guest(type, whole=whole)))
    return ENGINE.link(await ENGINE.compile(wasm, read(wasm)), {"t:t/t": {"echo": echo}}, "echo")


class Echo:
    """Serves ``echo``; keeps what the guest passed."""

    def __init__(self, type: ValueType) -> None:
        self.type = type
        self.seen: Any = None

    def answer(self, x: Any) -> Any:
        self.seen = x
        if not isinstance(self.type, ResultType):
            return x
        if isinstance(x, Err):  # nested in a parameter it is a value, as result of a function it is raised
            raise x
        return x.value

    async def later(self, x: Any) -> Any:
        await asyncio.sleep(0)
        return self.answer(x)


async def call(instance: Any, value: Any, *, fallible: bool = False) -> Any:
    """Call ``echo``; return a function's result as the value it would be elsewhere.

    :param fallible: whether the function returns a ``result``
    """
    try:
        back = await instance.call("echo", value)
    except Err as err:
        return err
    return Ok(back) if fallible else back


async def check(type: ValueType, samples: list[Any], *, whole: bool, suspend: bool) -> None:
    echo = Echo(type if whole else ListType(type))
    instance = await (await linked(type, echo.later if suspend else echo.answer, whole=whole)).instantiate()
    try:
        for sample in samples:
            back = await call(instance, sample, fallible=whole and isinstance(type, ResultType))
            assert same(echo.seen, sample), f"the host saw {echo.seen!r}, not {sample!r}"
            assert same(back, sample), f"{back!r} came back, not {sample!r}"
    finally:
        instance.close()


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(st.data(), types(), st.booleans())
def test_any_value_comes_back(data: st.DataObject, type: ValueType, suspend: bool) -> None:
    samples = data.draw(st.lists(values(type), min_size=1, max_size=5))
    asyncio.run(check(type, samples, whole=True, suspend=suspend))


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(st.data(), types(), st.booleans())
def test_any_list_comes_back(data: st.DataObject, type: ValueType, suspend: bool) -> None:
    samples = data.draw(st.lists(values(ListType(type)), min_size=1, max_size=3))
    asyncio.run(check(type, samples, whole=False, suspend=suspend))


@settings(max_examples=60)
@given(st.data(), PRIMITIVES, st.integers(0, 4))
def test_plain_results_come_back(data: st.DataObject, leaf: Primitive, shape: int) -> None:
    """The shapes of results that are written without an arena."""
    inner: ValueType = leaf if shape % 2 else ListType(leaf)
    wrapped = (
        inner,
        Option(inner),
        ResultType(inner, leaf),
        ResultType(Option(inner), None),
        ResultType(None, inner),
    )[shape]
    samples = data.draw(st.lists(values(wrapped), min_size=1, max_size=4))
    asyncio.run(check(wrapped, samples, whole=True, suspend=False))


def nested(wrap: Any, depth: int) -> ValueType:
    return wrap(nested(wrap, depth - 1)) if depth else Primitive("u32")


@pytest.mark.parametrize("suspend", [False, True])
def test_deeply_nested_types(suspend: bool) -> None:
    some: Any = 7
    for _ in range(29):
        some = Some(some)
    lists: Any = 7
    for _ in range(30):
        lists = [lists]
    tuples: Any = 7
    for _ in range(30):
        tuples = (tuples,)
    for wrap, value in ((Option, some), (ListType, lists), (lambda t: TupleType((t,)), tuples)):
        asyncio.run(check(nested(wrap, 30), [value], whole=True, suspend=suspend))


def test_wide_types() -> None:
    fields = tuple(Field(f"f{i}", Primitive("u32")) for i in range(200))
    cases = tuple(Case(f"c{i}", Record(fields) if i % 2 else None) for i in range(30))
    value = {field.name: i for i, field in enumerate(fields)}
    asyncio.run(check(Record(fields), [value], whole=True, suspend=False))
    samples = [[Variant("c0"), Variant("c29", value), Variant("c20")]]
    asyncio.run(check(VariantType(cases), samples, whole=False, suspend=False))


@pytest.mark.parametrize(
    ("type", "many"),
    [
        (Primitive("u8"), bytes(BYTES + 1)),
        (Primitive("bool"), [True] * (VALUES + 1)),
        (Enum(("a",)), ["a"] * (VALUES + 1)),
        (Primitive("f64"), [0.5] * (NUMBERS + 1)),
    ],
)
def test_lists_of_too_many_values_are_refused(type: ValueType, many: Any) -> None:
    with pytest.raises(LimitExceeded, match=str(len(many))):
        asyncio.run(check(type, [many], whole=False, suspend=False))


@pytest.mark.parametrize("size", [0, 1, 4096, 16384, 16385, 40000, BYTES])
def test_long_lists_come_back(size: int) -> None:
    data = bytes(i * 7 & 0xFF for i in range(size))
    asyncio.run(check(Primitive("u8"), [data], whole=False, suspend=False))
    numbers = [i * 2654435761 & 0xFFFFFFFF for i in range(size)]
    asyncio.run(check(Primitive("u32"), [numbers], whole=False, suspend=True))
    asyncio.run(check(Primitive("string"), [[str(n) for n in numbers[:5000]]], whole=False, suspend=False))
