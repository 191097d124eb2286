"""Nothing is left behind: memory stays flat whatever a guest and its host functions do."""

from __future__ import annotations

import asyncio
import gc
import sys
import weakref
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
from wasmplex.engine import ValueMismatch
from wasmplex.engine.arena import Arena
from wasmplex.engine.store import STATES
from wasmplex.errors import Trap
from wasmplex.values import Err, Ok, Variant
from wasmplex.wit.types import Case, Field, ListType, Option, Primitive, Record, ResultType, VariantType

from .test_calls import Bucket, kv
from .test_resources import Host, Thing
from .test_round_trip import call, linked

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="resident memory is read from /proc"),
]

SLACK = 96 * 1024
"""Bytes that a round may grow by: far less than one word a call."""


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


async def assert_flat(round_: Callable[[], Awaitable[None]], rounds: int = 6) -> None:
    """Run rounds until one leaves memory as it was; a leak would grow in every one."""
    growths = []
    await round_()
    for _ in range(rounds):
        gc.collect()
        before = resident()
        await round_()
        gc.collect()
        growths.append(resident() - before)
        if growths[-1] <= SLACK:
            return
    raise AssertionError(f"memory grew in every round: {growths}")


def _kinds() -> dict[str, dict[str, Any]]:
    async def soon(self: Bucket, key: str) -> bytes:
        return key.encode()

    async def later(self: Bucket, key: str) -> bytes:
        await asyncio.sleep(0)
        return key.encode()

    return {
        "sync": {"get": lambda self, key: key.encode()},
        "async": {"get": soon},
        "suspended": {"get": later},
    }


@pytest.mark.parametrize("kind", ["sync", "async", "suspended"])
async def test_host_calls(new_instance: Any, kind: str) -> None:
    guest = await new_instance("kv", kv(**_kinds()[kind]))
    await guest.call("init")

    async def round_() -> None:
        await guest.call("run-get", 20_000, 16)
        await guest.call("run-set", 5_000, 64)

    await assert_flat(round_)


async def test_exports(new_instance: Any) -> None:
    guest = await new_instance("kv", kv())

    async def round_() -> None:
        for _ in range(3000):
            await guest.call("echo-string", "some text")
            await guest.call("echo-bytes", b"some bytes")

    await assert_flat(round_)


async def test_nested_values() -> None:
    text = Primitive("string")
    node = VariantType((Case("leaf"), Case("text", text), Case("many", ListType(text))))
    kind = ResultType(ListType(Record((Field("key", text), Field("node", Option(node))))), node)
    good = [{"key": "k" * 20, "node": Variant("many", ["a", "b" * 30])}, {"key": "", "node": None}]
    turn = 0

    def echo(x: Any) -> Any:
        nonlocal turn
        turn += 1
        if turn % 2:
            raise Err(Variant("text", "no"))
        return good

    instance = await (await linked(kind, echo, whole=True)).instantiate()

    async def round_() -> None:
        for _ in range(2000):
            await call(instance, Ok(good))

    await assert_flat(round_)
    instance.close()


async def test_handles(new_instance: Any) -> None:
    host = Host()
    guest = await new_instance("resources", host.imports)
    thing = Thing(1)

    async def round_() -> None:
        for _ in range(600):
            await guest.call("many", 3)
            await guest.call("swap", 3)
            await guest.call("try", 1)
            await guest.call("echo", thing)
            await guest.call("look", thing)
            counter = await guest.call("[constructor]counter", 1)
            await guest.call("[method]counter.add", counter, 1)
            await guest.call("finish", counter)
        host.made.clear()
        host.given_back.clear()

    await assert_flat(round_)
    assert not guest._store.objects.entries
    assert not guest._store.loans
    assert not guest._store.moved


async def test_refused_values(new_instance: Any) -> None:
    guest = await new_instance("kv", kv())

    async def round_() -> None:
        for _ in range(1000):
            with pytest.raises(ValueMismatch):
                await guest.call("echo-string", "\ud800")

    await assert_flat(round_)


async def test_instances(link_wat: Any) -> None:
    shop = await link_wat("kv", kv())
    before = len(STATES)

    async def round_() -> None:
        for _ in range(300):
            instance = await shop.instantiate()
            await instance.call("init")
            instance.close()

    await assert_flat(round_)
    assert len(STATES) == before


async def test_cancelled_and_trapped_calls(link_wat: Any) -> None:
    async def noop() -> None:
        await anyio.sleep_forever()

    async def fail(a: int, b: int) -> int:
        await asyncio.sleep(0)
        raise ValueError

    bucket = Bucket()
    shop = await link_wat("kv", kv(bucket, noop=noop, add=fail))
    before = len(STATES)

    async def round_() -> None:
        for _ in range(150):
            instance = await shop.instantiate()
            await instance.call("init")
            running = asyncio.create_task(instance.call("run-noop", 1))
            await asyncio.sleep(0)
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running
            instance.close()
            instance = await shop.instantiate()
            with pytest.raises(Trap):
                await instance.call("run-add", 1)
            instance.close()

    await assert_flat(round_)
    assert len(STATES) == before
    assert bucket.drops % 150 == 0


async def test_linked_components_are_freed(link_wat: Any) -> None:
    class Function:
        def __call__(self, a: int, b: int) -> int:
            return a + b

    function = Function()
    gone = weakref.ref(function)
    shop = await link_wat("kv", kv(add=function))
    instance = await shop.instantiate()
    del function, shop
    gc.collect()
    assert gone() is not None  # the instance still needs it
    assert await instance.call("run-add", 2) == 3
    instance.close()
    del instance
    gc.collect()
    assert gone() is None


async def test_arenas_go_back_to_their_pool(new_instance: Any) -> None:
    guest = await new_instance("kv", kv())
    await guest.call("echo-string", "a")
    pool = list(Arena._free)
    await guest.call("echo-string", "b")
    with pytest.raises(ValueMismatch):
        await guest.call("echo-string", 5)
    assert {id(arena) for arena in Arena._free} == {id(arena) for arena in pool}
    assert all(not arena.keep for arena in Arena._free)
