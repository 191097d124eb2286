"""When the store of an instance may be suspended, and when it goes on by itself."""

from __future__ import annotations

import asyncio
from typing import Any

import anyio
import pytest
from wasmplex.bridge.scheduler import Scheduler
from wasmplex.engine.accounts import Account, MemoryBudget
from wasmplex.plugins.limits import Limits

pytestmark = pytest.mark.anyio


class Side:
    """What a scheduler asks of the side of an adapter."""

    flows: dict[int, Any] = {}  # noqa: RUF012  nobody adds to it

    def __init__(self) -> None:
        self.awake = True
        self.asked = 0

    def has_work(self) -> bool:
        return False

    def ask(self) -> bool:
        self.asked += 1
        return True

    def goes_on(self) -> bool:
        return False

    def close(self) -> None:
        raise AssertionError

    def dismantle(self) -> None:
        raise AssertionError


def sides(scheduler: Scheduler, count: int) -> list[Side]:
    made = [Side() for _ in range(count)]
    scheduler.sides += made
    return made


def scheduler() -> Scheduler:
    return Scheduler("shop", Limits(), Account(MemoryBudget().tenant(), 1))


async def test_a_guest_may_be_as_many_turns_behind_as_it_was_given_things() -> None:
    made = scheduler()
    one, other = sides(made, 2)
    assert [made.rests(one), made.rests(other)] == [False, True]
    made.busy()
    made.gave()
    made.gave()
    turns = [made.rests(side) for side in (one, other) * 2]
    assert turns == [False, False, False, True]


async def test_a_guest_gets_turns_though_nothing_has_come_for_it() -> None:
    made = scheduler()
    [side] = sides(made, 1)
    turns = 0
    with anyio.fail_after(20):
        for _ in range(4):
            while not made.rests(side):
                turns += 1
            await made.next()
    assert turns == 0 + 1 + 3 + 7  # ever more of them


async def test_what_comes_for_a_guest_ends_its_wait() -> None:
    made = scheduler()
    sides(made, 1)
    asyncio.get_running_loop().call_soon(made.wake)
    with anyio.fail_after(20):
        await made.next()


async def test_streams_are_asked_about_by_whoever_is_awake() -> None:
    made = scheduler()
    one, other = sides(made, 2)
    other.awake = False
    assert made.asks()
    assert (one.asked, other.asked) == (1, 0)


async def test_what_makes_calls_is_over_when_none_is_under_way_and_nothing_will_come() -> None:
    made = scheduler()
    sides(made, 1)
    assert not made.over
    made.calls = lambda: True
    assert not made.over
    made.calls = lambda: False
    assert made.over


def test_adapters_grow_for_speed_alone_where_there_is_much_more() -> None:
    account = Account(MemoryBudget().tenant(), 8 << 20)
    made = Scheduler("shop", Limits(), account)
    assert made.may_grow(1 << 20)
    assert account.take(5 << 20)
    assert not made.may_grow(1 << 20)
