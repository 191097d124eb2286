"""A host whose NATS user loses the right to tell outcomes while it runs: it does no work again and again."""

import os
import signal
from pathlib import Path

import anyio
import guests
import nats
import pytest
from messaging_hosts import started, until
from nats.js.errors import NotFoundError
from wasmplex.testing.servers import NatsServer

HOST = """
[workload.shop]
component = "{handler}"
import.audit = {{ backend = "memory" }}
default."wasmcloud:keyvalue" = {{ backend = "memory" }}
[workload.shop.trigger.messaging]
backend = "nats"
url = {{ env = "NATS_URL" }}
subjects = ["orders.>"]
durable = true
ack_wait = "1s"
max_deliver = 2
backoff = "100ms"
"""
USERS = """authorization { users: [
  { user: few, password: pw, permissions: { publish: { allow: ">" } } }, { user: all, password: pw }
] }"""


@pytest.mark.slow
def test_a_message_whose_outcome_may_not_be_told_is_one_dead_letter(tmp_path: Path) -> None:
    """It was one for each time that the host had subscribed again, some hundred milliseconds later."""
    (tmp_path / "host.toml").write_text(HOST.format(handler=guests.path("handler")))
    with NatsServer(sync=None, config=USERS) as server:
        url = f"nats://few:pw@{server.address}"
        with started(tmp_path, 1, NATS_URL=url) as (host,):
            forbid(server)
            anyio.run(publish, server, b"reject")
            until(lambda: server.log().count('Publish Violation - Subject "$JS.ACK.') >= 6, 60)
            assert "the subscription broke" in host.log()
            assert "no right to publish to $JS.ACK." in host.log()
            assert host.log().count("is a dead letter") == 1
            assert anyio.run(letters, server) == 1
            assert host.stop() == 0


def forbid(server: NatsServer) -> None:
    """Take the right away from the user."""
    file, done = server.folder / "nats.conf", "Reloaded server configuration"
    file.write_text(file.read_text().replace('allow: ">"', 'deny: "$JS.ACK.>"'))
    assert server.pid is not None
    os.kill(server.pid, signal.SIGHUP)
    until(lambda: done in server.log(), 60)


async def publish(server: NatsServer, body: bytes) -> None:
    """Publish a message."""
    client = await nats.connect(f"nats://all:pw@{server.address}")
    await client.jetstream().publish("orders.new", body)
    await client.close()


async def letters(server: NatsServer) -> int:
    """Return how many dead letters there are."""
    client = await nats.connect(f"nats://all:pw@{server.address}")
    try:
        return (await client.jetstream().stream_info("wasmplex_dead")).state.messages
    except NotFoundError:
        return 0
    finally:
        await client.close()
