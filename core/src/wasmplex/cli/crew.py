"""The processes that serve one configuration together, and the one that keeps them running."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import anyio

from wasmplex.cli.worker import Handover
from wasmplex.logs import get_logger

if TYPE_CHECKING:
    from anyio.abc import Process

__all__ = ["Backoff", "Crew"]

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


class _Member:
    """One worker process, from its start to its end."""

    def __init__(self, number: int, process: Process, channel: socket.socket) -> None:
        self.number = number
        self.process = process
        self._channel = channel
        self._serving_since: float | None = None

    def __str__(self) -> str:
        return f"worker {self.number} (process {self.process.pid})"

    async def serving(self) -> list[str] | None:
        """Wait until it serves and return its addresses; None if it ended before."""
        await anyio.wait_readable(self._channel)
        try:
            said = self._channel.recv(65536)
        except OSError:
            said = b""
        if not said:
            return None
        self._serving_since = anyio.current_time()
        addresses: list[str] = json.loads(said)
        return addresses

    async def wait(self) -> int:
        """Wait until it has ended; return its exit code, or the number of the signal made negative."""
        code = await self.process.wait()
        self._channel.close()
        return code

    def served(self) -> float:
        """Return for how many seconds it has been serving."""
        return 0.0 if self._serving_since is None else anyio.current_time() - self._serving_since

    def stop(self) -> None:
        """Have it finish what is under way and end."""
        with suppress(OSError):
            self._channel.send(b"\0")

    def kill(self) -> None:
        """End it at once."""
        with suppress(ProcessLookupError):
            self.process.kill()


class Crew:
    """Starts workers and starts those again that end.

    The first one starts alone: it compiles what the others then find in the cache, and what is wrong is said
    once. If it ends before it serves, that is the end of all.

    :param command: what starts a worker
    :param size: how many there are
    :param sockets: by the name of their trigger, what all of them listen on
    :param drain_timeout: seconds that calls under way may take when they stop
    """

    def __init__(
        self,
        command: Sequence[str],
        size: int,
        sockets: Mapping[str, Sequence[socket.socket]],
        drain_timeout: float,
    ) -> None:
        self._command = command
        self._size = size
        self._sockets = sockets
        self._drain_timeout = drain_timeout
        self._members: dict[int, _Member] = {}
        self._stopping = anyio.Event()
        self._code = 0

    async def run(self, stop: anyio.Event, started: Callable[[list[str]], None]) -> int:
        """Keep the workers running until `stop` is set, and end when they have; return the exit code.

        :param started: called with the addresses when every worker serves, or has failed to once
        """
        try:
            first = await self._start(1)
            addresses = await first.serving()
            if addresses is None:
                code = await first.wait()
                return code if code >= 0 else 128 - code
            async with anyio.create_task_group() as tasks:
                for number in range(2, self._size + 1):
                    tasks.start_soon(self._start_and_wait, number)
            started(addresses)
            await self._keep_all(stop)
        finally:
            await self._kill_and_wait()
        return self._code

    def kill(self) -> None:
        """End all workers at once."""
        for member in self._members.values():
            member.kill()

    # ------------------------------------------------------------ one worker

    async def _start(self, number: int) -> _Member:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        descriptors = {name: [sock.fileno() for sock in socks] for name, socks in self._sockets.items()}
        with theirs:
            handover = Handover(number, theirs.fileno(), descriptors)
            process = await anyio.open_process(
                [*self._command],
                stdin=subprocess.DEVNULL,
                stdout=None,
                stderr=None,
                env={**os.environ, **handover.environment()},
                pass_fds=handover.descriptors,
            )
        member = self._members[number] = _Member(number, process, ours)
        log.info("worker %d is process %d", number, process.pid)
        if self._stopping.is_set():
            member.stop()
        return member

    async def _start_and_wait(self, number: int) -> None:
        await (await self._start(number)).serving()

    async def _keep(self, member: _Member) -> None:
        """Start a worker again whenever it ends, until the crew stops."""
        backoff = Backoff()
        while True:
            code = await member.wait()
            if self._stopping.is_set():
                self._code = self._code or int(code != 0)
                return
            pause = backoff.pause(member.served())
            log.error("%s %s; another one is started in %g s", member, _how(code), pause)
            with anyio.move_on_after(pause):
                await self._stopping.wait()
                return
            member = await self._start(member.number)
            if await member.serving():
                log.info("%s serves", member)

    # ------------------------------------------------------------ all of them

    async def _keep_all(self, stop: anyio.Event) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._end_with, stop)
            async with anyio.create_task_group() as keepers:
                for member in [*self._members.values()]:
                    keepers.start_soon(self._keep, member)
            tasks.cancel_scope.cancel()

    async def _end_with(self, stop: anyio.Event) -> None:
        """Have all workers stop when `stop` is set, and end those that do not."""
        await stop.wait()
        self._stopping.set()
        for socks in self._sockets.values():
            for sock in socks:
                sock.close()  # the workers close theirs: nobody connects to where none of them looks
        for member in self._members.values():
            member.stop()
        await anyio.sleep(self._drain_timeout + _GRACE)
        late = ", ".join(str(m) for m in self._members.values() if m.process.returncode is None)
        log.error("still running %g s after they were told to stop, and killed: %s",
                  self._drain_timeout + _GRACE, late)  # fmt: skip
        self.kill()

    async def _kill_and_wait(self) -> None:
        self.kill()
        with anyio.CancelScope(shield=True), anyio.move_on_after(_GRACE):
            for member in self._members.values():
                await member.wait()


def _how(code: int) -> str:
    if code < 0:
        try:
            return f"was ended by {signal.Signals(-code).name}"
        except ValueError:
            return f"was ended by signal {-code}"
    return f"ended with exit code {code}" if code else "ended"
