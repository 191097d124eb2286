"""Several hosts that handle the messages of one broker, each in a process of its own, as people run them.

What was handled, and how often, they count in a Redis server.
"""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import guests
import nats
from host_plugin_redis import RedisProvider
from nats.js.errors import APIError
from serving import COMMAND
from wasmplex.plugin import OpenContext
from wasmplex.testing.servers import NatsServer, RedisServer

__all__ = ["Host", "hosts", "publish", "seen", "started", "until"]

HOST = """
[workload.store]
component = "{handler}"
limits = {{ timeout = "60s" }}
import.audit = {{ backend = "nats", url = {{ env = "NATS_URL" }} }}
[workload.store.default."wasmcloud:keyvalue"]
backend = "redis"
url = {{ env = "REDIS_URL" }}
namespace = "seen"
timeout = "60s"
[workload.store.trigger.messaging]
backend = "nats"
url = {{ env = "NATS_URL" }}
subjects = ["orders.>"]
durable = {durable}
ack_wait = "{ack_wait}"
max_in_flight = 8
max_deliver = 1000
backoff = "100ms"
"""


class Host:
    """A host process that can be killed and started again."""

    def __init__(self, folder: Path, number: int, *options: str, **urls: str) -> None:
        self._log = folder / f"host-{number}.log"
        self._command = [str(COMMAND), "run", str(folder / "host.toml"), *options]
        self._env = {**os.environ, **urls}
        self.starts = 0
        self.start()

    def start(self) -> None:
        """Start, and return when it serves."""
        self.starts += 1
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                self._command, env=self._env, stdin=subprocess.DEVNULL, stderr=log
            )
        try:
            until(lambda: self.log().count(" serves ") >= self.starts, 90)
        except AssertionError:
            self.kill()
            raise

    def log(self) -> str:
        return self._log.read_text()

    def kill(self) -> None:
        """End it as a crash would."""
        self.process.kill()
        self.process.wait()

    def again(self) -> None:
        """Kill it and start it again."""
        self.kill()
        self.start()

    def stop(self) -> int:
        """Ask it to end, and return its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


def until(done: Callable[[], bool], seconds: float) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@contextmanager
def hosts(
    folder: Path, number: int, *options: str, durable: bool = True, ack_wait: str = "5s", **urls: str
) -> Iterator[list[Host]]:
    """Start so many hosts with one configuration.

    :param options: of ``wasmplex run``
    :param urls: what their environment has besides
    """
    text = HOST.format(handler=guests.path("handler"), durable=json.dumps(durable), ack_wait=ack_wait)
    (folder / "host.toml").write_text(text)
    with started(folder, number, *options, **urls) as running:
        yield running


@contextmanager
def started(folder: Path, number: int, *options: str, **urls: str) -> Iterator[list[Host]]:
    """Start so many hosts with the configuration of a folder."""
    running: list[Host] = []
    try:
        running.extend(Host(folder, one, *options, **urls) for one in range(number))
        yield running
    finally:
        for host in running:
            host.process.kill()
            host.process.wait()


async def seen(server: RedisServer) -> dict[str, int]:
    """Return how often each message was handled."""
    settings: Any = {"url": server.url}
    backend = await RedisProvider().open(RedisProvider.settings(**settings), OpenContext(Path()))
    try:
        bucket, found, cursor = await backend.open_bucket("seen", "seen"), dict[str, int](), ""
        while True:
            page = await bucket.list_keys("", cursor or None, 1000)
            values = await bucket.get_many(page.keys)
            found |= {key: int(value or b"0") for key, value in zip(page.keys, values, strict=True)}
            if page.cursor is None:
                return found
            cursor = page.cursor
    finally:
        await backend.close()


async def publish(server: NatsServer, count: int) -> None:
    """Publish messages, each until the stream has it; it takes none twice."""
    client = await nats.connect(
        server.url, max_reconnect_attempts=-1, reconnect_time_wait=0.1, error_cb=_ignored
    )
    stream: Any = client.jetstream()
    limit = anyio.CapacityLimiter(64)

    async def one(number: int) -> None:
        async with limit:
            while True:
                try:
                    headers = {"Nats-Msg-Id": str(number)}
                    await stream.publish("orders.new", b"m%d" % number, timeout=2, headers=headers)
                except (nats.errors.Error, APIError, OSError):
                    await anyio.sleep(0.1)
                else:
                    return

    for start in range(0, count, 1000):
        async with anyio.create_task_group() as tasks:
            for number in range(start, min(start + 1000, count)):
                tasks.start_soon(one, number)
    await client.close()


async def _ignored(error: Exception) -> None:
    """What is lost is sent again."""
