"""A guest that hands streams and futures that the host has made straight back to it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import anyio
import pytest
from wasmplex.engine import Engine, EngineSettings
from wasmplex.engine.text import assemble
from wasmplex.errors import Trap

from .echo import running

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("transport")]


class Thing:
    """A resource of the host."""

    dropped = 0

    def drop(self) -> None:
        self.dropped += 1


THING = Thing()
HELD = {"thing": THING, "n": 7}
PAYLOADS: dict[str, tuple[str, list[Any]]] = {
    "u32": ("u32", [7, 8]),
    "u8": ("u8", [7, 8]),
    "string": ("string", ["hello", "x" * 5000]),
    "octets": ("$octets", [b"hello", b"x" * 5000]),
    "record": ("$held", [HELD]),
}
WRAPS: dict[str, Callable[[Any], Any]] = {
    "bare": lambda end: end,
    "record": lambda end: {"end": end, "n": 1},
    "list": lambda end: [end],
}


def guest(payload: str, word: str, wrap: str) -> bytes:
    """Return a guest that makes one and takes it, as it is or inside of something."""
    end = f"({word} {payload})"
    wrapped = {
        "bare": f"(type $w {end})",
        "record": f"""(type $end {end}) (type $w0 (record (field "end" $end) (field "n" u32)))
          (export "wrapped" (type $w (eq $w0)))""",
        "list": f"(type $end {end}) (type $w (list $end))",
    }[wrap]
    made, taken = {
        "bare": ("(result i32)", "(param i32)"),
        "record": ("(param i32)", "(param i32 i32)"),
        "list": ("(param i32)", "(param i32 i32)"),
    }[wrap]
    call = (
        "(call $take (call $make))"
        if wrap == "bare"
        else """(call $make (i32.const 16))
      (call $take (i32.load (i32.const 16)) (i32.load (i32.const 20)))"""
    )
    return assemble(f"""(component
      (import "t:t/api" (instance $h
        (export "thing" (type $thing (sub resource)))
        (type $octets (list u8))
        (type $owned (own $thing))
        (type $held0 (record (field "thing" $owned) (field "n" u32)))
        (export "held" (type $held (eq $held0)))
        {wrapped}
        (export "make" (func (result $w)))
        (export "take" (func async (param "v" $w) (result u32)))))
      (core module $Memory (memory (export "memory") 1)
        (global $top (mut i32) (i32.const 1024))
        (func (export "realloc") (param i32 i32 i32 i32) (result i32)
          (global.set $top (i32.and (i32.add (global.get $top) (i32.const 15)) (i32.const -16)))
          (global.get $top)
          (global.set $top (i32.add (global.get $top) (local.get 3)))))
      (core instance $memory (instantiate $Memory))
      (alias core export $memory "memory" (core memory $mem))
      (alias core export $memory "realloc" (core func $realloc))
      (core func $make (canon lower (func $h "make") (memory $mem) (realloc $realloc)))
      (core func $take (canon lower (func $h "take") (memory $mem)))
      (core module $C
        (import "m" "memory" (memory 1))
        (import "h" "make" (func $make {made}))
        (import "h" "take" (func $take {taken} (result i32)))
        (func (export "run") (result i32) {call}))
      (core instance $c (instantiate $C (with "m" (instance $memory)) (with "h" (instance
        (export "make" (func $make)) (export "take" (func $take))))))
      (func (export "run") async (result u32) (canon lift (core func $c "run"))))""")


@pytest.mark.parametrize("wrap", WRAPS)
@pytest.mark.parametrize("word", ["future", "stream"])
@pytest.mark.parametrize("payload", PAYLOADS)
async def test_what_the_host_has_made_comes_home(payload: str, word: str, wrap: str) -> None:
    type_, values = PAYLOADS[payload]
    got: list[Any] = []

    async def later() -> Any:
        await asyncio.sleep(0.001)
        return values[0]

    async def one_by_one() -> AsyncIterator[Any]:
        for value in values:
            await asyncio.sleep(0)
            yield bytes([value]) if payload == "u8" else [value]

    def make() -> Any:
        return WRAPS[wrap](later() if word == "future" else one_by_one())

    async def take(value: Any) -> int:
        end = value["end"] if wrap == "record" else value[0] if wrap == "list" else value
        if word == "future":
            got.append(await as_awaitable(end))
        else:
            got.extend([one async for chunk in end for one in chunk])
        return len(got)

    functions: dict[str, Callable[..., Any]] = {"make": make, "take": take}
    wanted = values[:1] if word == "future" else values
    async with (
        Engine(EngineSettings(use_cache=False)) as engine,
        running(engine, guest(type_, word, wrap), {"t:t/api": functions}) as instance,
    ):
        for _ in range(2):
            got.clear()
            with anyio.fail_after(10):
                assert await instance.call("run") == len(wanted)
            assert got == wanted
            assert len(instance.objects) == 0
        assert not instance.poisoned
    assert THING.dropped == 0


async def as_awaitable(end: Awaitable[Any]) -> Any:
    return await end


ROOT = """(component
 (core module $D (func (export "d") (param i32)))
 (core instance $d (instantiate $D))
 (type $mine0 (resource (rep i32) (dtor (core func $d "d"))))
 (core func $new (canon resource.new $mine0))
 (core module $M (import "h" "new" (func $new (param i32) (result i32)))
  (func (export "make") (param i32) (result i32) (call $new (local.get 0)))
  (func (export "number") (param i32) (result i32) (local.get 0))
  (func (export "same") (param i32) (result i32) (local.get 0)))
 (core instance $m (instantiate $M (with "h" (instance (export "new" (func $new))))))
 (export $mine "mine" (type $mine0))
 (type $ends (WORD (own $mine)))
 (type $owned (own $mine))
 (type $lent (borrow $mine))
 (func (export "[constructor]mine") (param "n" u32) (result $owned) (canon lift (core func $m "make")))
 (func (export "[method]mine.number") (param "self" $lent) (result u32) (canon lift (core func $m "number")))
 (func (export "[static]mine.same") (param "s" $ends) (result $ends) (canon lift (core func $m "same"))))"""
"""A guest whose root exports a resource, with functions of it that stand there as well."""


async def test_what_a_resource_of_the_root_can_do_is_exported_with_it() -> None:
    async with (
        Engine(EngineSettings(use_cache=False)) as engine,
        running(engine, assemble(ROOT.replace("WORD", "stream")), {}) as instance,
    ):
        mine = await instance.call("[constructor]mine", 5)
        assert await instance.call("[method]mine.number", mine) == 5


@pytest.mark.parametrize("word", ["stream", "future"])
async def test_a_guest_that_returns_streams_of_its_own_resources_unread_is_told_what_to_do(word: str) -> None:
    async def chunks(mine: Any) -> AsyncIterator[Any]:
        yield [mine]

    async with (
        Engine(EngineSettings(use_cache=False)) as engine,
        running(engine, assemble(ROOT.replace("WORD", word)), {}) as instance,
    ):
        mine = await instance.call("[constructor]mine", 5)
        given = chunks(mine) if word == "stream" else asyncio.sleep(0, mine)
        end = await instance.call("[static]mine.same", given)
        with pytest.raises(Trap, match=r"(?s)of its own resources.*have the guest read it"):
            await (end.read() if word == "stream" else as_awaitable(end))
