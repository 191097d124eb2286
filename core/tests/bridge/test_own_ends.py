"""A guest that hands streams and futures that the host has made straight back to it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import anyio
import pytest
from wasmplex.engine import Engine, EngineSettings
from wasmplex.engine.text import assemble

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
