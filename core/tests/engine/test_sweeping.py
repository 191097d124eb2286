"""What an ended instance held: dropped once, all of it, in linear time and not at the cost of others."""

from __future__ import annotations

import asyncio
import gc
import logging
import threading
import time
from typing import Any

import pytest
from wasmplex.engine.resources import HostObjects
from wasmplex.engine.sweeping import FEW, Sweeper
from wasmplex.errors import LimitReached

pytestmark = pytest.mark.anyio


class Thing:
    def __init__(self, dropped: list[Thing]) -> None:
        self._dropped = dropped

    def drop(self) -> None:
        self._dropped.append(self)


def table(*values: Any, most: int = 1_000_000) -> HostObjects:
    objects = HostObjects("shop", most)
    for value in values:
        objects.add(value)
    return objects


async def test_few_are_dropped_at_once_the_youngest_first() -> None:
    dropped: list[Thing] = []
    things = [Thing(dropped) for _ in range(FEW)]
    Sweeper().sweep(table(*things))
    assert dropped == things[::-1]


async def test_many_are_dropped_in_turns_of_the_loop() -> None:
    class Slow(Thing):
        def drop(self) -> None:
            until = time.perf_counter() + 0.001
            while time.perf_counter() < until:
                pass
            super().drop()

    dropped: list[Thing] = []
    sweeper, objects = Sweeper(), table(*(Slow(dropped) for _ in range(FEW + 36)))
    sweeper.sweep(objects)
    assert (len(dropped), len(sweeper)) == (0, FEW + 36)
    most = before = 0
    while len(sweeper):
        await asyncio.sleep(0)
        most, before = max(most, len(dropped) - before), len(dropped)
    assert len(dropped) == FEW + 36
    assert most < FEW // 2  # of a millisecond each


async def test_instances_that_end_meanwhile_take_their_turn(caplog: Any) -> None:
    dropped: list[Thing] = []
    sweeper = Sweeper()
    for _ in range(5):
        sweeper.sweep(table(*(Thing(dropped) for _ in range(FEW * 3))))
        await asyncio.sleep(0)
    await sweeper.swept()
    assert (len(dropped), len(sweeper)) == (15 * FEW, 0)


def test_without_a_loop_all_of_it_is_dropped_now() -> None:
    dropped: list[Thing] = []
    Sweeper().sweep(table(*(Thing(dropped) for _ in range(FEW * 3))))
    assert len(dropped) == FEW * 3


async def test_what_waits_is_dropped_when_the_engine_ends() -> None:
    dropped: list[Thing] = []
    sweeper = Sweeper()
    sweeper.sweep(table(*(Thing(dropped) for _ in range(FEW * 3))))
    thread = threading.Thread(target=sweeper.finish)  # the interpreter may end an engine in any thread
    thread.start()
    thread.join()
    assert (len(dropped), len(sweeper)) == (FEW * 3, 0)


async def test_what_cannot_be_dropped_keeps_nobody_else_and_is_told_once(caplog: Any) -> None:
    class Bad(Thing):
        def drop(self) -> None:
            raise SystemExit("disk" if len(told) else "first")

    class Late(Thing):
        async def drop(self) -> None:  # type: ignore[override]
            raise AssertionError("nobody waits for it")

    told: list[tuple[str, BaseException]] = []
    dropped: list[Thing] = []
    sweeper = Sweeper(lambda workload, error: told.append((workload, error)))
    with caplog.at_level(logging.WARNING):
        sweeper.sweep(table(Late(dropped), Thing(dropped), Bad(dropped), Thing(dropped), Bad(dropped)))
    assert len(dropped) == 2
    assert [(workload, str(error)) for workload, error in told] == [("shop", "first")]
    assert "dropping 2 more" in caplog.text


async def test_who_cannot_be_told_keeps_nobody_else() -> None:
    class Bad(Thing):
        def drop(self) -> None:
            raise OSError

    dropped: list[Thing] = []
    Sweeper(lambda workload, error: 1 / 0).sweep(table(Thing(dropped), Bad(dropped)))  # type: ignore[arg-type]
    assert len(dropped) == 1


def test_an_object_behind_several_handles_is_dropped_with_the_last() -> None:
    dropped: list[Thing] = []
    one, other = Thing(dropped), Thing(dropped)
    objects = table(one, other, one)
    first, second, third = objects.entries
    objects.drop(third)
    assert not dropped
    assert objects.take(second) is other
    objects.forget(one)  # it has a handle still
    assert not dropped
    objects.drop(first)
    assert dropped == [one]
    objects.forget(other)
    assert dropped == [one, other]


def test_to_hold_and_end_takes_linear_time() -> None:
    def seconds(count: int) -> float:
        dropped: list[Thing] = []
        begun = time.perf_counter()
        objects = table(*(Thing(dropped) for _ in range(count)))
        for rep in list(objects.entries)[::2]:
            objects.drop(rep)
        Sweeper().sweep(objects)
        assert len(dropped) == count
        return time.perf_counter() - begun

    gc.collect()
    gc.disable()
    try:
        few, many = (min(seconds(count) for _ in range(5)) for count in (2_500, 40_000))
    finally:
        gc.enable()
    assert many / few < 100  # 16 times as many; squared, 256


def test_no_more_handles_than_there_may_be() -> None:
    objects = table(*range(1, 6), most=5)
    with pytest.raises(
        LimitReached, match=r"limits\.handles.*\n.*holds 5 resources(.|\n)*raise limits\.handles"
    ):
        objects.add(7)
    objects.drop(2)
    objects.add(8)
    assert len(objects) == 5
