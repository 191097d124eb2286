"""Deadlines of calls that all get the same time: one timer for all of them, not one for each."""

from __future__ import annotations

from asyncio import AbstractEventLoop, TimerHandle, get_running_loop

import anyio

__all__ = ["Deadlines"]


class Deadlines:
    """Cancels scopes that are still running when their time is over.

    Whoever starts first is due first, so that only the oldest has to be looked at.

    :param seconds: how long each may run; 0 for as long as it likes
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._due: dict[anyio.CancelScope, float] = {}
        self._timer: TimerHandle | None = None
        self._loop: AbstractEventLoop | None = None

    def start(self, scope: anyio.CancelScope) -> None:
        """Let the time of a scope begin."""
        if not self._seconds:
            return
        if self._loop is None:
            self._loop = get_running_loop()
        when = self._due[scope] = self._loop.time() + self._seconds
        if self._timer is None:
            self._timer = self._loop.call_at(when, self._expire)

    def stop(self, scope: anyio.CancelScope) -> None:
        """Forget a scope that has ended."""
        self._due.pop(scope, None)

    def close(self) -> None:
        """Let nothing be due any more."""
        self._due.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _expire(self) -> None:
        assert self._loop is not None  # noqa: S101  it has called this
        self._timer = None
        now = self._loop.time()
        while self._due:
            scope, when = next(iter(self._due.items()))
            if when > now:
                self._timer = self._loop.call_at(when, self._expire)
                return
            del self._due[scope]
            scope.cancel()
