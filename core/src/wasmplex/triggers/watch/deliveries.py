"""Delivers changes: those of one key in order, one after the other; those of different keys side by side."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from time import perf_counter

import anyio
from anyio.abc import TaskGroup

from wasmplex.capabilities.keyvalue import Change
from wasmplex.errors import LimitExceeded, exited_well
from wasmplex.logs import Origin, get_logger
from wasmplex.triggers.causes import in_one_line, unforeseen
from wasmplex.triggers.resuming import Pauses

__all__ = ["MAX_WAITING", "MAX_WAITING_BYTES", "Deliveries"]

logger = get_logger("wasmplex.watch")

MAX_WAITING = 1000
"""Changes that may wait for their turn; the next one is not taken from the backend before."""
MAX_WAITING_BYTES = 16 * 2**20
"""Bytes of keys and values that those may have together, if it is not a single one that has more."""


class Deliveries:
    """The changes under way to one component.

    :param deliver: calls the component
    :param tasks: where to run
    :param most: how many calls may be under way at once
    :param attempts: how often a change is tried before it is given up; one that finds all instances taken
        is tried until there is one
    :param what: whose changes these are, for the log
    :param workload: the component's, for the log
    :param largest: bytes that a value may have; None for any
    :param report: told how each call ended and how many seconds it took; see `TriggerBinding`
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
        largest: int | None = None,
        report: Callable[[str, float], None] | None = None,
    ) -> None:
        self._deliver = deliver
        self._tasks = tasks
        self._attempts = attempts
        self._what = what
        self._workload = workload
        self._largest = largest
        self._report = report
        self._slots = anyio.Semaphore(most)
        self._count = self._bytes = 0
        self._room = anyio.Event()
        self._full = False
        self._waiting: dict[str, deque[Change]] = {}
        self._idle = anyio.Event()
        self._idle.set()
        self.given_up = 0
        """Changes that the component was not told of: every attempt failed, or the value is too large."""

    async def put(self, change: Change) -> None:
        """Take a change; wait while too many are under way, or too much."""
        size = len(change.value or b"")
        if self._largest is not None and size > self._largest:
            self.given_up += 1
            logger.error(
                "%s: a change was given up: its value has %d bytes, over max_value", self._what, size
            )
            return
        await self._enter(_size(change))
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

    async def _enter(self, size: int) -> None:
        while self._count >= MAX_WAITING or (self._count and self._bytes + size > MAX_WAITING_BYTES):
            self._room = anyio.Event()
            await self._room.wait()
        self._count += 1
        self._bytes += size

    def _leave(self, size: int) -> None:
        self._count -= 1
        self._bytes -= size
        self._room.set()

    async def _in_order(self, key: str) -> None:
        changes = self._waiting[key]
        with Origin(self._workload):
            while changes:
                await self._persist(changes[0])
                self._leave(_size(changes.popleft()))
        del self._waiting[key]
        if not self._waiting:
            self._idle.set()

    async def _persist(self, change: Change) -> None:
        """Deliver a change, again and again if need be."""
        pauses, attempt = Pauses(), 0
        while attempt < self._attempts:
            if (error := await self._failure(change)) is None:
                self._full = False
                return
            if _never_called(error):
                self._tell_full(error)
            else:
                attempt += 1
                self._tell_failed(attempt, error)
            if attempt < self._attempts:
                await anyio.sleep(pauses.next())
        self.given_up += 1
        logger.error("%s: a change was given up after %d attempts", self._what, attempt)

    async def _failure(self, change: Change) -> Exception | None:
        """Deliver a change; return what went wrong."""
        failure: Exception | None = None
        async with self._slots:
            begun = perf_counter()
            try:
                await self._deliver(change)
            except Exception as error:  # noqa: BLE001  whatever it is, other changes are to be delivered
                failure = None if exited_well(error) else error
        if self._report is not None and not _never_called(failure):
            self._report("ok" if failure is None else "failed", perf_counter() - begun)
        return failure

    def _tell_full(self, error: Exception) -> None:
        if not self._full:
            self._full = True
            logger.warning("%s: changes wait for an instance: %s", self._what, in_one_line(error))

    def _tell_failed(self, attempt: int, error: Exception) -> None:
        logger.warning(
            "%s: delivery %d of a change failed: %s", self._what, attempt, in_one_line(error),
            exc_info=unforeseen(error), extra={"repeats": type(error).__name__},
        )  # fmt: skip


def _never_called(error: Exception | None) -> bool:
    return isinstance(error, LimitExceeded) and not error.called


def _size(change: Change) -> int:
    return len(change.key) + len(change.value or b"")
