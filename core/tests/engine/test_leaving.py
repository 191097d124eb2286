"""Calls that ended instances have under way: all are cancelled, a few in each turn of the loop."""

from __future__ import annotations

import asyncio
from collections import Counter
from functools import partial

import anyio
import pytest
from wasmplex.engine.leaving import FEW, Cancelling, Leaving

pytestmark = pytest.mark.anyio


async def test_few_are_cancelled_at_once() -> None:
    cancelled: list[int] = []
    leaving = Leaving(Cancelling(), 100)
    leaving.add([partial(cancelled.append, n) for n in range(FEW)])
    assert cancelled == list(range(FEW))


async def test_many_are_cancelled_in_turns_of_the_loop_those_of_all_workloads_in_turn() -> None:
    cancelled: Counter[str] = Counter()
    cancelling = Cancelling()
    many, some = Leaving(cancelling, 100), Leaving(cancelling, 100)
    many.add([partial(cancelled.update, ["many"]) for _ in range(1000)])
    many.add([partial(cancelled.update, ["many"])])
    some.add([partial(cancelled.update, ["some"]) for _ in range(20)])
    assert not cancelled
    most = before = 0
    turns = 0
    while many:
        await asyncio.sleep(0)
        turns += 1
        most, before = max(most, cancelled.total() - before), cancelled.total()
        if turns == 4:
            assert cancelled["some"] == 20, "they do not wait for those of the other"
    assert cancelled == {"many": 1001, "some": 20}
    assert most <= 64
    await cancelling.done()
    many.add([partial(cancelled.update, ["again"]) for _ in range(100)])
    await cancelling.done()
    assert cancelled["again"] == 100


async def test_whoever_has_too_many_waits_with_the_next_instance() -> None:
    cancelled: list[int] = []
    leaving = Leaving(Cancelling(), 100)
    leaving.add([partial(cancelled.append, n) for n in range(100)])
    with anyio.fail_after(1):
        await leaving.room()
    assert len(leaving) == 100, "so many are no reason to wait"
    leaving.add([partial(cancelled.append, n) for n in range(1000)])
    with anyio.move_on_after(0):
        await leaving.room()
    assert len(leaving) > 100
    with anyio.fail_after(5):
        await leaving.room()
    assert len(leaving) <= 100


def test_all_are_cancelled_at_once_where_no_loop_runs() -> None:
    cancelled: list[int] = []
    cancelling = Cancelling()
    leaving = Leaving(cancelling, 100)
    leaving.add([partial(cancelled.append, n) for n in range(1000)])
    assert len(cancelled) == 1000

    async def leave_some() -> None:
        leaving.add([partial(cancelled.append, n) for n in range(1000)])

    asyncio.run(leave_some())
    cancelling.finish()
    assert len(cancelled) == 2000
