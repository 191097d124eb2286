"""Run `wasmplex run` in a process of its own, as people do."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

__all__ = ["COMMAND", "serving"]

COMMAND = Path(sys.executable).with_name("wasmplex")


@contextlib.contextmanager
def serving(config: Path, *args: str, **env: str) -> Iterator[str]:
    """Serve a configuration; yields the URL. The host has to end well when it is told to.

    :param env: variables on top of those of this process
    """
    everything = {**os.environ, **env}
    command: list[str | Path] = [COMMAND, "run", config, *args]
    with subprocess.Popen(command, env=everything, stderr=subprocess.PIPE, text=True) as host:
        assert host.stderr is not None
        try:
            lines = []
            for line in host.stderr:
                lines.append(line)
                if " serves " in line:
                    break
            else:
                raise AssertionError("".join(lines))
            yield line.split()[-1]
            host.send_signal(signal.SIGTERM)
            assert host.wait(timeout=40) == 0, host.stderr.read()
        finally:
            host.kill()
