"""The processes that serve one configuration together: kept running, replaced one by one, ended together."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import anyio

from wasmplex.cli.workerprocess import WorkerProcess
from wasmplex.logs import get_logger
from wasmplex.metrics import Family, labelled, merged

if TYPE_CHECKING:
    from anyio.abc import TaskGroup

__all__ = ["Backoff", "Workers"]

log = get_logger("wasmplex.workers")

_GRACE = 15.0
"""Seconds after the drain timeout in which a worker closes its backends; then it is killed."""


@dataclass
class Backoff:
    """How long to wait before a worker that ended is started again.

    :ivar first: seconds before the first attempt; each further pause is twice as long
    :ivar longest: seconds that no pause exceeds
    :ivar steady: seconds after which a worker that served is not held to be one that cannot
    """

    first: float = 0.5
    longest: float = 30.0
    steady: float = 60.0
    _next: float = field(default=0.0, init=False)

    def pause(self, served: float) -> float:
        """Return the seconds to wait for.

        :param served: seconds that the worker served, 0 if it never did
        """
        pause = self.first if served >= self.steady or not self._next else self._next
        self._next = min(2 * pause, self.longest)
        return pause


class Workers:
    """Starts workers and starts those again that end.

    The first one starts alone: it compiles what the others then find in the cache, and what is wrong is said
    once. If it ends before it serves, that is the end of all.

    :param command: what starts a worker
    :param size: how many there are
    :param drain_timeout: seconds that calls under way may take when they stop
    :param hang_timeout: seconds that a worker's event loop may stand still; 0 for as long as it likes
    """

    def __init__(self, command: Sequence[str], size: int, drain_timeout: float, hang_timeout: float) -> None:
        self._command = command
        self.size = size
        self._drain_timeout = drain_timeout
        self._hang_timeout = hang_timeout
        self._sockets: Mapping[str, Sequence[socket.socket]] = {}
        self._processes: set[WorkerProcess] = set()  # all that live
        self._current: dict[int, WorkerProcess] = {}  # those of them that are not relieved
        self._backoffs = {number: Backoff() for number in range(1, size + 1)}
        self._tasks: TaskGroup | None = None
        self._stopping = anyio.Event()
        self._code = 0

    async def run(
        self,
        sockets: Mapping[str, Sequence[socket.socket]],
        stop: anyio.Event,
        *,
        serving: Callable[[], None],
        started: Callable[[], None],
    ) -> int:
        """Keep the workers running until `stop` is set, and end when they have; return the exit code.

        :param sockets: by the name of their trigger, what all of them listen on
        :param serving: called when the first one serves
        :param started: called when every worker serves, or has failed to once
        """
        self._sockets = sockets
        async with anyio.create_task_group() as self._tasks:
            first = await self._start(1)
            if not await first.serves():
                return first.code if first.code >= 0 else 128 - first.code
            self._current[1] = first
            serving()
            self._tasks.start_soon(self._begin_others, started)
            await stop.wait()
            await self._end()
            self._tasks.cancel_scope.cancel()
        return self._code

    @property
    def addresses(self) -> Sequence[str]:
        """Where they serve."""
        return self._current[1].addresses

    async def replace(self, sockets: Mapping[str, Sequence[socket.socket]]) -> bool:
        """Have a new worker take over from each, one after the other.

        :param sockets: what those are handed
        :returns: False if the first of them ended before it served: then all stays as it was
        """
        before, self._sockets = self._sockets, sockets
        for number in range(1, self.size + 1):
            while not self._stopping.is_set():
                successor = await self._start(number)
                if await successor.serves():
                    predecessor, self._current[number] = self._current[number], successor
                    predecessor.relieve()
                    log.info("%s serves, and takes over from %s", successor, predecessor)
                    break
                if number == 1:
                    if successor.code < 0:  # else it has said itself what was wrong
                        log.error("%s %s before it served", successor, successor.fate)
                    self._sockets = before
                    return False
                await self._pause(successor)
        return True

    @property
    def serves(self) -> bool:
        """Whether one of them serves, and none has been told to stop."""
        serving = any(worker.serving.is_set() for worker in self._current.values())
        return serving and not self._stopping.is_set()

    async def figures(self) -> list[Family]:
        """Return the figures of every worker, each with its number as a label."""
        found: list[Family] = []

        async def ask(worker: WorkerProcess) -> None:
            found.extend(labelled(await worker.figures(), "worker", str(worker.number)))

        async with anyio.create_task_group() as tasks:
            for worker in [*self._processes]:
                if worker.serving.is_set():
                    tasks.start_soon(ask, worker)
        return merged(found)

    def kill(self) -> None:
        """End all workers at once."""
        for worker in self._processes:
            worker.kill()

    # ------------------------------------------------------------ one worker

    async def _start(self, number: int) -> WorkerProcess:
        worker = await WorkerProcess.start(self._command, number, self._sockets, self._hang_timeout)
        self._processes.add(worker)
        assert self._tasks is not None  # noqa: S101  `run` runs
        self._tasks.start_soon(self._look_after, worker)
        if self._stopping.is_set():
            worker.stop()
        return worker

    async def _begin_others(self, started: Callable[[], None]) -> None:
        async with anyio.create_task_group() as tasks:
            for number in range(2, self.size + 1):
                tasks.start_soon(self._begin, number)
        if not self._stopping.is_set():
            started()

    async def _begin(self, number: int, instead_of: WorkerProcess | None = None) -> None:
        worker = await self._start(number)
        if self._current.get(number) is not instead_of:  # the one that `replace` has started was quicker
            worker.stop()
            return
        self._current[number] = worker
        if await worker.serves():
            log.info("%s serves", worker)

    async def _look_after(self, worker: WorkerProcess) -> None:
        """Start another worker if this one ends and nobody has told it to."""
        try:
            await worker.look_after()
        finally:
            self._processes.discard(worker)
        if self._stopping.is_set():
            self._code = self._code or int(worker.code != 0)
        elif self._current.get(worker.number) is not worker:
            if worker.serving.is_set() and worker.code:
                log.error("%s, which was relieved, %s", worker, worker.fate)
        elif await self._pause(worker) and self._current[worker.number] is worker:
            await self._begin(worker.number, instead_of=worker)

    async def _pause(self, worker: WorkerProcess) -> bool:
        """Wait for as long as another one like this is not to be started; False if none is to be."""
        pause = self._backoffs[worker.number].pause(worker.served())
        log.error("%s %s; another one is started in %g s", worker, worker.fate, pause)
        with anyio.move_on_after(pause):
            await self._stopping.wait()
        return not self._stopping.is_set()

    # ------------------------------------------------------------ all of them

    async def _end(self) -> None:
        """Have all workers stop, and end those that do not."""
        self._stopping.set()
        for socks in self._sockets.values():
            for sock in socks:
                sock.close()  # the workers close theirs: nobody connects to where none of them looks
        for worker in self._processes:
            worker.stop()
        seconds = self._drain_timeout + _GRACE
        with anyio.move_on_after(seconds):
            while self._processes:
                await next(iter(self._processes)).ended.wait()
                await anyio.lowlevel.checkpoint()
        if self._processes:
            late = ", ".join(str(worker) for worker in self._processes)
            log.error("still running %g s after they were told to stop, and killed: %s", seconds, late)
            self._code = 1
