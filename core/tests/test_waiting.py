"""Calls that wait for an instance: who comes next, and who waits too long to be of use."""

from __future__ import annotations

import asyncio
from asyncio import Task, create_task
from types import SimpleNamespace

import pytest
from wasmplex import waiting
from wasmplex.errors import LimitExceeded
from wasmplex.waiting import Waiters

pytestmark = pytest.mark.anyio
TIMEOUT = 10.0


class Clock:
    """The time of the loop, as a test has it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        create_future = asyncio.get_running_loop().create_future
        loop = SimpleNamespace(time=lambda: self.now, create_future=create_future)
        monkeypatch.setattr(waiting, "get_running_loop", lambda: loop)


async def joined(line: Waiters[str]) -> Task[str]:
    task = create_task(line.wait())
    await asyncio.sleep(0)
    return task


async def test_they_come_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, line = Clock(monkeypatch), Waiters[str]("shop", TIMEOUT, list[str]().append)
    waiters = [await joined(line) for _ in range(3)]
    clock.now = 9.0  # late for each, but it has not been crowded for longer than a call may take
    assert [line.hand(what) for what in "abcd"] == [True, True, True, False]
    assert await asyncio.gather(*waiters) == ["a", "b", "c"]


async def test_where_there_are_always_some_the_late_ones_make_room_for_those_in_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock, line = Clock(monkeypatch), Waiters[str]("shop", TIMEOUT, list[str]().append)
    first, late = await joined(line), await joined(line)
    clock.now = 5.0
    in_time = await joined(line)
    clock.now = 10.0
    assert line.hand("a")
    last = await joined(line)
    clock.now = 10.1
    assert line.hand("b")
    assert (await first, await last) == ("a", "b")
    for refused in (late, in_time):
        with pytest.raises(LimitExceeded, match=r"'shop' is overloaded.* of its 10 s for an instance"):
            await refused


async def test_who_is_late_is_served_if_nobody_waits_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, line = Clock(monkeypatch), Waiters[str]("shop", TIMEOUT, list[str]().append)
    first, gone = await joined(line), await joined(line)
    gone.cancel()
    clock.now = 20.0
    assert line.hand("a")
    assert await first == "a"


async def test_it_is_crowded_no_more_once_nobody_has_waited(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, line = Clock(monkeypatch), Waiters[str]("shop", TIMEOUT, list[str]().append)
    await joined(line)
    clock.now = 20.0
    assert line.hand("a")
    again = [await joined(line) for _ in range(2)]
    clock.now = 29.0
    assert line.hand("b")
    assert await again[0] == "b"
    again[1].cancel()


async def test_what_was_handed_to_one_that_is_gone_is_taken_back() -> None:
    undone = list[str]()
    line = Waiters[str]("shop", TIMEOUT, undone.append)
    waiter = await joined(line)
    line.hand("a")
    waiter.cancel()
    await asyncio.wait([waiter])
    assert undone == ["a"]
    assert not len(line)


class CountedFuture(asyncio.Future[str]):
    """A future that counts how often it is compared with others."""

    compared = 0
    __hash__ = asyncio.Future.__hash__

    def __eq__(self, other: object) -> bool:
        CountedFuture.compared += 1
        return self is other


async def test_those_that_leave_are_not_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = SimpleNamespace(time=lambda: 0.0, create_future=CountedFuture)
    monkeypatch.setattr(waiting, "get_running_loop", lambda: loop)
    line = Waiters[str]("shop", TIMEOUT, list[str]().append)
    waiters = [await joined(line) for _ in range(200)]
    for waiter in reversed(waiters):
        waiter.cancel()
    await asyncio.wait(waiters)
    assert not len(line)
    assert CountedFuture.compared < len(waiters)
