"""A directory to run the command line in, and two ways to run it: in this process, or in one of its own."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from wasmplex.cli.dispatch import run

GUESTS = Path(__file__).parents[3] / "tests" / "guests" / "built"
PROGRAM = (sys.executable, "-c", "from wasmplex.cli import main; main()")

KV = """\
[workload.kv]
component = "kv.wasm"

[workload.kv.import.cache]
backend = "memory"

[workload.kv.import.store]
backend = "sqlite"
path = "store.db"
"""


class Ended(NamedTuple):
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str


Cli = Callable[..., Ended]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current directory: a host.toml, its component, and a cache that starts empty."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / ".cache"))
    monkeypatch.delenv("NO_COLOR", raising=False)
    for name in ("kv", "hello"):
        (tmp_path / f"{name}.wasm").symlink_to(GUESTS / f"{name}.wasm")
    (tmp_path / "host.toml").write_text(KV)
    return tmp_path


@pytest.fixture
def cli(home: Path, capsys: pytest.CaptureFixture[str]) -> Cli:
    """Run a command in this process."""

    def call(*args: str) -> Ended:
        capsys.readouterr()
        code = run(args)
        return Ended(code, *capsys.readouterr())

    return call


@pytest.fixture
def process(home: Path) -> Cli:
    """Run a command in a process of its own, standard output and error in pipes."""

    def call(*args: str, env: Mapping[str, str] | None = None) -> Ended:
        ended = subprocess.run(
            [*PROGRAM, *args], env={**os.environ, **(env or {})}, capture_output=True, text=True, timeout=60
        )
        return Ended(ended.returncode, ended.stdout, ended.stderr)

    return call


class Running:
    """``wasmplex run`` in a process of its own, and what it has printed so far."""

    def __init__(self, *args: str, **options: Any) -> None:
        command = [*PROGRAM, "run", *args]
        options = {"stderr": subprocess.PIPE, "stdin": subprocess.DEVNULL, **options}
        self.process = subprocess.Popen(
            command, text=True, errors="replace", start_new_session=True, **options
        )
        self.said: list[str] = []
        self._read = 0
        self._news = threading.Condition()
        self._thread = threading.Thread(target=self._listen, daemon=True)
        if self.process.stderr is not None:
            self._thread.start()

    def _listen(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            with self._news:
                self.said.append(line)
                self._news.notify_all()
        with self._news:
            self.said.append("(end)\n")
            self._news.notify_all()

    def wait_for(self, pattern: str, timeout: float = 30) -> str:
        """Return the first group of the first line that matches, after those that were waited for before."""
        until = time.monotonic() + timeout
        with self._news:
            while True:
                for number in range(self._read, len(self.said)):
                    if found := re.search(pattern, self.said[number]):
                        self._read = number + 1
                        return found[found.re.groups and 1]
                left = until - time.monotonic()
                ended = bool(self.said) and self.said[-1] == "(end)\n"
                assert left > 0 and not ended, (pattern, "".join(self.said))  # noqa: PT018
                self._news.wait(left)

    def url(self) -> str:
        """Wait until it serves and return where."""
        return self.wait_for(r" serves .*?(http://\S+)")

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def stop(self) -> int:
        """Tell it to stop and return its exit code, when everything that it printed has been read."""
        self.signal(signal.SIGTERM)
        code = self.process.wait(timeout=40)
        self._thread.join(timeout=20)
        return code

    @property
    def workers(self) -> dict[int, int]:
        """The processes of the workers by their numbers, the latest of each."""
        found = (re.search(r"worker (\d+) is process (\d+)", line) for line in [*self.said])
        return {int(match[1]): int(match[2]) for match in found if match}

    def end(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(timeout=20)
        if self.process.stderr is not None:
            self._thread.join(timeout=20)
            self.process.stderr.close()


Run = Callable[..., Running]


@pytest.fixture
def run_host(home: Path) -> Iterator[Run]:
    """Start ``wasmplex run`` with some arguments; ended after the test, with all that it started."""
    running: list[Running] = []

    def start(*args: str, **options: Any) -> Running:
        running.append(Running(*args, **options))
        return running[-1]

    yield start
    for one in running:
        one.end()
