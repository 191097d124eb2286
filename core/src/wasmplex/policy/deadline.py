"""A deadline that costs nothing until the operation under it waits.

A cancel scope of anyio or asyncio has to be entered before the operation's first step, and belongs to the
task that entered it. Most operations of a local backend finish in their first step, and whoever drives a
host function may take that step in another task than the rest. So `within` steps the coroutine itself,
starts a timer when it first waits, and at the deadline cancels what it waits for, as ``Task.cancel`` does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Generator
from types import coroutine
from typing import Any, TypeVar

__all__ = ["within"]

T = TypeVar("T")


@coroutine
def within(seconds: float, operation: Coroutine[Any, Any, T]) -> Generator[Any, Any, T]:
    """Await `operation`, and cancel it once if it takes longer than `seconds`.

    :raises TimeoutError: if it was cancelled for that reason and did not finish all the same
    """
    try:
        awaited = operation.send(None)
    except StopIteration as done:
        return done.value  # type: ignore[no-any-return]
    expiry = _Expiry(awaited)
    timer = asyncio.get_running_loop().call_later(seconds, expiry.expire)
    try:
        return (yield from _drive(operation, expiry))  # type: ignore[no-any-return]
    except asyncio.CancelledError:
        if not expiry.expired or _is_cancelled():
            raise
        raise TimeoutError(f"no answer within {seconds:g} s") from None
    finally:
        timer.cancel()


def _is_cancelled() -> bool:
    # A function of its own: a task keeps what cancelled it, whose traceback keeps the frames and their
    # variables. A task among those would be left to a garbage collection, and all that it holds.
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


class _Expiry:
    """What an operation awaits now (None: only that the loop turns), and whether its time is up."""

    __slots__ = ("awaited", "due", "expired")

    def __init__(self, awaited: Any) -> None:
        self.awaited = awaited
        self.expired = False
        self.due = False  # time is up and the cancellation has not been delivered yet

    def expire(self) -> None:
        self.expired = self.due = True
        self.deliver()

    def deliver(self) -> None:
        if self.awaited is not None and self.awaited.cancel():
            self.due = False


def _drive(operation: Coroutine[Any, Any, Any], expiry: _Expiry) -> Generator[Any, Any, Any]:
    """Step `operation` to its end; what it awaits is passed on to whoever drives us."""
    while True:
        error: BaseException | None = None
        try:
            yield expiry.awaited
        except GeneratorExit:
            operation.close()
            raise
        except BaseException as thrown:  # noqa: BLE001  it belongs to the operation
            error = thrown
        if error is None and expiry.due and expiry.awaited is None:
            expiry.due = False
            error = asyncio.CancelledError()
        try:
            expiry.awaited = operation.send(None) if error is None else operation.throw(error)
        except StopIteration as done:
            return done.value
        finally:
            error = None  # else it would keep, by its traceback, the frame that keeps it
        if expiry.due:
            expiry.deliver()
