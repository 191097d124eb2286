"""The tasks of an import adapter, without an adapter: which orders they give, whatever wakes them."""

from __future__ import annotations

import asyncio
from collections import deque
from types import SimpleNamespace
from typing import Any

import pytest
from wasmplex.bridge.inflight import InFlight
from wasmplex.bridge.protocol import Event, Op
from wasmplex.bridge.tasks import CallTask, Driver
from wasmplex.engine.accounts import Account, MemoryBudget
from wasmplex.plugins.limits import Limits

pytestmark = pytest.mark.anyio

RECORD, NUMBER, STREAM_READ = 64, 7, 2


def flight() -> InFlight:
    account = Account(MemoryBudget().tenant(), 1)
    return InFlight("shop", Limits(), account)


def books() -> Any:
    """Return what tasks ask of a session."""
    session = SimpleNamespace(
        orders_most=1, orders=[], operands=[], operands_next=0,
        tasks={}, ready=deque(), running=0, flows={}, scripts=deque(), leaving=set(),
        scheduler=SimpleNamespace(
            flight=flight(), wake=lambda: None, busy=lambda: None, gave=lambda: None,
            rests=lambda side: True, asks=lambda: False, over=False,
        ),
    )  # fmt: skip
    session.driver = Driver(session)
    return session


def call(session: Any, future: asyncio.Future[Any]) -> CallTask:
    served: Any = SimpleNamespace(codec=SimpleNamespace(function=SimpleNamespace(number=NUMBER)))
    session.tasks[RECORD] = task = CallTask(session, served, RECORD, future, 0)
    return task


async def test_a_wake_meant_for_the_record_s_last_task_does_not_end_the_next() -> None:
    session, loop = books(), asyncio.get_running_loop()
    first = call(session, loop.create_future())
    first.future.set_result(None)
    await asyncio.sleep(0)  # the store may yield before the task's first step: the loop turns
    assert first.step(Event.START) == Op.RETURN | NUMBER << 8
    assert first.step(Event.RETURNED) == Op.EXIT

    second = call(session, loop.create_future())
    assert second.step(Event.START) == Op.WAIT
    while session.driver.step(0, 0, 0) & 0xFF == Op.WAKE:
        assert second.step(STREAM_READ) == Op.WAIT
    second.future.set_result(None)
    await asyncio.sleep(0)
    assert session.driver.step(0, 0, 0) == Op.WAKE | RECORD << 32
    assert second.step(STREAM_READ) == Op.RETURN | NUMBER << 8
    assert (session.running, session.driver.woken) == (0, set())


async def test_a_task_is_not_woken_again_before_it_has_had_its_turn() -> None:
    """Its wake stream takes one wake at a time: a second one would be left over, and a third one trap."""
    session, loop = books(), asyncio.get_running_loop()
    first = call(session, loop.create_future())
    first.future.set_result(None)
    await asyncio.sleep(0)
    first.step(Event.START)
    first.step(Event.RETURNED)

    second = call(session, loop.create_future())
    assert second.step(Event.START) == Op.WAIT
    assert session.driver.step(0, 0, 0) == Op.WAKE | RECORD << 32  # meant for the first
    second.future.set_result(None)
    await asyncio.sleep(0)
    assert session.driver.step(0, 0, 0) == Op.YIELD
    assert second.step(STREAM_READ) == Op.RETURN | NUMBER << 8
    assert second.step(Event.RETURNED) == Op.EXIT
    assert (session.running, session.driver.woken, list(session.ready)) == (0, set(), [])


async def test_the_driver_leaves_the_end_of_calls_to_who_makes_them() -> None:
    """A guest may keep the readable end of a future for ever: that is nothing to wait for."""
    session = books()
    session.flows[4] = object()
    assert session.driver.step(0, 0, 0) == Op.NEXT
    session.scheduler.over = True
    assert session.driver.step(0, 0, 0) == Op.YIELD
