"""Threads for system calls that block, a few for each workload or backend.

A call on a file system that has gone away blocks its thread for ever. So the threads of one owner are
counted, and its calls wait for one of them, not those of others; a call that is given up leaves its thread to
the system and ends at its deadline; and the threads are daemons, or the process could not end.
(`anyio.to_thread` and `concurrent.futures` have neither the second with a count that stays right, nor the
third.)
"""

from __future__ import annotations

import threading
from asyncio import AbstractEventLoop, Future, get_running_loop
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

__all__ = ["MOST", "Threads"]

T = TypeVar("T")

MOST = 8
"""Threads of one owner, unless it says otherwise."""

_IDLE = 10.0
"""Seconds after which a thread that has had nothing to do ends."""


class Threads:
    """Calls blocking functions, in up to so many threads.

    :param name: what the threads are called
    """

    def __init__(self, name: str, most: int = MOST) -> None:
        self._name = name
        self._most = most
        self._jobs: deque[_Job] = deque()
        self._changed = threading.Condition()
        self._live = self._idle = 0
        self._closed = False

    @property
    def live(self) -> int:
        """How many threads there are."""
        return self._live

    async def run(self, function: Callable[..., T], *args: Any) -> T:
        """Call a function in a thread; raise what it raises.

        Given up before a thread takes it, it is not called. Given up later, it goes on to its end, and what
        it returns is dropped.
        """
        job = self._begin(function, args)
        try:
            result: T = await job.future
        except BaseException:
            with self._changed, suppress(ValueError):
                self._jobs.remove(job)
            raise
        return result

    def start(self, function: Callable[..., T], *args: Any) -> Future[T]:
        """Have a function called in a thread; return what will have its result. Cancelled, it is given up."""
        return self._begin(function, args).future

    def _begin(self, function: Callable[..., Any], args: tuple[Any, ...]) -> _Job:
        job = _Job(get_running_loop(), function, args)
        with self._changed:
            if self._closed:
                raise RuntimeError(f"the threads {self._name!r} have ended")
            self._jobs.append(job)
            if self._idle >= len(self._jobs):
                self._changed.notify()
            elif self._live < self._most:
                self._another(job)
        return job

    def _another(self, job: _Job) -> None:
        """Start one more thread. Where the system has none left, those there are do it all."""
        self._live += 1
        try:
            threading.Thread(target=self._work, name=self._name, daemon=True).start()
        except RuntimeError:
            self._live -= 1
            if not self._live:
                self._jobs.remove(job)
                raise

    def close(self) -> None:
        """Let the threads end, each when it has done what it does; what waits for one is given up."""
        with self._changed:
            self._closed = True
            waiting, self._jobs = self._jobs, deque()
            self._changed.notify_all()
        for job in waiting:
            job.future.cancel()

    def _work(self) -> None:
        while (job := self._next()) is not None:
            job.run()
            del job  # what it holds must not live until the next one

    def _next(self) -> _Job | None:
        with self._changed:
            while not self._jobs:
                self._idle += 1
                in_time = not self._closed and self._changed.wait(_IDLE)
                self._idle -= 1
                if not self._jobs and (self._closed or not in_time):
                    self._live -= 1
                    return None
            return self._jobs.popleft()


class _Job:
    def __init__(self, loop: AbstractEventLoop, function: Callable[..., Any], args: tuple[Any, ...]) -> None:
        self.future: Future[Any] = loop.create_future()
        self._loop = loop
        self._function = function
        self._args = args

    def run(self) -> None:
        """Call the function, and have the loop told of what came of it."""
        if self.future.cancelled():
            return
        try:
            settled = partial(self._return, self._function(*self._args))
        except BaseException as error:  # noqa: BLE001  it is raised where the result is awaited
            settled = partial(self._raise, error)
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(settled)

    def _return(self, value: Any) -> None:
        if not self.future.done():
            self.future.set_result(value)

    def _raise(self, error: BaseException) -> None:
        if isinstance(error, StopIteration):  # a future takes any other
            error = RuntimeError(f"a function called in a thread raised {error!r}")
        if not self.future.done():
            self.future.set_exception(error)
