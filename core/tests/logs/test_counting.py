"""Warnings that are repeated are counted, and never lost sight of."""

from __future__ import annotations

import asyncio
import gc
import logging
import weakref
from typing import Any

import pytest
from wasmplex.logs import Counted, Origin


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Log:
    """A logger whose one handler counts."""

    def __init__(self, **options: Any) -> None:
        self.lines: list[str] = []
        self.clock = Clock()
        self.logger = logging.Logger("log")
        handler = logging.Handler()
        handler.emit = lambda record: self.lines.append(record.getMessage())  # type: ignore[method-assign]
        self.counted = Counted(handler.emit, clock=self.clock, **options)
        handler.addFilter(self.counted)
        self.logger.addHandler(handler)


@pytest.fixture
def log() -> Log:
    return Log(few=2, window=10)


def test_the_first_few_pass_and_the_others_are_counted(log: Log) -> None:
    for number in range(5000):
        log.logger.warning("it failed: %s", number)
    assert log.lines == ["it failed: 0", "it failed: 1"]
    log.clock.now = 10
    log.logger.warning("it failed: %s", "again")
    assert log.lines[2:] == [
        "… 4,998 more like it in the last 10 s, the last: it failed: 4999",
        "it failed: again",
    ]


def test_what_differs_is_counted_apart(log: Log) -> None:
    for _ in range(3):
        log.logger.warning("one %d%%", 5)
        log.logger.error("two")
        log.logger.warning("two", extra={"repeats": "other"})
        with Origin("shop"):
            log.logger.warning("one %d%%", 5)
    assert sorted(log.lines) == ["one 5%"] * 4 + ["two"] * 4
    log.clock.now = 4.5
    log.counted.flush()
    assert sorted(log.lines[8:]) == [
        "… 1 more like it in the last 4.5 s, the last: one 5%",
        "… 1 more like it in the last 4.5 s, the last: one 5%",
        "… 1 more like it in the last 4.5 s, the last: two",
        "… 1 more like it in the last 4.5 s, the last: two",
    ]
    log.counted.flush()
    assert len(log.lines) == 12


def test_what_is_no_warning_is_not_held_back_and_tells_of_what_was(log: Log) -> None:
    for _ in range(3):
        log.logger.warning("w")
    for _ in range(100):
        log.logger.info("i")
    assert log.lines.count("i") == 100
    log.clock.now = 10
    log.logger.info("i")
    assert log.lines[-2:] == ["… 1 more like it in the last 10 s, the last: w", "i"]


def test_what_counts_itself_is_not_held_back(log: Log) -> None:
    for number in range(10):
        log.logger.warning("%d were left out", number, extra={"counts": True})
    assert len(log.lines) == 10


def test_a_window_without_repetitions_ends_in_silence(log: Log) -> None:
    log.logger.warning("w")
    log.clock.now = 100
    log.counted.flush(100)
    assert log.lines == ["w"]


def test_more_kinds_than_are_told_apart_are_one(log: Log) -> None:
    for number in range(1100):
        log.logger.warning("w", extra={"repeats": number})
    assert len(log.lines) == 1002
    log.counted.flush()
    assert log.lines[1002:] == ["… 98 more like it in the last 0 s, the last: w"]


def test_what_is_held_back_keeps_nothing_alive(log: Log) -> None:
    class Instance:
        pass

    def fail(instance: Instance) -> None:
        raise ValueError(instance)

    seen = []
    for _ in range(5):
        instance = Instance()
        seen.append(weakref.ref(instance))
        try:
            fail(instance)
        except ValueError:
            log.logger.exception("failed: %s", instance)
        del instance
    gc.collect()
    assert [reference() for reference in seen] == [None] * 5
    log.counted.flush()
    assert "3 more like it" in log.lines[-1]
    assert "Instance object at" in log.lines[-1]


def test_silence_after_a_flood_does_not_keep_the_number() -> None:
    log = Log(few=1, window=0.01)

    async def main() -> None:
        log.clock.now = 1.0
        for _ in range(3):
            log.logger.warning("w")
        log.clock.now = 1.02
        while len(log.lines) < 2:  # noqa: ASYNC110  what a logger does sets no event
            await asyncio.sleep(0.005)

    for _ in range(2):  # in a second event loop as well
        log.lines.clear()
        log.clock.now = 0
        log.counted.flush()
        asyncio.run(asyncio.wait_for(main(), 20))
        assert log.lines == ["w", "… 2 more like it in the last 0.02 s, the last: w"]
