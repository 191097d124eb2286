"""Calls of functions of any type, from core values to core values, as a guest makes them."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from random import Random
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from wasmplex.bridge.layout import size
from wasmplex.engine import Engine, EngineSettings
from wasmplex.engine.bounds import NUMBERS, VALUES
from wasmplex.errors import LimitExceeded, Trap
from wasmplex.values import Err, Ok
from wasmplex.wit.mismatch import mismatch
from wasmplex.wit.types import (
    Case,
    FuncType,
    ListType,
    Option,
    Param,
    Primitive,
    ResultType,
    TupleType,
    ValueType,
    VariantType,
)

from .echo import running
from .lowered import HEAP, TOP, Lowered, guest, signature
from .witvalues import types, values

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("transport")]

# Shrinking would compile hundreds of components; the failing types are small enough as they are.
PHASES = (Phase.explicit, Phase.reuse, Phase.generate)
EXAMPLES = int(os.environ.get("WASMPLEX_EXAMPLES", "6"))
U8S = ListType(Primitive("u8"))


class Host:
    """Serves functions: notes what it is given, and gives back what it was told to."""

    def __init__(self) -> None:
        self.given: list[tuple[Any, ...]] = []
        self.result: Any = None
        self.fallible = False

    def answer(self, *args: Any) -> Any:
        self.given.append(args)
        if self.fallible and isinstance(self.result, Err):
            raise self.result
        return self.result.value if self.fallible else self.result

    async def at_once(self, *args: Any) -> Any:
        return self.answer(*args)

    async def later(self, *args: Any) -> Any:
        await asyncio.sleep(0)
        return self.answer(*args)


@asynccontextmanager
async def calling(
    functions: dict[str, FuncType], serve: Callable[..., Any], *, asynchronously: bool = False
) -> AsyncIterator[Lowered]:
    wasm = guest(functions, asynchronously=asynchronously)
    async with (
        Engine(EngineSettings(use_cache=False)) as engine,
        running(engine, wasm, {"in": dict.fromkeys(functions, serve)}) as instance,
    ):
        yield Lowered(instance, functions, asynchronously=asynchronously)


@st.composite
def functions(draw: st.DrawFn) -> tuple[FuncType, list[tuple[list[Any], Any]]]:
    """A function's type, and calls of it: arguments and result."""
    params = draw(st.lists(types(3) | st.just(U8S), max_size=4))
    result = draw(st.none() | types(4) | st.tuples(types(3), types(2)).map(lambda p: ResultType(*p)))
    one = values(result) if result else st.none()
    calls = draw(st.lists(st.tuples(st.tuples(*map(values, params)), one), min_size=1, max_size=3))
    type_ = FuncType(tuple(Param(f"p{n}", t) for n, t in enumerate(params)), result)
    return type_, [(list(args), result) for args, result in calls]


Made = list[tuple[FuncType, list[tuple[list[Any], Any]]]]
MADE = st.lists(functions(), min_size=5, max_size=5)


async def check(how: str, made: Made, *, asynchronously: bool = False) -> None:
    host, all_ = Host(), {f"f{number}": type_ for number, (type_, _) in enumerate(made)}
    async with calling(all_, getattr(host, how), asynchronously=asynchronously) as guest_:
        for number, (type_, calls) in enumerate(made):
            host.fallible = isinstance(type_.result, ResultType)
            for args, result in calls:
                host.result = result
                assert await guest_.call(f"f{number}", *args) == result, type_
                assert host.given.pop() == tuple(args), type_


@pytest.mark.parametrize("how", ["answer", "at_once", "later"])
@settings(max_examples=EXAMPLES, deadline=None, phases=PHASES)
@given(MADE)
async def test_any_function(how: str, made: Made) -> None:
    await check(how, made)


@pytest.mark.parametrize("how", ["at_once", "later"])
@settings(max_examples=EXAMPLES, deadline=None, phases=PHASES)
@given(MADE)
async def test_any_asynchronous_function(how: str, made: Made) -> None:
    async_ = [(replace(type_, is_async=True), calls) for type_, calls in made]
    await check(how, async_, asynchronously=True)


async def test_exports_without_a_result_take_bytes_of_any_size() -> None:
    async with calling({}, Host().answer) as guest_:
        for size in range(20):
            await guest_.instance.call("poke", 65_536, bytes(size))


SERVING = pytest.mark.parametrize("how", ["answer", "later"])
U64 = Primitive("u64")


async def returns(type_: FuncType, how: str, args: list[Any], results: list[Any]) -> None:
    """Check that a function is given what the guest gives it, and the guest each of some results."""
    host = Host()
    host.fallible = isinstance(type_.result, ResultType)
    async with calling({"f": type_}, getattr(host, how)) as guest_:
        for host.result in results:
            assert await guest_.call("f", *args) == host.result
            assert host.given.pop() == tuple(args)


@SERVING
async def test_bytes_of_odd_length_may_come_before_others(how: str) -> None:
    type_ = FuncType((), TupleType((U8S, ListType(U8S), Primitive("string"))))
    await returns(type_, how, [], [(b"a", [b"b", b"c", b"def"], "\xe9"), (b"", [], ""), (b"a", [b""], "")])


@SERVING
async def test_one_parameter_without_pointers_may_be_too_many_values(how: str) -> None:
    many = TupleType((U64,) * 17)
    await returns(FuncType((Param("p", many),), U8S), how, [tuple(range(17))], [b"abc"])


@SERVING
@pytest.mark.parametrize("count", [61, 62, 509, 4500])
async def test_results_without_pointers_may_be_large(how: str, count: int) -> None:
    row = TupleType((U64,) * 500)
    whole, rest = divmod(count, 500)
    many = TupleType((*(row,) * whole, *(U64,) * rest))
    value = (*(tuple(range(500)),) * whole, *range(rest))
    small = FuncType((Param("p", U8S),), ResultType(many, Primitive("string")))
    await returns(small, how, [b"x"], [Ok(value), Err("no"), Ok(value)])


@SERVING
@pytest.mark.parametrize("size", [58_000, 61_440, 65_536])
async def test_results_with_a_large_other_case_stay_within_the_memory(how: str, size: int) -> None:
    type_ = FuncType((Param("p", U8S),), ResultType(U8S, TupleType((U64,) * 900)))
    filled = bytes(65_536)  # what is free behind these is what every answer may have
    await returns(type_, how, [filled], [Ok(bytes(size)), Ok(b"")])


STRING = Primitive("string")
WILD = [
    0,
    1,
    63,
    64,
    65,
    0xD800,
    HEAP,
    HEAP + 1,
    TOP - 64,
    TOP - 63,
    TOP,
    1 << 31,
    (1 << 31) + 64,
    0xFFFF_FFFF,
]
POINTING: list[ValueType] = [
    U8S,
    STRING,
    Option(U8S),
    ListType(STRING),
    ResultType(STRING, U8S),
    TupleType((U8S, Primitive("char"), U8S)),
    VariantType((Case("a", U8S), Case("b", U64), Case("c", STRING), Case("d", Primitive("f32")))),
]


async def until_refused(guest_: Lowered, wild: Random) -> str:
    """Call with random core values; return why the guest trapped, nothing if it did not."""
    count = len(signature(guest_.functions["f"])[0])
    try:
        for _ in range(30):
            await guest_.raw("f", [wild.choice(WILD).to_bytes(4, "little") for _ in range(count)])
    except Trap as trap:
        return str(trap)
    return ""


@settings(max_examples=12, deadline=None, phases=PHASES)
@given(st.lists(st.sampled_from(POINTING), min_size=1, max_size=9), st.integers(0, 1 << 30).map(Random))
async def test_wild_pointers_are_refused_or_point_at_values(params: list[ValueType], wild: Random) -> None:
    function = FuncType((*(Param(f"p{n}", t) for n, t in enumerate(params)), Param("last", U8S)), None)
    host, memory = Host(), b"".join(wild.choice(WILD).to_bytes(4, "little") for _ in range(1000))
    async with calling({"f": function}, host.answer) as guest_:
        await guest_.instance.call("poke", HEAP, memory)
        trap = await until_refused(guest_, wild)
    assert "host function" not in trap
    for args in host.given:
        for param, value in zip(function.params, args, strict=True):
            assert mismatch(param.type, value) is None


@SERVING
@pytest.mark.parametrize(
    ("element", "most"),
    [
        (Primitive("bool"), NUMBERS),
        (Primitive("u16"), NUMBERS),
        (STRING, VALUES),
        (TupleType((U64,)), VALUES),
    ],
)
async def test_lists_of_too_many_values_are_refused(element: ValueType, most: int, how: str) -> None:
    """Each would be an object of the host's, and others wait while they are made."""
    host, type_ = Host(), FuncType((Param("p", ListType(element)), Param("b", U8S)), None)
    async with calling({"f": type_}, getattr(host, how)) as guest_:
        await guest_.instance.call("poke", HEAP, bytes((most + 1) * size(element)))
        for count in (most, most + 1):
            slots = [word.to_bytes(4, "little") for word in (HEAP, count, HEAP, 3)]
            if count == most:
                await guest_.raw("f", slots)
                continue
            with pytest.raises(LimitExceeded, match=f"{count} values"):
                await guest_.raw("f", slots)
    assert [len(items) for items, _ in host.given] == [most]
