"""How guests share the event loop: who runs in a turn of it, who waits, who is next."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any

import anyio
import pytest
from wasmplex.engine.turns import Share, Turns

from .test_calls import kv

pytestmark = pytest.mark.anyio

FOREVER = 2**62


class Clock:
    """Stands in for a `Ticker`."""

    def __init__(self) -> None:
        self.ticks = 0
        self.pressed = self.hurried = self.short = False


class Race:
    """Guests that take some ticks each time they run; remembers who ran, and in which turn of the loop."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.turns = Turns(self.clock)  # type: ignore[arg-type]
        self.ran: list[str] = []
        self.turn = 0
        self.at: list[int] = []

    async def guest(self, name: str, share: Share, runs: int, ticks: int = 1) -> None:
        computing = False
        for _ in range(runs):
            if computing or (self.clock.ticks >= self.turns.until and not self.turns.begin()):
                await self.turns.wait(share, computing=computing)
            self.ran.append(name)
            self.at.append(self.turn)
            self.clock.ticks += ticks
            share.spent += ticks
            computing = ticks > 0
            if not computing:
                await asyncio.sleep(0)

    async def count(self) -> None:
        while True:
            await asyncio.sleep(0)
            self.turn += 1


async def until(reached: Callable[[], bool]) -> None:
    for _ in range(1_000_000):
        if reached():
            return
        await asyncio.sleep(0)
    raise AssertionError("never")


@pytest.fixture
async def race() -> Any:
    race = Race()
    counting = asyncio.create_task(race.count())
    yield race
    counting.cancel()


async def test_those_that_take_no_time_never_wait(race: Race) -> None:
    async with anyio.create_task_group() as tasks:
        for number in range(50):
            tasks.start_soon(race.guest, str(number), Share(), 3, 0)
    assert race.turn < 20
    assert len(race.ran) == 150


async def test_one_slice_in_a_turn_however_many_compute(race: Race) -> None:
    share = Share()
    async with anyio.create_task_group() as tasks:
        for number in range(64):
            tasks.start_soon(race.guest, str(number), share, 10)
    assert len(race.ran) == 640
    assert max(Counter(race.at).values()) <= 2
    assert race.turn < 8 * 640
    assert set(Counter(race.ran).values()) == {10}
    assert race.clock.pressed


async def test_many_instances_of_a_workload_count_as_one(race: Race) -> None:
    many, few = Share(), Share()
    async with anyio.create_task_group() as tasks:
        for _ in range(64):
            tasks.start_soon(race.guest, "many", many, 100)
        for _ in range(2):
            tasks.start_soon(race.guest, "few", few, 100)
        await until(lambda: race.ran.count("few") >= 200)
        tasks.cancel_scope.cancel()
    first = race.ran[: race.ran.index("few") + 300]
    assert first.count("few") >= 130


async def test_who_comes_seldom_is_next(race: Race) -> None:
    """A short call waits for a turn of the loop or two, whatever the others have saved up by then."""
    busy, quiet = Share(), Share()
    waited = []
    async with anyio.create_task_group() as tasks:
        for _ in range(64):
            tasks.start_soon(race.guest, "busy", busy, FOREVER)
        for _ in range(20):
            for _ in range(10):
                await asyncio.sleep(0)
            before = race.clock.ticks
            await race.guest("quiet", quiet, 1)
            waited.append(race.clock.ticks - before)
        tasks.cancel_scope.cancel()
    assert max(waited) <= 4


async def test_who_had_less_than_those_that_wait_does_not_wait(race: Race) -> None:
    """In rounds of several ticks too; but not for longer than the others."""
    race.clock.short = True
    busy, quiet = Share(), Share()
    waited = []
    async with anyio.create_task_group() as tasks:
        for _ in range(64):
            tasks.start_soon(race.guest, "busy", busy, FOREVER)
        await until(lambda: len(race.ran) >= 100)
        for pause in range(10, 30):
            for _ in range(pause):
                await asyncio.sleep(0)
            before = race.clock.ticks
            await race.guest("quiet", quiet, 1)
            waited.append(race.clock.ticks - before)
        assert max(waited) == 1, waited
        race.ran.clear()
        while len(race.ran) < 300:
            async with anyio.create_task_group() as calls:
                for _ in range(10):
                    calls.start_soon(race.guest, "many", quiet, 1)
        tasks.cancel_scope.cancel()
    assert 100 <= race.ran.count("busy") <= 200


@pytest.mark.parametrize("many", [1, 64])
async def test_a_call_of_several_steps_waits_once_for_those_that_compute(race: Race, many: int) -> None:
    """Between two of their slices, the loop has the turns that a request takes to be read and answered."""
    race.clock.short = True
    busy, quiet = Share(), Share()
    async with anyio.create_task_group() as tasks:
        for _ in range(many):
            tasks.start_soon(race.guest, "busy", busy, FOREVER)
        await until(lambda: len(race.ran) >= 100)
        for pause in range(10, 30):
            for _ in range(pause):
                await asyncio.sleep(0)
            before = race.clock.ticks
            await race.guest("quiet", quiet, 3, 0)
            assert race.clock.ticks - before <= 1
        assert race.clock.hurried
        tasks.cancel_scope.cancel()


async def test_many_that_had_less_share_what_is_left_of_a_turn(race: Race) -> None:
    """However many workloads have a call after a long time, a turn of the loop stays as short."""
    busy = Share()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(race.count)
        for _ in range(64):
            tasks.start_soon(race.guest, "busy", busy, FOREVER)
        await until(lambda: len(race.ran) >= 200)
        async with anyio.create_task_group() as calls:
            for _ in range(50):
                calls.start_soon(race.guest, "quiet", Share(), 1)
        tasks.cancel_scope.cancel()
    assert race.ran.count("quiet") == 50
    assert max(Counter(race.at).values()) <= 6


async def test_time_that_was_not_wanted_is_not_saved_up(race: Race) -> None:
    early, late = Share(), Share()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(race.guest, "early", early, FOREVER)
        tasks.start_soon(race.guest, "early", early, FOREVER)
        await until(lambda: len(race.ran) >= 1000)
        race.ran.clear()
        for _ in range(2):
            tasks.start_soon(race.guest, "late", late, FOREVER)
        await until(lambda: len(race.ran) >= 100)
        tasks.cancel_scope.cancel()
    assert race.ran.count("early") >= 40


async def test_new_calls_go_before_those_that_compute_and_starve_none(race: Race) -> None:
    share = Share()
    async with anyio.create_task_group() as tasks:
        for _ in range(20):
            tasks.start_soon(race.guest, "old", share, FOREVER)
        await until(lambda: len(race.ran) >= 100)
        race.ran.clear()
        for _ in range(5):
            tasks.start_soon(race.guest, "new", share, 1)
        await until(lambda: len(race.ran) >= 12)
        tasks.cancel_scope.cancel()
    assert race.ran[:12].count("new") == 5
    assert race.ran[:12].count("old") == 7


async def test_who_is_cancelled_while_it_waits_holds_up_nobody(race: Race) -> None:
    share = Share()
    async with anyio.create_task_group() as tasks:
        for _ in range(10):
            tasks.start_soon(_cancelled_after, race, share, 5)
        tasks.start_soon(race.guest, "stays", share, 50)
    assert race.ran.count("stays") == 50
    assert not race.turns._let_go
    with anyio.fail_after(5):
        await race.guest("later", Share(), 3)


async def _cancelled_after(race: Race, share: Share, turns: int) -> None:
    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(race.guest, "goes", share, FOREVER)
            for _ in range(turns):
                await asyncio.sleep(0)
            scope.cancel()


def test_another_loop_begins_anew() -> None:
    race = Race()

    async def leave() -> None:
        waiting = [asyncio.create_task(race.guest("left", share, FOREVER)) for _ in range(3)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert waiting

    share = Share()
    asyncio.run(leave())
    race.ran.clear()
    asyncio.run(race.guest("again", share, 5))
    assert race.ran == ["again"] * 5


async def test_guests_that_spin_leave_the_loop_to_others(new_instance: Any) -> None:
    """While 64 guests compute, the loop turns once for a slice or two of theirs."""
    guests = [await new_instance("kv", kv()) for _ in range(64)]
    ticker = guests[0]._linked.compiled.services.ticker
    async with anyio.create_task_group() as tasks:
        for guest in guests:
            tasks.start_soon(guest.call, "spin", FOREVER)
        await anyio.sleep(0.1)
        turned, begun = 0, ticker.ticks
        while ticker.ticks < begun + 128:
            await asyncio.sleep(0)
            turned += 1
        tasks.cancel_scope.cancel()
    assert turned > 10  # 64 slices in each would make two
