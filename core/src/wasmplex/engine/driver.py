"""Runs guest code from the event loop.

wasmtime gives a future for every call. Polling it runs the guest until it ends, calls a host function
that has to wait, or has used up its time slice. wasmtime's waker is never called, so the driver must know
which of the two it was: a host function that waits has left its coroutine in ``state.waiting``.

The coroutine's first step has then already run, on the guest's stack but in the task of the call, and what it
yielded (an `asyncio.Future`, usually) is handed to the event loop by that same task: a host call costs no
task, sees the task's context variables, and is cancelled with it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Generator
from typing import Any

from wasmplex.engine.capi import future_delete, future_poll
from wasmplex.engine.memory import U8
from wasmplex.engine.store import StoreState
from wasmplex.values import Err

__all__ = ["HostFailure", "drive", "reentered"]

_FIRST = object()

# Where all tasks of a guest have yielded it pauses, as it does while the adapters of the bridge yield. A few
# times it goes on at once: what others could do in a turn of the loop is seldom what it waits for.
_PAUSES = 8

# A guest that pauses again and again without using up a time slice waits for something that never comes.
# It has until its deadline, but not the processor.
_STALLS = 1000
_STALL_SECONDS = 0.002


class HostFailure(Exception):
    """A host function raised what its type does not declare; carries it to where the trap is made."""

    def __init__(self, function: str, error: Exception) -> None:
        super().__init__(function)
        self.function = function
        self.error = error


class _Resumed:
    """Awaits a coroutine that was already started: re-yields its first yield, then forwards."""

    __slots__ = ("_coroutine", "_first")

    def __init__(self, coroutine: Coroutine[Any, Any, Any], first: Any) -> None:
        self._coroutine = coroutine
        self._first = first

    def __await__(self) -> Generator[Any, Any, Any]:
        return self  # a generator's protocol without its frame

    def __iter__(self) -> _Resumed:
        return self

    def __next__(self) -> Any:
        return self.send(None)

    def send(self, value: Any) -> Any:
        if (first := self._first) is not _FIRST:
            self._first = _FIRST
            return first
        return self._coroutine.send(value)

    def throw(self, *args: Any) -> Any:
        self._first = _FIRST
        try:
            return self._coroutine.throw(*args)
        finally:
            del args  # else the error would refer to itself, by its traceback and this frame

    def close(self) -> None:
        self._coroutine.close()


async def drive(state: StoreState, future: int, poll: Callable[[int], bool] = future_poll) -> None:
    """Run a wasmtime call future to its end, and free it. Freeing it early cancels the call.

    :param poll: polls it
    :raises HostFailure: if a host function that had suspended the guest failed
    """
    ticker, turns, share, pace = state.ticker, state.turns, state.share, state.pace
    stalls = slices = 0
    try:
        while True:
            if pace is not None and (ahead := pace.ahead()) > 0:
                await pace.wait(ahead)
            # A tick may come when a guest has hardly begun: what has seen one goes on like any other.
            if slices > 1 or (ticker.ticks >= turns.until and not turns.begin()):
                await turns.wait(share, computing=slices > 0)
            state.refresh_epoch()
            ticks = ticker.ticks
            state.polling = True
            if poll(future):
                share.spent += ticker.ticks - ticks
                break
            state.polling = False
            if ticks == ticker.ticks and state.waiting is None and (stalls + 1) % _PAUSES:
                stalls += 1
                continue
            if state.paused is not None:
                state.paused(state.waiting is not None)
            if state.waiting is not None:
                share.spent += ticker.ticks - ticks
                stalls = slices = 0
                await _wait(state)
            elif ticks == ticker.ticks:
                stalls, slices = stalls + 1, 0
                await asyncio.sleep(0 if stalls < _STALLS else _STALL_SECONDS)
            else:
                share.spent += ticker.ticks - ticks
                ticker.pressed = ticker.pressed or slices > 0
                stalls, slices = 0, slices + 1
    finally:
        future_delete(future)
        state.waiting = state.task = state.paused = None
        state.polling = False


def _current_task() -> asyncio.Task[Any] | None:
    try:
        return asyncio.current_task()
    except RuntimeError:  # driven by hand, without an event loop
        return None


def reentered(state: StoreState) -> bool:
    """Say whether who asks is a host function that the guest in the store waits for, or was called by one."""
    return state.polling or (state.task is not None and state.task is _current_task())


async def _wait(state: StoreState) -> None:
    """Wait for the host function that has suspended the guest, and deliver its result."""
    assert state.waiting is not None  # noqa: S101  the caller has looked
    coroutine, first, finish, finish_err, slot, name = state.waiting
    state.waiting = None
    state.task = _current_task()
    try:
        try:
            value = await _Resumed(coroutine, first)
        except Err as err:
            if finish_err is None:
                raise
            finish_err(state.ctx, state, slot, err.value)
        else:
            finish(state.ctx, state, slot, value)
    except Exception as error:
        # wasmtime looks at the error slot only before a suspension: the call must be given up.
        raise HostFailure(name, error) from error
    U8[state.flag] = 1
