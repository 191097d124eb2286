"""`limits.host_calls_per_second`: guests that call the host too often are held back, or refused."""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import Any

import anyio
import pytest
from wasmplex.engine import Engine, linker
from wasmplex.engine.pace import Internal, Pace
from wasmplex.errors import LimitReached
from wasmplex.plugins.contracts import HostFunction
from wasmplex.testing import FakeClock

pytestmark = pytest.mark.anyio

CALLS = """(component
  (import "ask" (func $ask))
  (core func $core-ask (canon lower (func $ask)))
  (core module $m
    (import "" "ask" (func $ask))
    (func (export "run") (param $n i32)
      (loop $more
        (call $ask)
        (br_if $more (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))))
  (core instance $i (instantiate $m (with "" (instance (export "ask" (func $core-ask))))))
  (func (export "run") (param "n" u32) (canon lift (core func $i "run"))))"""
"""Calls the host as often as it is told."""


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FakeClock:
    """Return a clock of seconds that stands still, for what is linked from here on."""
    clock = FakeClock()
    monkeypatch.setattr(linker, "Pace", partial(Pace, clock=clock))
    return clock


async def held_back(running: asyncio.Future[None], caplog: pytest.LogCaptureFixture) -> bool:
    """Wait until a guest is held back, or has come to its end; say whether it is held back."""
    while not running.done():
        if "more often than limits.host_calls_per_second" in caplog.text:
            return True
        await asyncio.sleep(0.001)
    return False


def spend(pace: Pace, calls: int) -> None:
    for _ in range(calls):  # as generated code does
        pace.few = pace.few - 1 if pace.few else pace.more()


def test_a_second_s_worth_is_free_and_leaks_away() -> None:
    clock = FakeClock()
    pace = Pace("shop", 100, clock)  # its seconds are the clock's units
    spend(pace, 100)
    assert pace.ahead() <= 0
    spend(pace, 50)
    assert pace.ahead() == pytest.approx(0.5)
    clock.advance(1)
    assert pace.ahead() == pytest.approx(-0.5)
    clock.advance(1000)
    assert pace.ahead() == -1
    assert pace.left == 200, "what was not used is not saved up"


async def test_a_guest_that_makes_no_more_calls_than_it_may_is_never_held_back(
    new_instance: Any, caplog: pytest.LogCaptureFixture
) -> None:
    made = []
    instance = await new_instance(CALLS, {"ask": lambda: made.append(1)}, host_calls_per_second=1000)
    await instance.call("run", 1000)
    assert len(made) == 1000
    assert not caplog.records


@pytest.mark.parametrize(("count", "rate"), [(1300, 1000), (4, 3)])
async def test_a_guest_whose_calls_wait_is_held_back(
    clock: FakeClock, new_instance: Any, caplog: pytest.LogCaptureFixture, count: int, rate: int
) -> None:
    made = []

    async def ask() -> None:
        made.append(1)
        await asyncio.sleep(0)

    instance = await new_instance(CALLS, {"ask": ask}, host_calls_per_second=rate)
    running = asyncio.ensure_future(instance.call("run", count))
    assert await held_back(running, caplog)
    assert len(made) == rate + 1, "each that is one too many waits"
    clock.advance(1)
    await running
    assert len(made) == count


async def test_so_is_one_whose_calls_do_not_at_the_end_of_its_time_slice(
    clock: FakeClock, engine: Engine, new_instance: Any, caplog: pytest.LogCaptureFixture
) -> None:
    ticker = engine.services.ticker
    made = []

    def ask() -> None:
        made.append(1)
        if len(made) == 140:  # until its time slice is over, however late the tick comes
            begun = ticker.ticks
            while ticker.ticks == begun:
                pass

    instance = await new_instance(CALLS, {"ask": ask}, host_calls_per_second=100)
    running = asyncio.ensure_future(instance.call("run", 150))
    assert await held_back(running, caplog)
    assert len(made) < 150
    clock.advance(1)
    await running
    assert len(made) == 150


async def test_one_that_cannot_be_held_back_is_refused(new_instance: Any) -> None:
    made = []
    instance = await new_instance(CALLS, {"ask": lambda: made.append(1)}, host_calls_per_second=10)
    with pytest.raises(
        LimitReached,
        match=r"20 calls of the host too soon, 10 a second(.|\n)*raise limits\.host_calls_per_second",
    ):
        await instance.call("run", 1_000_000)
    assert len(made) == 20


async def test_all_instances_of_a_workload_are_counted_together(clock: FakeClock, link_wat: Any) -> None:
    linked = await link_wat(CALLS, {"ask": lambda: None}, host_calls_per_second=10)
    for expected in (5, 10, 15):
        instance = await linked.instantiate()
        await instance.call("run", 5)
        instance.close()
        assert linked.pace.left == 20 - expected
    with anyio.move_on_after(0.1) as scope:
        await linked.instantiate()
    assert scope.cancelled_caught, "a new instance waits as the old one would"


async def test_what_the_host_s_adapters_ask_is_not_counted(link_wat: Any) -> None:
    linked = await link_wat(CALLS, {"ask": Internal(lambda: None)}, host_calls_per_second=10)
    instance = await linked.instantiate()
    await instance.call("run", 1000)
    assert linked.pace.left == 20
    instance.close()


async def test_nothing_is_counted_without_the_limit(link_wat: Any) -> None:
    linked = await link_wat(CALLS, {"ask": HostFunction(lambda: None)})
    assert linked.pace is None


@pytest.fixture(autouse=True)
def logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "wasmplex.engine")
