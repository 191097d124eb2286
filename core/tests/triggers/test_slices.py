"""How much of a turn of the event loop messages may have."""

from __future__ import annotations

import asyncio
from collections import Counter

import anyio
import pytest
from wasmplex.triggers.messaging import slices
from wasmplex.triggers.messaging.slices import SLICE, Slices

pytestmark = pytest.mark.anyio


class Clock:
    """Time that goes by while messages are handled; remembers the turns of the loop in which they were."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        self.turn = 0
        self.handled: list[tuple[int, str]] = []
        monkeypatch.setattr(slices, "perf_counter", lambda: self.now)

    async def count(self) -> None:
        while True:
            await asyncio.sleep(0)
            self.turn += 1

    async def work(self, own: Slices, name: str, messages: int, seconds: float) -> None:
        for _ in range(messages):
            if not own.has_room():
                await own.wait()
            self.handled.append((self.turn, name))
            self.now += seconds


@pytest.mark.parametrize(("part", "most"), [(0.25, 4), (2, 1)])
async def test_a_turn_of_the_loop_has_one_slice(
    monkeypatch: pytest.MonkeyPatch, part: float, most: int
) -> None:
    """Whether one message takes a part of a slice or more than one, and whoever handles them."""
    clock, own = Clock(monkeypatch), Slices()
    async with anyio.create_task_group() as counting:
        counting.start_soon(clock.count)
        async with anyio.create_task_group() as workers:
            for number in range(20):
                workers.start_soon(clock.work, own, str(number), 10, SLICE * part)
        counting.cancel_scope.cancel()
    assert len(clock.handled) == 200
    turns = Counter(turn for turn, _ in clock.handled)
    assert max(turns.values()) <= most
    assert len(turns) <= 2 + 200 / most


async def test_who_is_cancelled_while_it_waits_holds_up_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, own = Clock(monkeypatch), Slices()
    async with anyio.create_task_group() as tasks:
        for number in range(20):
            tasks.start_soon(clock.work, own, str(number), 1, SLICE)
        async with anyio.create_task_group() as cancelled:
            for _ in range(20):
                cancelled.start_soon(clock.work, own, "cancelled", 1, SLICE)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            cancelled.cancel_scope.cancel()
        tasks.start_soon(clock.work, own, "late", 1, SLICE)
    assert {name for _, name in clock.handled} >= {*map(str, range(20)), "late"}


async def test_every_worker_has_its_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """More of them than are woken in a turn, each message of which takes all of it."""
    clock, own = Clock(monkeypatch), Slices()
    async with anyio.create_task_group() as workers:
        for number in range(8):
            workers.start_soon(clock.work, own, str(number), 100, 2 * SLICE)
    shares = Counter(name for _, name in clock.handled[:400])
    assert len(shares) == 8
    assert max(shares.values()) <= min(shares.values()) + 2
