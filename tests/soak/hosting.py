"""The host of the soak: ``wasmplex run`` with stores on four backends, and what its processes hold."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import guests
from wasmplex.testing.servers import NatsServer, RedisServer

__all__ = ["STORES", "Held", "Host", "hosting"]

STORES = ("memory", "sqlite", "redis", "nats")
"""Workloads that keep what they are asked for in the backend of that name, and look into the next one's."""

_COMMAND = Path(sys.executable).with_name("wasmplex")

_PROBE = """\
import asyncio, json, os
from pathlib import Path
from wasmplex.plugin import ExportAdapter, RunningTrigger, Trigger, hookimpl

class Probe(Trigger):
    name = "probe"
    def start(self, bindings, settings, sockets):
        return Probing()

class Probing(RunningTrigger):
    async def serve(self, *, task_status):
        task_status.started({})
        while True:
            new = Path(f"tasks-{os.getpid()}.new")
            new.write_text(json.dumps(len(asyncio.all_tasks())))
            new.rename(f"tasks-{os.getpid()}")
            await asyncio.sleep(0.5)

class Adapter(ExportAdapter):
    trigger = "probe"
    interface = "wasi:http/incoming-handler@0.2.12"
    def adapt(self, export):
        async def handler(): pass
        return handler

@hookimpl
def wasmplex_triggers(): return [Probe()]
@hookimpl
def wasmplex_export_adapters(): return [Adapter()]
"""


@dataclass(frozen=True)
class Held:
    """What the processes of a host hold, all together.

    :ivar rss: bytes of memory
    :ivar tasks: of their event loops, as far as they tell
    """

    rss: int
    descriptors: int
    threads: int
    tasks: int


class Host:
    """A running host.

    :param servers: the URL of each server by its backend
    """

    def __init__(self, folder: Path, servers: dict[str, str], workers: int) -> None:
        self._folder = folder
        self._servers = servers
        self._workers = workers
        self._log = folder / "log"
        self._read = 0
        (folder / "probe.py").write_text(_PROBE)
        self.configure(0)
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                [_COMMAND, "run", *(["--workers", str(workers)] if workers > 1 else [])],
                cwd=folder,
                stderr=log,
            )
        self.port = int(self.wait_for(r" serves .*http://[^:]+:(\d+)"))

    def configure(self, variant: int, *, wrong: bool = False) -> None:
        """Write another configuration; nothing is told of it yet."""
        text = _configuration(self._servers, variant, per_worker=self._workers > 1)
        (self._folder / "host.toml").write_text(text.replace("hello.wasm", "nowhere.wasm") if wrong else text)

    def reload(self) -> None:
        self._process.send_signal(signal.SIGHUP)

    def wait_for(self, pattern: str, timeout: float = 60) -> str:
        """Return the first group of the next line that matches."""
        until = time.monotonic() + timeout
        while True:
            text = self._log.read_text()
            if found := re.compile(pattern, re.MULTILINE).search(text, self._read):
                self._read = found.end()
                return found[found.re.groups and 1]
            if time.monotonic() > until or self._process.poll() is not None:
                raise RuntimeError(f"nothing like {pattern!r} in the log:\n{text[self._read :][-3000:]}")
            time.sleep(0.05)

    def held(self) -> Held:
        found = [_held(process, self._folder) for process in self._processes()]
        return Held(*(sum(column) for column in zip(*found, strict=True)))

    def _processes(self) -> list[int]:
        own = self._process.pid
        children = Path(f"/proc/{own}/task/{own}/children").read_text().split()
        return [own, *map(int, children)]

    def stop(self) -> int:
        """Return its exit code."""
        self._process.terminate()
        return self._process.wait(timeout=60)

    def end(self) -> None:
        self._process.kill()
        self._process.wait()

    def complaints(self) -> list[str]:
        """Return what it has logged that it should not have."""
        lines = self._log.read_text().splitlines()
        wanted = ("the guest trapped", "unreachable", "more like it", "|   ")
        return [
            line
            for line in lines
            if re.search("ERROR|WARNING|Traceback", line) and not any(w in line for w in wanted)
        ]


def _held(process: int, folder: Path) -> tuple[int, int, int, int]:
    status = Path(f"/proc/{process}/status").read_text()
    rss, threads = (
        int(re.findall(rf"^{name}:\s+(\d+)", status, re.MULTILINE)[0]) for name in ("VmRSS", "Threads")
    )
    tasks = folder / f"tasks-{process}"
    return (
        rss * 1024,
        len(os.listdir(f"/proc/{process}/fd")),  # noqa: PTH208
        threads,
        json.loads(tasks.read_text()) if tasks.exists() else 0,
    )


def _configuration(servers: dict[str, str], variant: int, *, per_worker: bool) -> str:
    lines = [
        'plugins = ["probe.py"]',
        f'[host]\nname = "variant-{variant}"\n[http]\nlisten = "127.0.0.1:0"',
        f'[workload.hello]\ncomponent = "{guests.path("hello")}"\ninstances.max = {20 + variant % 2}',
        'trigger.http = { host = "hello" }\ntrigger.probe = {}',
        f'[workload.fresh]\ncomponent = "{guests.path("hello")}"\ninstances.reuse = 1',
        'trigger.http = { host = "fresh" }',
        f'[workload.lab]\ncomponent = "{guests.path("lab")}"\ntrigger.http = {{ host = "lab" }}',
    ]
    for number, name in enumerate(STORES):
        lines.append(f'[workload.{name}]\ncomponent = "{guests.path("kvhttp")}"')
        lines.append(f'trigger.http = {{ host = "{name}" }}')
        for label, backend in (("cache", name), ("store", STORES[(number + 1) % len(STORES)])):
            lines.append(f'[workload.{name}.import.{label}]\nbackend = "{backend}"')
            if backend == "memory" and per_worker:
                lines.append("per_worker = true")
            if backend == "sqlite":
                lines.append('path = "store.db"')
            if backend in servers:
                lines.append(f'url = "{servers[backend]}"')
    return "\n".join([*lines, ""])


@contextmanager
def hosting(folder: Path, workers: int) -> Iterator[Host]:
    """Run a host, and the servers that its backends need."""
    with RedisServer() as redis, NatsServer() as nats:
        host = Host(folder, {"redis": redis.url, "nats": nats.url}, workers)
        try:
            yield host
        finally:
            host.end()
