"""A durable queue group of two host processes, which are killed, as the server is: no message is lost.

``make faults`` runs the long version, with the figures on its output.
"""

import contextlib
import os
import random
import threading
import time
from collections.abc import Callable
from pathlib import Path

import anyio
import guests
import nats
import pytest
from messaging_hosts import hosts, publish, seen, started, until
from nats.js.errors import NotFoundError
from redis import Redis
from wasmplex.testing.servers import NatsServer, RedisServer

pytestmark = pytest.mark.timeout(1500)

FULL = os.environ.get("WASMPLEX_FAULTS") == "full"
LAST = """
[workload.store]
component = "{handler}"
limits = {{ timeout = "250s" }}
import.audit = {{ backend = "memory" }}
default."wasmcloud:keyvalue" = {{ backend = "memory" }}
[workload.store.trigger.messaging]
backend = "nats"
url = {{ env = "NATS_URL" }}
subjects = ["orders.>"]
durable = true
ack_wait = "2s"
max_in_flight = 1
max_deliver = 1
"""
MESSAGES, KILLS, RESTARTS = (100_000, 5, 2) if FULL else (600, 1, 1)


@pytest.mark.slow
def test_nothing_is_lost_whatever_is_killed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with (
        NatsServer("n4ts") as server,
        RedisServer() as counts,
        Redis.from_url(counts.url) as redis,
        hosts(tmp_path, 2, NATS_URL=server.url, REDIS_URL=counts.url) as (first, second),
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


async def _given_back(server: NatsServer, times: int) -> None:
    """Have a message delivered so often to somebody who calls nobody with it."""
    client = await nats.connect(server.url)
    stream = client.jetstream()
    await stream.publish("orders.new", b"handled")
    taker = await stream.pull_subscribe_bind("store", "wasmplex-store")
    for _ in range(times):
        (message,) = await taker.fetch(1, timeout=20)
        await message.nak()
    await client.close()


async def _dead(server: NatsServer, body: bytes | None = None) -> int:
    """Publish a message; return how many dead letters and notes of last calls are kept."""
    client = await nats.connect(server.url)
    stream = client.jetstream()
    if body is not None:
        await stream.publish("orders.new", body)
    kept = 0
    for name in ("wasmplex_dead", "wasmplex_lastcalls"):
        with contextlib.suppress(NotFoundError):  # it is made when there is something to keep
            kept += (await stream.stream_info(name)).state.messages
    await client.close()
    return kept


@pytest.mark.slow
def test_no_message_is_a_dead_letter_that_no_handler_was_called_with(tmp_path: Path) -> None:
    """And one that ends each host that is called with it ends no more of them than it has to."""
    (tmp_path / "host.toml").write_text(LAST.format(handler=guests.path("handler")))
    with NatsServer() as server, started(tmp_path, 1, NATS_URL=server.url) as (host,):
        assert host.stop() == 0
        anyio.run(_given_back, server, 2)
        host.start()
        until(lambda: "has had no outcome in 2 deliveries: the component is called a last" in host.log(), 60)
        until(lambda: anyio.run(_held, server) == 0, 60)
        until(lambda: anyio.run(_dead, server) == 0, 60)
        anyio.run(_dead, server, b"loop")
        until(lambda: anyio.run(_held, server) == 1, 60)
        host.again()
        until(lambda: host.log().count("the component is called a last time") == 2, 60)
        until(lambda: anyio.run(_dead, server) == 1, 60)
        host.again()
        until(lambda: "is a dead letter in wasmplex.dead.store after" in host.log(), 60)
        assert anyio.run(_dead, server) == 1, "the note is removed"
        assert host.stop() == 0
    assert host.log().count("is a dead letter") == 1
    assert host.log().count("the component is called a last time") == 2


async def _held(server: NatsServer) -> int:
    """Return how many messages are being handled."""
    client = await nats.connect(server.url)
    info = await client.jetstream().consumer_info("wasmplex-store", "store")
    await client.close()
    return info.num_ack_pending or 0
