"""Tasks that run at once until they first wait."""

from __future__ import annotations

import asyncio
import gc
import weakref
from contextvars import ContextVar

import pytest
from wasmplex.bridge.eager import spawn

pytestmark = pytest.mark.anyio
whose = ContextVar("whose", default="the caller's")


async def test_what_does_not_wait_is_done_at_once() -> None:
    async def add(one: int, other: int) -> int:
        return one + other

    async def fail() -> None:
        raise OSError("no")

    async def cancelled() -> None:
        raise asyncio.CancelledError

    mine = asyncio.current_task()
    assert spawn(add(1, 2)).result() == 3
    with pytest.raises(OSError, match="no"):
        spawn(fail()).result()
    assert spawn(cancelled()).cancelled()
    assert asyncio.current_task() is mine


async def test_all_of_it_is_one_task_with_its_own_context() -> None:
    seen = []

    async def work() -> str:
        whose.set("its own")
        seen.append(asyncio.current_task())
        async with asyncio.timeout(60):
            await asyncio.sleep(0)
            seen.append(asyncio.current_task())
        return whose.get()

    task = spawn(work())
    assert len(seen) == 1
    assert whose.get() == "the caller's"
    assert await task == "its own"
    assert seen == [task, task]


@pytest.mark.parametrize("turns", [0, 1, 2])
async def test_it_is_cancelled_where_it_waits(turns: int) -> None:
    told = []

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            told.append("cancelled")
            await asyncio.sleep(0)
            told.append("cleaned up")
            raise

    task = spawn(work())
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert told == ["cancelled", "cleaned up"]


@pytest.mark.parametrize("turns", [0, 1])
async def test_what_it_waits_for_is_cancelled_with_it(turns: int) -> None:
    parts: list[asyncio.Future[object]] = []

    async def work() -> None:
        parts.append(asyncio.ensure_future(asyncio.Event().wait()))
        await parts[0]

    task = spawn(work())
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert parts[0].cancelled()


async def test_a_task_that_is_over_may_be_cancelled(caplog: pytest.LogCaptureFixture) -> None:
    async def work() -> int:
        return 1

    before = asyncio.all_tasks()
    done = spawn(work())
    for left in asyncio.all_tasks() - before:  # as at the end of a loop
        left.cancel()
    assert await done == 1
    await asyncio.sleep(0)
    gc.collect()
    assert "never retrieved" not in caplog.text


async def test_a_timeout_in_its_first_step_is_its_own() -> None:
    async def work() -> str:
        try:
            async with asyncio.timeout(0.001):
                await asyncio.Event().wait()
        except TimeoutError:
            return "in time"
        return "never"

    assert await spawn(work()) == "in time"


async def test_what_was_cancelled_is_no_circle() -> None:
    """Thousands may be cancelled at once, and full collections are seldom in a process that serves."""
    freed: list[bool] = []

    async def wait() -> None:
        held = asyncio.Event()
        weakref.finalize(held, freed.append, True)
        await held.wait()

    gc.collect()
    gc.disable()
    try:
        for turns in range(3):
            task = spawn(wait())
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])
            del task
        await asyncio.sleep(0)
        assert freed == [True] * 3
    finally:
        gc.enable()
