"""Calls of functions of any type, from core values to core values, as a guest makes them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from wasmplex.engine import Engine, EngineSettings
from wasmplex.values import Err, Ok
from wasmplex.wit.types import FuncType, ListType, Option, Param, Primitive, ResultType, TupleType, ValueType

from .echo import running
from .lowered import Lowered, guest
from .witvalues import types, values

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("transport")]

# Shrinking would compile hundreds of components; the failing types are small enough as they are.
PHASES = (Phase.explicit, Phase.reuse, Phase.generate)
U8S = ListType(Primitive("u8"))


class Host:
    """Serves functions: notes what it is given, and gives back what it was told to."""

    def __init__(self) -> None:
        self.given: list[tuple[Any, ...]] = []
        self.result: Any = None

    def answer(self, *args: Any) -> Any:
        self.given.append(args)
        if isinstance(self.result, Err):
            raise self.result
        return self.result.value if isinstance(self.result, Ok) else self.result

    async def at_once(self, *args: Any) -> Any:
        return self.answer(*args)

    async def later(self, *args: Any) -> Any:
        await asyncio.sleep(0)
        return self.answer(*args)


@asynccontextmanager
async def calling(functions: dict[str, FuncType], serve: Callable[..., Any]) -> AsyncIterator[Lowered]:
    async with (
        Engine(EngineSettings(use_cache=False)) as engine,
        running(engine, guest(functions), {"in": dict.fromkeys(functions, serve)}) as instance,
    ):
        yield Lowered(instance, functions)


@st.composite
def functions(draw: st.DrawFn) -> tuple[FuncType, list[tuple[list[Any], Any]]]:
    """A function's type, and calls of it: arguments and result."""
    params = draw(st.lists(types(3) | st.just(U8S), max_size=4))
    result = draw(st.none() | types(4) | st.tuples(types(3), types(2)).map(lambda p: ResultType(*p)))
    one = values(result) if result else st.none()
    calls = draw(st.lists(st.tuples(st.tuples(*map(values, params)), one), min_size=1, max_size=3))
    type_ = FuncType(tuple(Param(f"p{n}", t) for n, t in enumerate(params)), result)
    return type_, [(list(args), result) for args, result in calls]


@pytest.mark.parametrize("how", ["answer", "at_once", "later"])
@settings(max_examples=200, deadline=None, phases=PHASES)
@given(st.lists(functions(), min_size=5, max_size=5))
async def test_any_function(how: str, made: list[tuple[FuncType, list[tuple[list[Any], Any]]]]) -> None:
    host, all_ = Host(), {f"f{number}": type_ for number, (type_, _) in enumerate(made)}
    async with calling(all_, getattr(host, how)) as guest_:
        for number, (type_, calls) in enumerate(made):
            for args, result in calls:
                host.result = result
                assert await guest_.call(f"f{number}", *args) == result, type_
                assert host.given.pop() == tuple(args), type_


async def test_exports_without_a_result_take_bytes_of_any_size() -> None:
    async with calling({}, Host().answer) as guest_:
        for size in range(20):
            await guest_.instance.call("poke", 65_536, bytes(size))
