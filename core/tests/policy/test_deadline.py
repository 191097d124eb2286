"""`wasmplex.policy.deadline.within`."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import weakref
from itertools import count
from typing import Any

import anyio
import pytest
from wasmplex.policy.deadline import within

pytestmark = pytest.mark.anyio


async def test_what_never_waits_starts_no_timer(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()

    def no_timer(*args: object) -> None:
        raise AssertionError("a timer was started")

    async def immediate() -> int:
        return 42

    monkeypatch.setattr(type(loop), "call_later", no_timer)
    assert await within(1, immediate()) == 42


async def test_what_is_raised_at_once_is_raised() -> None:
    async def failing() -> None:
        raise LookupError("x")

    with pytest.raises(LookupError):
        await within(1, failing())


@pytest.mark.parametrize("wait", [0, 0.01])
async def test_what_waits_within_the_deadline_returns(wait: float) -> None:
    async def waiting() -> str:
        await anyio.sleep(wait)
        await asyncio.sleep(0)
        return "done"

    assert await within(10, waiting()) == "done"


async def test_an_error_after_waiting_is_raised() -> None:
    async def failing() -> None:
        await asyncio.sleep(0)
        raise LookupError("x")

    with pytest.raises(LookupError):
        await within(10, failing())


async def test_at_the_deadline_the_operation_is_cancelled_and_can_clean_up() -> None:
    cleaned = []

    async def slow() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.01)  # the cancellation is delivered once: this wait is not cut short
            cleaned.append(True)

    with pytest.raises(TimeoutError):
        await within(0.02, slow())
    assert cleaned == [True]


async def test_an_operation_that_only_lets_the_loop_turn_is_cancelled_too() -> None:
    async def spinning() -> None:
        for _ in count():
            await asyncio.sleep(0)

    with pytest.raises(TimeoutError):
        await within(0.02, spinning())


async def test_a_result_that_comes_in_spite_of_the_cancellation_counts() -> None:
    async def stubborn() -> str:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            return "finished"
        return "slept"

    assert await within(0.02, stubborn()) == "finished"


async def test_cancelling_the_caller_is_no_timeout() -> None:
    async def slow() -> None:
        await asyncio.sleep(60)

    task = asyncio.create_task(_as_coroutine(within(60, slow())))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_scopes_inside_the_operation_keep_working() -> None:
    async def scoped() -> str:
        with anyio.move_on_after(0.01):
            await anyio.sleep(60)
        return await anyio.to_thread.run_sync(lambda: "thread")

    assert await within(30, scoped()) == "thread"


async def test_a_scope_around_it_cancels_it() -> None:
    async def slow() -> None:
        await asyncio.sleep(60)

    with anyio.move_on_after(0.02) as scope:
        await within(60, slow())
    assert scope.cancelled_caught


async def test_the_first_step_may_be_taken_by_another_task() -> None:
    async def slow() -> None:
        await asyncio.sleep(60)

    operation = _as_coroutine(within(0.05, slow()))
    awaited = operation.send(None)

    class Rest:
        def __await__(self) -> Any:
            nonlocal awaited
            error: BaseException | None = None
            while True:
                try:
                    yield awaited
                except BaseException as thrown:
                    error = thrown
                try:
                    awaited = operation.send(None) if error is None else operation.throw(error)
                except StopIteration as done:
                    return done.value

    async def rest() -> Any:
        return await Rest()

    with pytest.raises(TimeoutError):
        await asyncio.create_task(rest())


async def test_what_ends_it_is_not_kept_by_what_it_went_through() -> None:
    class Thrown(asyncio.CancelledError):
        pass

    async def waiting() -> None:
        await asyncio.get_running_loop().create_future()

    gc.disable()  # circles are to stay
    try:
        stepped = within(60, waiting())
        stepped.send(None)
        error = Thrown()
        kept = weakref.ref(error)
        with contextlib.suppress(Thrown):
            stepped.throw(error)
        del error, stepped
        assert kept() is None
    finally:
        gc.enable()


async def _as_coroutine(awaitable: Any) -> Any:
    return await awaitable
