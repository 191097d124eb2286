"""A server process that ends with the process that started it, and can be mistreated."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Self

__all__ = ["Server", "free_port"]

_START_TIMEOUT = 40.0
_STOP_TIMEOUT = 10.0

_SHIM = """
import ctypes, os, pwd, signal, sys
if sys.argv[2]:
    account = pwd.getpwnam(sys.argv[2])
    os.setgroups([])
    os.setgid(account.pw_gid)
    os.setuid(account.pw_uid)
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)
    if os.getppid() != int(sys.argv[1]):
        sys.exit(1)
os.execv(sys.argv[3], sys.argv[3:])
"""
"""Asks Linux to kill this process when its parent ends (PR_SET_PDEATHSIG), and becomes the server.

It changes to another user first, if told to: that would take the asking back.

It is a program of its own because code between fork and exec may deadlock where there are threads.
"""

# "Parent" is the thread that started the process, so they are all started by one that never ends.
_starter = ThreadPoolExecutor(1, thread_name_prefix="server-starter")


_FIRST_PORT, _PORTS = 20_000, 12_000
"""Below those that operating systems give to outgoing connections, which would take the port of a server
that is down for a moment."""
_BLOCK = 1_000
"""How many of them one process takes from, mostly another block than others that run tests beside it."""
_given: set[int] = set()
"""Those that were returned: their servers may not listen yet, or be down for a moment."""


def free_port() -> int:
    """Return a loopback port that is free now, and that this process has not had of late."""
    first = _FIRST_PORT + os.getpid() % (_PORTS // _BLOCK) * _BLOCK
    if len(_given) > _BLOCK // 2:
        _given.clear()
    for _ in range(100):
        port = first + secrets.randbelow(_BLOCK)
        if port in _given:
            continue
        with socket.socket() as listener, contextlib.suppress(OSError):
            listener.bind(("127.0.0.1", port))
            _given.add(port)
            return port
    raise RuntimeError(f"no free port among {_FIRST_PORT} .. {_FIRST_PORT + _PORTS}")


class Server(ABC):
    """One server: not running until `start`, or until its ``with`` block is entered.

    :ivar port: where it listens; the same after every start
    :ivar folder: its temporary directory
    """

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix=f"{type(self).__name__.lower()}-"))
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """``host:port``."""
        return f"127.0.0.1:{self.port}"

    @property
    def data(self) -> Path:
        """The directory of its data."""
        return self.folder / "data"

    @property
    def pid(self) -> int | None:
        """The id of its process, None if it does not run."""
        return None if self._process is None or self._process.poll() is not None else self._process.pid

    @property
    def account(self) -> str | None:
        """The name of the user that it runs as; None for whoever starts it."""
        return None

    @abstractmethod
    def command(self) -> Sequence[str | Path]:
        """Return the command line; called before every start."""

    @abstractmethod
    def is_ready(self) -> bool:
        """Return whether it answers; may raise OSError if not."""

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Kill it and remove its data."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    # ------------------------------------------------------------ life

    def start(self) -> None:
        """Start it with the data there is, and return when it answers.

        :raises RuntimeError: with the end of its log, if it does not
        """
        self.data.mkdir(exist_ok=True)
        command = [str(part) for part in self.command()]
        shim = [sys.executable, "-I", "-S", "-c", _SHIM, str(os.getpid()), self.account or ""]
        with (self.folder / "log").open("ab") as log:
            self._process = _starter.submit(
                lambda: subprocess.Popen(  # noqa: S603  a program of our own choice
                    [*shim, *command], stdin=subprocess.DEVNULL, stdout=log, stderr=log
                )
            ).result()
        deadline = time.monotonic() + _START_TIMEOUT
        while not self._answers():
            if self.pid is None or time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(f"{command[0]} did not start:\n{self.log()[-2000:]}")
            time.sleep(0.005)

    def stop(self) -> None:
        """Ask it to end in good order, and wait until it has."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once, as a crash would."""
        self._end(signal.SIGKILL)

    def restart(self, *, keep_data: bool = True) -> None:
        """Kill it and start it again, with its data or with none."""
        self.kill()
        if not keep_data:
            shutil.rmtree(self.data, ignore_errors=True)
        self.start()

    def pause(self) -> None:
        """Make it do nothing, while its connections stay; returns when its last thread has stopped."""
        pid = self.pid
        self._signal(signal.SIGSTOP)
        if pid is not None and sys.platform == "linux":
            os.waitid(os.P_PID, pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)

    def resume(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    def log(self) -> str:
        """Return what it has printed."""
        return (self.folder / "log").read_text(errors="replace")

    def _answers(self) -> bool:
        try:
            return self.is_ready()
        except OSError:
            return False

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)

    def _end(self, number: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        if process.poll() is None:
            process.send_signal(number)
            process.send_signal(signal.SIGCONT)
        try:
            process.wait(_STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
