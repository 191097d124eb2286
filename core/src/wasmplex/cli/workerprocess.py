"""One worker process of ``run --workers``, as the process that started it sees it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from math import inf
from typing import TYPE_CHECKING

import anyio

from wasmplex.cli.worker import FIGURES, RELIEVED, STARTING, STOP, Handover
from wasmplex.logs import get_logger
from wasmplex.metrics import Family

if TYPE_CHECKING:
    from anyio.abc import Process

__all__ = ["WorkerProcess"]

log = get_logger("wasmplex.workers")

_GRACE = 5.0
"""Seconds that a process may take to end that was killed."""
_ASKED = 2.0
"""Seconds that a worker may take to tell its figures."""


class WorkerProcess:
    """A worker process, from its start to its end.

    :ivar number: which worker it is
    :ivar addresses: where it serves; empty before it does
    :ivar serving: set when it serves
    :ivar ended: set when it has ended
    :ivar code: its exit code then, or the number of the signal that ended it made negative
    """

    def __init__(self, number: int, process: Process, channel: socket.socket, hang_timeout: float) -> None:
        self.number = number
        self.addresses: list[str] = []
        self.serving = anyio.Event()
        self.ended = anyio.Event()
        self.code = 0
        self._process = process
        self._channel = channel
        self._hang_timeout = hang_timeout
        self._serving_since = inf
        self._settled = anyio.Event()
        self._figures: list[Family] = []
        self._told: anyio.Event | None = None

    def __str__(self) -> str:
        return f"worker {self.number} (process {self._process.pid})"

    @classmethod
    async def start(
        cls,
        command: Sequence[str],
        number: int,
        sockets: Mapping[str, Sequence[socket.socket]],
        hang_timeout: float,
    ) -> WorkerProcess:
        """Start a worker; `look_after` is to follow.

        :param command: what starts one
        :param sockets: what it is handed, by the name of their trigger
        :param hang_timeout: seconds that its event loop may stand still; 0 for as long as it likes
        """
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        descriptors = {name: [sock.fileno() for sock in socks] for name, socks in sockets.items()}
        with theirs:
            handover = Handover(number, theirs.fileno(), hang_timeout, descriptors)
            process = await anyio.open_process(
                [*command],
                stdin=subprocess.DEVNULL,
                stdout=None,
                stderr=None,
                env={**os.environ, **handover.environment()},
                pass_fds=handover.descriptors,
            )
        log.info("worker %d is process %d", number, process.pid)
        return cls(number, process, ours, hang_timeout)

    async def look_after(self) -> None:
        """Listen to it until it has ended, and kill it if its event loop stands still; or if cancelled."""
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._listen)
                self.code = await self._process.wait()
                tasks.cancel_scope.cancel()
        finally:
            if self._process.returncode is None:
                self.kill()
                with anyio.move_on_after(_GRACE, shield=True):
                    await self._process.wait()
            self._channel.close()
            self.ended.set()
            self._settled.set()

    async def serves(self) -> bool:
        """Wait until it serves; False if it ended before."""
        await self._settled.wait()
        return self.serving.is_set()

    def served(self) -> float:
        """Return for how many seconds it has been serving."""
        return max(0.0, anyio.current_time() - self._serving_since)

    def stop(self) -> None:
        """Have it finish what is under way and end."""
        self._send(STOP)

    def relieve(self) -> None:
        """Have it end when it has finished what is under way, however long that takes: another one serves."""
        self._send(RELIEVED)

    async def figures(self) -> list[Family]:
        """Ask it for its figures; empty if it does not tell them in time. Who asks meanwhile waits along."""
        told = self._told
        if told is None:
            told = self._told = anyio.Event()
            self._figures = []
            self._send(FIGURES)
        with anyio.move_on_after(_ASKED):
            await told.wait()
        if self._told is told:
            self._told = None
        return self._figures

    def kill(self) -> None:
        """End it at once."""
        with suppress(ProcessLookupError):
            self._process.kill()

    @property
    def fate(self) -> str:
        """How it ended."""
        if self.code >= 0:
            return f"ended with exit code {self.code}" if self.code else "ended"
        try:
            return f"was ended by {signal.Signals(-self.code).name}"
        except ValueError:
            return f"was ended by signal {-self.code}"

    def _send(self, what: bytes) -> None:
        with suppress(OSError):
            self._channel.send(what)

    # ------------------------------------------------------------ what it says

    async def _listen(self) -> None:
        said = b""
        while True:
            with anyio.move_on_after(self._patience()) as scope:
                await anyio.wait_readable(self._channel)
            if scope.cancelled_caught:
                if anyio.current_time() - scope.deadline < 1.0:
                    self._hangs()
                    return
                continue  # it was this process that stood still
            try:
                data = self._channel.recv(65536)
            except BlockingIOError:
                continue
            except OSError:
                return
            if not data:
                return
            *lines, said = (said + data).split(b"\n")
            for line in filter(None, lines):
                self._hear(line)

    def _patience(self) -> float:
        if not self._hang_timeout:
            return inf
        return self._hang_timeout if self.serving.is_set() else max(self._hang_timeout, STARTING)

    def _hear(self, line: bytes) -> None:
        try:
            said = json.loads(line)
        except ValueError:  # figures that it could not tell to the end
            return
        if isinstance(said, list):
            self._serves(said)
            return
        self._figures = [Family.of_json(family) for family in said["figures"]]
        if self._told is not None:
            self._told.set()

    def _serves(self, addresses: list[str]) -> None:
        self.addresses = addresses
        self._serving_since = anyio.current_time()
        self.serving.set()
        self._settled.set()

    def _hangs(self) -> None:
        log.error("%s has not turned its event loop for %g s and is killed", self, self._patience())
        self.kill()
