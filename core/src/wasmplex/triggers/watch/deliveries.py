"""Delivers changes: those of one key in order, one after the other; those of different keys side by side."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable

import anyio
from anyio.abc import TaskGroup

from wasmplex.capabilities.keyvalue import Change
from wasmplex.errors import LimitExceeded, WasmplexError
from wasmplex.logs import Origin, get_logger

__all__ = ["MAX_WAITING", "Deliveries"]

logger = get_logger("wasmplex.watch")

MAX_WAITING = 1000
"""Changes that may wait for their turn; the next one is not taken from the backend before."""

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 10.0
"""Seconds between attempts; each pause is twice as long as the one before."""


class Deliveries:
    """The changes under way to one component.

    :param deliver: calls the component
    :param tasks: where to run
    :param most: how many calls may be under way at once
    :param attempts: how often a change is tried before it is given up; one that finds all instances taken
        is tried until there is one
    :param what: whose changes these are, for the log
    :param workload: the component's, for the log
    """

    def __init__(
        self,
        deliver: Callable[[Change], Awaitable[None]],
        tasks: TaskGroup,
        *,
        most: int,
        attempts: int,
        what: str,
        workload: str = "",
    ) -> None:
        self._deliver = deliver
        self._tasks = tasks
        self._attempts = attempts
        self._what = what
        self._workload = workload
        self._slots = anyio.Semaphore(most)
        self._room = anyio.Semaphore(MAX_WAITING)
        self._waiting: dict[str, deque[Change]] = {}
        self._idle = anyio.Event()
        self._idle.set()
        self.given_up = 0
        """Changes that the component was not told of, because every attempt failed."""

    async def put(self, change: Change) -> None:
        """Take a change; wait while too many are under way."""
        await self._room.acquire()
        if change.key in self._waiting:
            self._waiting[change.key].append(change)
            return
        self._waiting[change.key] = deque([change])
        if self._idle.is_set():
            self._idle = anyio.Event()
        self._tasks.start_soon(self._in_order, change.key)

    async def finish(self) -> None:
        """Return when every change that was taken has been delivered or given up."""
        await self._idle.wait()

    async def _in_order(self, key: str) -> None:
        changes = self._waiting[key]
        with Origin(self._workload):
            while changes:
                await self._persist(changes[0])
                changes.popleft()
                self._room.release()
        del self._waiting[key]
        if not self._waiting:
            self._idle.set()

    async def _persist(self, change: Change) -> None:
        """Deliver a change, again and again if need be."""
        pause, attempt = FIRST_PAUSE, 0
        while attempt < self._attempts:
            try:
                async with self._slots:
                    await self._deliver(change)
            except LimitExceeded:
                pass  # the component was not called
            except WasmplexError as error:
                attempt += 1
                logger.warning("%s: delivery %d of a change failed: %s", self._what, attempt, error)
            else:
                return
            if attempt < self._attempts:
                await anyio.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE)
        self.given_up += 1
        logger.error("%s: a change was given up after %d attempts", self._what, attempt)
