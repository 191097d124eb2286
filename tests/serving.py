"""Run `wasmplex run` in a process of its own, as people do."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

__all__ = ["COMMAND", "Running", "running", "serving"]

COMMAND = Path(sys.executable).with_name("wasmplex")


@dataclass(frozen=True)
class Running:
    """A host that serves."""

    process: subprocess.Popen[bytes]
    stderr: IO[bytes]

    @property
    def url(self) -> str:
        """Where it serves, once it does."""
        while True:
            ended = self.process.poll() is not None
            if found := re.search(r" serves .*?(http://[\w.:\[\]]+).*\n", self.log()):
                return found[1]
            if ended:
                raise AssertionError(self.log())
            time.sleep(0.02)

    def log(self) -> str:
        """Return what it has written on standard error."""
        return os.pread(self.stderr.fileno(), 1 << 24, 0).decode()


@contextlib.contextmanager
def running(config: Path, *args: str, **env: str) -> Iterator[Running]:
    """Run a configuration; it has to end well when it is told to.

    :param env: variables on top of those of this process
    """
    # A file, not a pipe: nobody has to read it for the host to go on.
    with (
        tempfile.TemporaryFile() as stderr,
        subprocess.Popen(
            [COMMAND, "run", config, *args],
            env={**os.environ, **env}, stdin=subprocess.DEVNULL, stderr=stderr,
        ) as process,
    ):  # fmt: skip
        host = Running(process, stderr)
        try:
            yield host
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=40) == 0, host.log()
        finally:
            process.kill()


@contextlib.contextmanager
def serving(config: Path, *args: str, **env: str) -> Iterator[str]:
    """Serve a configuration; yields the URL."""
    with running(config, *args, **env) as host:
        yield host.url
