"""Memories that the host allocates: found, read, written, limited, and given back."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wasmplex.component import read
from wasmplex.engine import Engine, Linked
from wasmplex.engine.accounts import Account, MemoryBudget
from wasmplex.engine.host_memory import HostMemory
from wasmplex.errors import LimitExceeded, Trap
from wasmplex.plugins.limits import Limits
from wasmtime import wat2wasm

from .test_calls import kv

pytestmark = pytest.mark.anyio

PAGE = 65536


async def linked(
    engine: Engine, text: str, imports: dict[str, Any] | None = None, limits: Limits | None = None
) -> Linked:
    wasm = bytes(wat2wasm(text))
    compiled = await engine.compile(wasm, read(wasm))
    return engine.link(compiled, imports or {}, "shop", limits)


TWO_MEMORIES = """(component
  (core module $a (memory (export "m") 1 7) (data (i32.const 8) "hello"))
  (core module $b (memory (export "m") 2 4099)
    (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0)))
    (func (export "load") (param i32) (result i32) (i32.load8_u (local.get 0))))
  (core instance $a (instantiate $a)) (core instance $b (instantiate $b))
  (func (export "grow") (param "pages" u32) (result s32) (canon lift (core func $b "grow")))
  (func (export "load") (param "at" u32) (result u32) (canon lift (core func $b "load"))))"""


async def test_memories_are_known_by_their_maximum(engine: Engine) -> None:
    instance = await (await linked(engine, TWO_MEMORIES)).instantiate()
    assert [(m.size, m.maximum) for m in instance.memories] == [(PAGE, 7 * PAGE), (2 * PAGE, 4099 * PAGE)]
    first, second = instance.memories
    assert first.read(8, 5) == b"hello"
    second.write(2 * PAGE - 3, b"xyz")
    assert await instance.call("load", 2 * PAGE - 1) == ord("z")
    instance.close()


async def test_memory_grows_in_place(engine: Engine) -> None:
    limits = Limits(memory=8 * PAGE)
    instance = await (await linked(engine, TWO_MEMORIES, limits=limits)).instantiate()
    memory = instance.memories[1]
    base = memory.base
    assert await instance.call("grow", 5) == 2
    assert (memory.size, memory.base) == (7 * PAGE, base)
    memory.write(7 * PAGE - 1, b"!")
    assert await instance.call("load", 7 * PAGE - 1) == ord("!")
    assert await instance.call("grow", 5) == -1  # over the limit
    with pytest.raises(Trap, match="out of bounds"):
        await instance.call("load", 7 * PAGE)
    instance.close()


@pytest.mark.parametrize(("at", "count"), [(-1, 1), (PAGE, 1), (0, PAGE + 1), (PAGE - 1, 2), (5, -1)])
async def test_nothing_outside_is_touched(engine: Engine, at: int, count: int) -> None:
    instance = await (await linked(engine, TWO_MEMORIES)).instantiate()
    with pytest.raises(IndexError):
        instance.memories[0].read(at, count)
    if count > 0:
        with pytest.raises(IndexError):
            instance.memories[0].write(at, bytes(count))
    instance.close()


async def test_memories_go_with_their_instance(engine: Engine) -> None:
    shop = await linked(engine, TWO_MEMORIES)
    creator = shop.compiled.variant.creator
    instances = [await shop.instantiate() for _ in range(5)]
    assert creator.live == 10
    assert len({m.base for instance in instances for m in instance.memories}) == 10
    for instance in instances:
        instance.close()
    assert creator.live == 0


async def test_limit_from_the_start(engine: Engine) -> None:
    shop = await linked(engine, TWO_MEMORIES, limits=Limits(memory=PAGE))
    with pytest.raises(LimitExceeded):
        await shop.instantiate()
    assert shop.compiled.variant.creator.live == 0


async def test_guest_behaves_as_with_memory_of_wasmtime(engine: Engine, guest_text: Any) -> None:
    instance = await (await linked(engine, guest_text("kv"), kv())).instantiate()
    await instance.call("init")
    assert await instance.call("echo-bytes", b"x" * 200_000) == b"x" * 200_000
    assert await instance.call("run-set", 2, 1000) == 2000
    instance.close()


def test_memory_that_cannot_be_had() -> None:
    with pytest.raises(MemoryError):
        HostMemory(Account(MemoryBudget().tenant(), 2**62), 0, 2**60, 2**60, 0)


@given(
    st.lists(st.tuples(st.integers(0, 24), st.integers(0, 24), st.booleans()), max_size=30),
    st.integers(0, 99),
)
def test_a_memory_is_empty_whatever_lay_there_before(steps: list[tuple[int, int, bool]], seed: int) -> None:
    """Address ranges are used again: nothing of one instance is seen by another."""
    account = Account(MemoryBudget().tenant(), 2**40)
    live: list[HostMemory] = []
    for at_first, more, end in steps:
        memory = HostMemory(account, at_first * PAGE, 64 * PAGE, 64 * PAGE, PAGE)
        memory.grow((at_first + more) * PAGE)
        assert memory.read(0, memory.size).count(0) == memory.size
        memory.write(0, bytes([1 + seed]) * memory.size)
        live.append(memory)
        if end:
            live.pop(seed % len(live)).unmap()
    for memory in live:
        memory.unmap()
    assert account.used == 0


async def test_what_was_grown_is_out_of_bounds_for_the_next(engine: Engine) -> None:
    made = await linked(engine, TWO_MEMORIES)
    for _ in range(3):
        instance = await made.instantiate()
        assert await instance.call("load", 2 * PAGE - 1) == 0
        assert await instance.call("grow", 4) == 2
        instance.memories[1].write(2 * PAGE - 1, b"x")
        instance.close()
    instance = await made.instantiate()
    with pytest.raises(Trap, match="out of bounds"):
        await instance.call("load", 2 * PAGE)
    instance.close()
