"""A thread for the long steps of wasmtime that call nothing of the host: large instances begin and end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final

from wasmplex.engine.capi import future_delete, future_poll

if TYPE_CHECKING:
    from wasmplex.engine.store import StoreState

__all__ = ["Worker"]

_BACKLOG: Final = 2


class Worker:
    """One thread, started when it is first needed; what it does in wasmtime, it does without the GIL."""

    def __init__(self) -> None:
        self._executor: ThreadPoolExecutor | None = None
        self._closed = False
        # Two counts with one writer each, instead of one that two threads write.
        self._posted = 0
        self._done = 0

    @property
    def busy(self) -> bool:
        """True if it has so much to do that it is better not to wait for it."""
        return self._posted - self._done >= _BACKLOG

    async def drive(self, state: StoreState, future: int) -> None:
        """Run a wasmtime call future to its end, and free it, as `driver.drive` does.

        Only for what calls no host function: those belong to the event loop's thread.
        """
        try:
            while not await self._poll(future):
                state.refresh_epoch()
        finally:
            future_delete(future)

    async def _poll(self, future: int) -> bool:
        job = asyncio.wrap_future(self._submit(future_poll, future))
        cancelled: asyncio.CancelledError | None = None
        while not job.done():
            try:
                await asyncio.wait([job])
            except asyncio.CancelledError as error:  # nobody may delete what is being polled
                cancelled = error
        if cancelled is not None:
            raise cancelled
        done: bool = job.result()
        return done

    def post(self, function: Callable[..., object], *args: Any) -> None:
        """Have a function called, at once if the worker has been closed. It must not raise."""
        if self._closed:
            function(*args)
        else:
            self._submit(function, *args)

    def _submit(self, function: Callable[..., Any], *args: Any) -> Future[Any]:
        if self._executor is None:
            self._executor = ThreadPoolExecutor(1, thread_name_prefix="wasmplex instances")
        self._posted += 1
        job = self._executor.submit(function, *args)
        job.add_done_callback(self._ended)
        return job

    def _ended(self, _: Future[Any]) -> None:
        self._done += 1

    def close(self, *, wait: bool = True) -> None:
        """End the thread, after what it has to do; wait for that."""
        self._closed = True
        executor, self._executor = self._executor, None
        if executor is not None:
            executor.shutdown(wait)
