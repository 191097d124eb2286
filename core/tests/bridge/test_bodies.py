"""Calls that are given a stream of bytes each, in one crossing: what guests do with it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from wasmplex.bridge import BridgedInstance
from wasmplex.engine import Engine, EngineSettings, ticker
from wasmplex.engine.text import assemble
from wasmplex.errors import Trap
from wasmplex.values import Err
from wasmplex.wit.mismatch import ValueMismatch

from . import echo

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("uninterrupted")]

READ, DROP, KEEP, TRAP, FAIL, PART, EMPTY_READ, SPIN = range(8)
GUEST = """(component
  (core module $Memory
    (memory (export "memory") 2)
    (global $top (mut i32) (i32.const 65536))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 65536)))
  (core instance $memory (instantiate $Memory))
  (alias core export $memory "memory" (core memory $mem))
  (alias core export $memory "realloc" (core func $realloc))
  (core func $set_new (canon waitable-set.new))
  (core func $wait (canon waitable-set.wait (memory $mem)))
  (core func $join (canon waitable.join))
  (type $bytes (stream u8))
  (core func $read (canon stream.read $bytes async (memory $mem)))
  (core func $drop (canon stream.drop-readable $bytes))
  (core module $Guest
    (import "" "memory" (memory 1))
    (import "" "set-new" (func $set_new (result i32)))
    (import "" "wait" (func $wait (param i32 i32) (result i32)))
    (import "" "join" (func $join (param i32 i32)))
    (import "" "read" (func $read (param i32 i32 i32) (result i32)))
    (import "" "drop" (func $drop (param i32)))
    (global $set (mut i32) (i32.const 0))
    (func $got (param $stream i32) (param $most i32) (result i32)
      (local $code i32)
      (local.set $code (call $read (local.get $stream) (i32.const 1024) (local.get $most)))
      (if (i32.eq (local.get $code) (i32.const -1)) (then
        (call $join (local.get $stream) (global.get $set))
        (drop (call $wait (global.get $set) (i32.const 16)))
        (local.set $code (i32.load (i32.const 20)))
        (call $join (local.get $stream) (i32.const 0))))
      (local.get $code))
    ;; Return how many bytes there were, of those that were read.
    (func (export "f") (param $mode i32) (param i32 i32 i32 i32) (param $stream i32) (result i32)
      (local $code i32) (local $total i32)
      (if (i32.eqz (global.get $set)) (then (global.set $set (call $set_new))))
      (i32.store8 (i32.const 64) (i32.const 0))
      (block $read
        (br_if $read (i32.eqz (local.get $mode)))
        (if (i32.eq (local.get $mode) (i32.const 3)) (then unreachable))
        (if (i32.eq (local.get $mode) (i32.const 7)) (then
          (loop $spin (br_if $spin (i32.lt_u
            (local.tee $code (i32.add (local.get $code) (i32.const 1))) (i32.const 100000000))))
          (br $read)))
        (if (i32.eq (local.get $mode) (i32.const 6)) (then
          (drop (call $got (local.get $stream) (i32.const 0))) (br $read)))
        (if (i32.eq (local.get $mode) (i32.const 5)) (then
          (local.set $total (i32.shr_u (call $got (local.get $stream) (i32.const 10)) (i32.const 4)))))
        (if (i32.ne (local.get $mode) (i32.const 2)) (then (call $drop (local.get $stream))))
        (i32.store (i32.const 68) (local.get $total))
        (if (i32.eq (local.get $mode) (i32.const 4)) (then
          (i32.store8 (i32.const 64) (i32.const 1))
          (i32.store (i32.const 68) (i32.const 256)) (i32.store (i32.const 72) (i32.const 5))
          (i64.store (i32.const 256) (i64.const 0x6f77206576))))
        (return (i32.const 64)))
      (loop $more
        (local.set $code (call $got (local.get $stream) (i32.const 1000)))
        (local.set $total (i32.add (local.get $total) (i32.shr_u (local.get $code) (i32.const 4))))
        (br_if $more (i32.eqz (i32.and (local.get $code) (i32.const 15)))))
      (call $drop (local.get $stream))
      (i32.store (i32.const 68) (local.get $total))
      (i32.const 64)))
  (core instance $guest (instantiate $Guest (with "" (instance
    (export "memory" (memory $mem)) (export "set-new" (func $set_new)) (export "wait" (func $wait))
    (export "join" (func $join)) (export "read" (func $read)) (export "drop" (func $drop))))))
  (func (export "f") async (param "mode" u32) (param "a" string) (param "b" string) (param "body" $bytes)
    (result (result u32 (error string)))
    (canon lift (core func $guest "f") (memory $mem) (realloc $realloc))))"""


class Bodies:
    """Calls with a mode and a body each, with what came of them."""

    def __init__(self, instance: BridgedInstance) -> None:
        self.instance = instance
        self.results: list[Any] = []
        self.paused: list[int] = []

    def note(self) -> None:
        self.paused.append(len(self.results))

    async def call(self, *calls: tuple[Any, Any]) -> list[Any]:
        self.results = []
        made = [(mode, "a", "bcd", body) for mode, body in calls]
        with anyio.fail_after(20):
            await self.instance.call_each("f", made, self.results, self.note)
        return [f"err: {one.value}" if isinstance(one, Err) else one for one in self.results]


@asynccontextmanager
async def bodies(transport: str = "memory") -> AsyncIterator[Bodies]:
    echo.TRANSPORT, before = transport, echo.TRANSPORT  # type: ignore[assignment]
    try:
        async with (
            Engine(EngineSettings(use_cache=False)) as engine,
            echo.running(engine, assemble(GUEST), {}) as instance,
        ):
            yield Bodies(instance)
    finally:
        echo.TRANSPORT = before


async def test_each_call_has_its_own_bytes() -> None:
    async with bodies() as calls:
        assert calls.instance.calls_each("f")
        assert await calls.call((READ, b"abc"), (READ, b""), (READ, b"x" * 60_000), (READ, b"abcd")) == [
            3, 0, 60_000, 4
        ]  # fmt: skip
        assert await calls.call(*[(READ, bytes(number)) for number in range(200)]) == [*range(200)]
        assert await calls.instance.call("f", READ, "a", "b", b"abc") == 3
        assert not calls.instance.poisoned


async def test_a_guest_need_not_read_all_of_it() -> None:
    large = b"x" * 60_000
    async with bodies() as calls:
        every = [
            (DROP, large),
            (PART, large),
            (READ, large),
            (EMPTY_READ, b"abc"),
            (FAIL, b"a"),
            (READ, b"a"),
        ]
        assert await calls.call(*every) == [0, 10, 60_000, 3, "err: ve wo", 1]
        with pytest.raises(Err, match="ve wo"):
            await calls.instance.call("f", FAIL, "a", "b", b"abc")
        assert not calls.instance.poisoned


async def test_a_guest_that_keeps_a_stream_ends_with_the_call() -> None:
    """What it would do with the rest, it would do beside the next call."""
    async with bodies() as calls:
        assert await calls.call((READ, b"a"), (KEEP, b"abc"), (READ, b"ab")) == [1, 0]
        assert calls.instance.poisoned


async def test_of_a_call_that_fails_it_is_known_which_one_it_was() -> None:
    async with bodies() as calls:
        with pytest.raises(Trap):
            await calls.call((READ, b"a"), (READ, b"ab"), (TRAP, b"abc"), (READ, b""))
        assert calls.results == [1, 2]
        assert calls.instance.poisoned


async def test_after_a_call_that_computes_no_further_one_is_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TICK_SECONDS", "CALM_TICK_SECONDS"):
        monkeypatch.setattr(ticker, name, 0.001)
    async with bodies() as calls:
        assert await calls.call((SPIN, b"abc"), *[(SPIN, b"ab")] * 100) == [3]
        assert calls.paused == [0]
        assert not calls.instance.poisoned


async def test_what_is_no_bytes_takes_a_call_of_its_own() -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(3):
            yield b"abc"

    async with bodies() as calls:
        assert await calls.call((READ, b"a"), (READ, chunks()), (READ, b"ab")) == [1]
        assert await calls.call((READ, chunks()), (READ, b"ab")) == [9]
        assert await calls.call((READ, b"a"), (READ, bytes(1_000_000)), (READ, b"ab")) == [1]
        assert await calls.call((READ, bytes(1_000_000)), (READ, b"ab")) == [1_000_000]
        assert await calls.call((READ, b"a"), ("mode", b"ab")) == [1]
        with pytest.raises((ValueMismatch, TypeError)):
            await calls.call(("mode", b"ab"))
        assert await calls.call((READ, b"ab")) == [2]


async def test_how_many_calls_were_made_is_told_of_the_calls_that_are_being_made() -> None:
    """A record of the log would belong to another message."""

    async def chunks() -> AsyncIterator[bytes]:
        made.append(calls.instance.calls_made())
        yield b"abc"

    made: list[int] = []
    async with bodies() as calls:
        assert await calls.call(*[(READ, b"a")] * 3) == [1] * 3
        assert calls.instance.calls_made() == 3
        assert await calls.call((READ, chunks()), *[(READ, b"a")] * 3) == [3]
        assert made == [0]
        assert await calls.call((READ, b"a")) == [1]
        calls.instance.close()
        assert calls.instance.calls_made() == 0, "there is nothing any more where it was noted"


async def test_where_the_host_does_not_see_memories_the_first_call_is_made() -> None:
    async with bodies("strings") as calls:
        assert await calls.call((READ, b"a"), (READ, b"ab")) == [1]
