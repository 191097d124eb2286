"""The tasks in which the requests of a connection are answered."""

from __future__ import annotations

from asyncio import AbstractEventLoop, Future

from wasmplex.scopes import TaskScope
from wasmplex.triggers.http.http1.cycle import Cycle
from wasmplex.triggers.http.http1.shared import Shared

__all__ = ["Worker"]


class Worker:
    """Runs one request after the other: a task for each connection costs less than one for each request.

    A handler that goes on after its answer holds nobody up: the next request gets a task of its own, and one
    of the two ends.
    """

    __slots__ = ("_ended", "_loop", "_shared", "_waiter")

    def __init__(self, shared: Shared, loop: AbstractEventLoop) -> None:
        self._shared = shared
        self._loop = loop
        self._waiter: Future[Cycle | None] | None = None  # of a task that waits for a request
        self._ended = False

    def run(self, cycle: Cycle) -> None:
        """Have a request answered."""
        if self._waiter is not None:
            waiter, self._waiter = self._waiter, None
            waiter.set_result(cycle)
            return
        task = self._loop.create_task(self._work(cycle))
        self._shared.tasks.add(task)
        task.add_done_callback(self._shared.ended)

    def end(self) -> None:
        """Wait for no more requests; those under way go on."""
        self._ended = True
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def _work(self, cycle: Cycle | None) -> None:
        handle = self._shared.handle
        with TaskScope() as scope:
            while cycle is not None:
                await cycle.run(handle, scope)
                if self._waiter is not None or self._ended:
                    return
                self._waiter = waiter = self._loop.create_future()
                try:
                    cycle = await waiter
                finally:
                    if self._waiter is waiter:
                        self._waiter = None
