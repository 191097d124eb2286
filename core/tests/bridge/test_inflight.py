"""The books on async calls, and on streams, that are under way."""

from __future__ import annotations

import asyncio
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st
from wasmplex.bridge.inflight import Chunks, InFlight, weight
from wasmplex.engine.accounts import Account, MemoryBudget
from wasmplex.errors import LimitReached
from wasmplex.plugins.limits import Limits
from wasmplex.values import Err, Ok, Some

MIB = 2**20


def books(budget: MemoryBudget | None = None, **limits: Any) -> InFlight:
    return InFlight("shop", Limits(**limits), Account((budget or MemoryBudget()).tenant(), 1))


def test_there_are_as_many_as_there_may_be() -> None:
    flight = books(calls_in_flight=2)
    costs = []
    for _ in range(2):
        flight.check(10)
        costs.append(flight.begin(10))
    with pytest.raises(
        LimitReached, match=r"while 2 were under way(.|\n)*limits\.calls_in_flight of \[workload"
    ):
        flight.check(10)
    flight.end(costs[0])
    flight.check(10)


def test_arguments_have_as_many_bytes_as_there_may_be() -> None:
    flight = books(bytes_in_flight=MIB)
    flight.begin(MIB // 2)
    with pytest.raises(LimitReached, match=r"began a call with 524288 bytes(.|\n)*limits\.bytes_in_flight"):
        flight.check(MIB // 2)
    flight.check(MIB // 4)


def test_results_that_nobody_takes_end_the_guest() -> None:
    flight = books(bytes_in_flight=MIB)
    costs = [flight.begin(0) for _ in range(10)]
    for cost in costs[:3]:
        flight.finished(cost, bytes(MIB // 4))
    with pytest.raises(LimitReached, match="has not taken"):
        flight.finished(costs[3], bytes(MIB // 4))


def test_the_memory_of_the_host_is_taken_and_given_back() -> None:
    budget = MemoryBudget(8 * MIB)
    flight = books(budget)
    costs = [flight.begin(MIB) for _ in range(9)]  # what is here is here, whether there is room or not
    assert 6 * MIB <= budget.used <= 8 * MIB
    for cost in costs[:4]:
        flight.end(cost)
    assert 4 * MIB <= budget.used <= 6 * MIB
    flight.release()
    for cost in costs[4:]:  # their coroutines end later
        assert flight.finished(cost, b"") == 0
        flight.end(cost)
    assert (budget.used, flight.calls, flight.bytes) == (0, 0, 0)


@given(st.lists(st.tuples(st.sampled_from(["begin", "finish", "end"]), st.integers(0, 3 * MIB)), max_size=40))
def test_in_the_end_nothing_is_left(steps: list[tuple[str, int]]) -> None:
    budget = MemoryBudget()
    flight = books(budget, bytes_in_flight=2**40)
    under_way: list[int] = []
    for step, size in steps:
        match step:
            case "begin":
                under_way.append(flight.begin(size))
            case "finish" if under_way:
                under_way.append(flight.finished(under_way.pop(0), bytes(size)))
            case "end" if under_way:
                flight.end(under_way.pop(size % len(under_way)))
        assert flight.bytes == sum(under_way)
        assert flight.bytes - MIB < budget.used <= flight.bytes
    for cost in under_way:
        flight.end(cost)
    assert (flight.calls, flight.bytes, budget.used) == (0, 0, 0)


@pytest.mark.anyio
async def test_chunks_wait_until_there_is_room() -> None:
    chunks, done = Chunks(100), []

    async def send(number: int, size: int) -> None:
        await chunks.hold(size)
        done.append(number)

    async with anyio.create_task_group() as tasks:
        for number, size in enumerate((60, 60, 500, 10)):
            tasks.start_soon(send, number, size)
        await asyncio.sleep(0.01)
        assert done == [0, 3]
        chunks.taken(60)
        await asyncio.sleep(0.01)
        assert done == [0, 3, 1]
        chunks.taken(60)
        chunks.taken(10)
        await asyncio.sleep(0.01)
        assert done == [0, 3, 1, 2]  # alone, one may be larger
        chunks.taken(500)
    assert chunks.bytes == 0


@pytest.mark.parametrize(
    ("value", "least", "most"),
    [
        (b"abc", 3, 3), ("abc", 3, 3), (None, 0, 8), (Ok(b"x" * 100), 100, 130), (Err("x" * 100), 100, 130),
        (Some([b"x" * 100] * 3), 300, 350), ([1] * 100, 800, 800), ({"key": b"x" * 100}, 100, 120),
    ],
)  # fmt: skip
def test_the_weight_of_a_value(value: Any, least: int, most: int) -> None:
    assert least <= weight(value) <= most


@pytest.mark.anyio
async def test_what_is_taken_wakes_as_many_as_fit() -> None:
    chunks, let_in = Chunks(100), []

    async def hold(number: int, size: int) -> None:
        await chunks.hold(size)
        let_in.append(number)

    await chunks.hold(100)
    async with asyncio.TaskGroup() as tasks:
        waiting = [tasks.create_task(hold(i, size)) for i, size in enumerate([80, 30, 30, 30, 30])]
        await asyncio.sleep(0)
        waiting[4].cancel()
        chunks.taken(40)  # 60 are held: the first does not fit, and lets smaller ones pass
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert let_in == [1]
        waiting[2].cancel()
        await asyncio.sleep(0)
        chunks.taken(60)
        for _ in range(3):
            await asyncio.sleep(0)
        assert let_in == [1, 3]
        chunks.taken(60)
    assert (let_in, chunks.bytes) == ([1, 3, 0], 80)


@pytest.mark.anyio
async def test_room_that_a_cancelled_one_was_given_is_given_back() -> None:
    chunks = Chunks(100)
    await chunks.hold(100)
    waiting = asyncio.ensure_future(chunks.hold(50))
    await asyncio.sleep(0)
    chunks.taken(100)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert chunks.bytes == 0
