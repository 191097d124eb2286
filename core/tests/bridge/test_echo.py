"""Values of any type, through a guest that gives back what it is given: the whole bridge, both ways."""

from __future__ import annotations

import asyncio
from typing import Any

import anyio
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from wasmplex.bridge.transport import CALL_MARKS
from wasmplex.engine import Engine, EngineSettings
from wasmplex.engine.text import assemble
from wasmplex.errors import Trap
from wasmplex.wit.types import ListType, Option, Primitive, ResultType, TupleType, ValueType

from .echo import echo, running
from .witvalues import typed_values, values

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("transport")]

# Shrinking would compile hundreds of components; the failing types are small enough as they are.
PHASES = (Phase.explicit, Phase.reuse, Phase.generate)
TEN = st.lists(typed_values(), min_size=10, max_size=10)


async def check(pairs: list[tuple[ValueType, Any]], serve: Any, *, asynchronous: bool) -> None:
    seen: list[Any] = []

    def served(value: Any) -> Any:
        seen.append(value)
        return value

    functions = {f"f{n}": serve(served) for n in range(len(pairs))}
    wasm = echo(*(type_ for type_, _ in pairs), asynchronous=asynchronous)
    async with (
        Engine(EngineSettings(use_cache=False)) as engine,
        running(engine, wasm, {"in": functions}) as instance,
    ):
        for number, (type_, value) in enumerate(pairs):
            if isinstance(type_, ResultType):
                continue  # the echo would have to raise; results inside other types are carried below
            with anyio.fail_after(10):
                assert await instance.call(f"out#f{number}", value) == value
            assert seen.pop() == value


def plainly(served: Any) -> Any:
    return served


def at_once(served: Any) -> Any:
    async def serve(value: Any) -> Any:
        return served(value)

    return serve


def after_waiting(served: Any) -> Any:
    async def serve(value: Any) -> Any:
        await asyncio.sleep(0)
        return served(value)

    return serve


@settings(max_examples=12, deadline=None, phases=PHASES)
@given(TEN)
async def test_synchronous_functions_carry_any_type(pairs: list[tuple[ValueType, Any]]) -> None:
    await check(pairs, plainly, asynchronous=False)


@settings(max_examples=6, deadline=None, phases=PHASES)
@given(TEN)
async def test_synchronous_functions_may_wait(pairs: list[tuple[ValueType, Any]]) -> None:
    await check(pairs, after_waiting, asynchronous=False)


@settings(max_examples=12, deadline=None, phases=PHASES)
@given(TEN, st.sampled_from([at_once, after_waiting]))
async def test_asynchronous_functions_carry_any_type(pairs: list[tuple[ValueType, Any]], serve: Any) -> None:
    await check(pairs, serve, asynchronous=True)


U8S = ListType(Primitive("u8"))


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("size", [0, 1, 255, 65_535, 65_536, 1 << 20])
async def test_bytes_of_any_size_and_value(size: int, asynchronous: bool) -> None:
    data = bytes(range(256)) * (size // 256) + bytes(size % 256)
    await check([(Option(U8S), data)], at_once if asynchronous else plainly, asynchronous=asynchronous)


async def test_more_values_than_go_flat_pass_in_memory() -> None:
    type_ = TupleType(tuple(Primitive(n) for n in ("u8", "f32", "string", "u64", "f64") * 5))
    value = (1, 0.5, "é", 2**64 - 1, 1e300) * 5
    await check([(type_, value)], plainly, asynchronous=False)
    await check([(type_, value)], after_waiting, asynchronous=True)


@settings(max_examples=6, deadline=None, phases=PHASES)
@given(typed_values(4).filter(lambda p: not isinstance(p[0], ResultType)), st.data())
async def test_calls_leave_nothing_behind_for_the_next(
    pair: tuple[ValueType, Any], data: st.DataObject
) -> None:
    type_, _ = pair
    more = data.draw(st.lists(values(type_), min_size=3, max_size=6))
    async with (
        Engine(EngineSettings(use_cache=False)) as engine,
        running(engine, echo(type_), {"in": {"f0": lambda v: v}}) as instance,
    ):
        for value in more:
            assert await instance.call("out#f0", value) == value


MARKED = """(component
  (import "in" (instance $in (export "f" (func (param "b" (list u8)) (result (list u8))))))
  (core module $L (memory (export "memory") 2 LIMIT)
    (global $top (mut i32) (i32.const 1024))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32)
      (global.get $top) (global.set $top (i32.add (global.get $top) (local.get 3)))))
  (core instance $l (instantiate $L))
  (alias core export $l "memory" (core memory $mem))
  (alias core export $l "realloc" (core func $realloc))
  (core func $f (canon lower (func $in "f") (memory $mem) (realloc $realloc)))
  (core module $M (import "h" "f" (func $f (param i32 i32 i32)))
    (func (export "g") (param i32 i32) (result i32)
      (call $f (local.get 0) (local.get 1) (i32.const 16)) (i32.const 16)))
  (core instance $m (instantiate $M (with "h" (instance (export "f" (func $f))))))
  (func (export "g") (param "b" (list u8)) (result (list u8))
    (canon lift (core func $m "g") (memory $mem) (realloc $realloc))))"""
"""A guest that reverses bytes by an import, and whose memory declares a limit."""


@pytest.mark.parametrize("limit", [pages for m in CALL_MARKS.values() for pages in (m.calls, m.buffers)])
async def test_a_guest_may_declare_the_limits_by_which_adapters_memories_are_told(limit: int) -> None:
    wasm = assemble(MARKED.replace("LIMIT", str(limit)))
    async with (
        Engine(EngineSettings(use_cache=False)) as engine,
        running(engine, wasm, {"in": {"f": lambda data: data[::-1]}}) as instance,
    ):
        assert await instance.call("g", b"abc") == b"cba"


# ---------------------------------------------------------------- what fails has its own name


def raising(value: Any) -> Any:
    raise OSError("disk on fire")


async def raising_at_once(value: Any) -> Any:
    raise OSError("disk on fire")


async def raising_later(value: Any) -> Any:
    await asyncio.sleep(0)
    raise OSError("disk on fire")


@pytest.mark.parametrize(
    ("serve", "asynchronous"),
    [(raising, False), (raising_at_once, False), (raising_later, True), (raising, True)],
)
async def test_a_function_that_fails_is_named(serve: Any, asynchronous: bool) -> None:
    """By the import that it serves, whichever function of the adapter its call went through."""
    types = (Primitive("u32"), TupleType((Primitive("string"), Primitive("u8"))))
    wasm = echo(*types, asynchronous=asynchronous)
    functions = {f"f{number}": serve for number in range(len(types))}
    for number, value in enumerate((1, ("1", 1))):
        async with (
            Engine(EngineSettings(use_cache=False)) as engine,
            running(engine, wasm, {"in": functions}) as instance,
        ):
            with pytest.raises(Trap) as caught, anyio.fail_after(30):
                await instance.call(f"out#f{number}", value)
        assert f"host function in#f{number} failed" in caught.value.render()
