"""A durable queue group of host processes, which are killed, frozen and reloaded: no message is lost.

``make faults`` runs the long version, with the figures on its output.
"""

import os
import random
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import guests
import nats
import pytest
from host_plugin_redis import RedisProvider
from nats.js.errors import APIError
from redis import Redis
from serving import COMMAND
from wasmplex.plugin import OpenContext
from wasmplex.testing.servers import NatsServer, RedisServer

pytestmark = pytest.mark.timeout(1500)

FULL = os.environ.get("WASMPLEX_FAULTS") == "full"
MESSAGES, KILLS, RESTARTS = (100_000, 5, 2) if FULL else (600, 1, 1)
HOST = """
[workload.store]
component = "{handler}"
limits = {{ timeout = "60s" }}
default."wasmcloud:keyvalue" = {{ backend = "redis", url = {{ env = "REDIS_URL" }}, namespace = "seen", timeout = "60s" }}
import.audit = {{ backend = "nats", url = {{ env = "NATS_URL" }} }}
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
        until(lambda: self.log().count(" serves ") >= self.starts, 90)

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
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@contextmanager
def hosts(folder: Path, **urls: str) -> Iterator[list[Host]]:
    (folder / "host.toml").write_text(HOST.format(handler=guests.path("handler")))
    running = [Host(folder, number, **urls) for number in range(2)]
    try:
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


@pytest.mark.slow
def test_nothing_is_lost_whatever_is_killed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with (
        NatsServer("n4ts") as server,
        RedisServer() as counts,
        Redis.from_url(counts.url) as redis,
        hosts(tmp_path, NATS_URL=server.url, REDIS_URL=counts.url) as (first, second),
    ):

        def handled() -> int:
            return int(redis.dbsize())

        publisher = threading.Thread(target=anyio.run, args=(publish, server, MESSAGES))
        begun = time.monotonic()
        publisher.start()
        faults: list[Callable[[], object]] = [*KILLS * [second.again], *RESTARTS * [server.restart]]
        random.shuffle(faults)
        for number, fault in enumerate(faults, 1):
            part = MESSAGES * number // (len(faults) + 2)
            until(lambda part=part: handled() >= part, 900)  # type: ignore[misc]
            fault()
        publisher.join()
        until(lambda: handled() == MESSAGES, 600)
        took = time.monotonic() - begun
        time.sleep(4)  # what is delivered again would be by now
        assert [first.stop(), second.stop()] == [0, 0], first.log() + second.log()
        found = anyio.run(seen, counts)
    assert set(found) == {f"m{number}" for number in range(MESSAGES)}
    again = sum(count - 1 for count in found.values())
    with capsys.disabled():
        print(f"\n  {MESSAGES} messages in {took:.0f} s, {second.starts - 1} kills: {again} handled again")
    held = 256 * len(faults)  # what one crash holds, which is more than a part of the short version
    assert again < max(MESSAGES * 0.05, held)
