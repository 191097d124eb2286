"""Somebody on the account who sends where JetStream delivers: it is left out, and the rest goes on."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import nats
import pytest
from host_plugin_nats import NatsProvider
from host_plugin_nats.delivery import outcome_parts, sequence_in
from host_plugin_nats.inbox import Inbox, left_out
from host_plugin_nats.parsing import Arrived
from nats.aio.client import Client
from nats.aio.msg import Msg
from wasmplex.capabilities.messaging import Message
from wasmplex.plugin import OpenContext
from wasmplex.settings import SecretUrl
from wasmplex.testing.servers import NatsServer

from .brokers import durable, heard, opened

pytestmark = pytest.mark.anyio

REPLIES = [
    "",
    "x",
    "$JS.ACK.S.d",
    "$JS.ACK.S.d.x.x.x.x.x",
    "$JS.ACK.S.d.1.2.3.4.",
    "$JS.ACK.S.d.1.2.3.4.5.6",
    "$JS.ACK.S.d.1.-2.3.4.5",
    "$JS.ACK.S.d.1.2.3.\u00b2.5",
    f"$JS.ACK.S.d.{'9' * 3000}.2.3.4.5",
    "somebody.else",
]


@pytest.mark.parametrize("reply", [None, *REPLIES])
def test_a_subject_that_jetstream_has_not_made(reply: str | None) -> None:
    assert outcome_parts(reply) is None
    assert sequence_in(reply) is None


@pytest.mark.parametrize("middle", ["S.d", "hub.hash.S.d"])
def test_a_subject_that_it_has_made(middle: str) -> None:
    assert sequence_in(f"$JS.ACK.{middle}.1.20.3.1700000000000000000.0") == 20


def test_what_is_left_out_is_one_kind_of_line(caplog: pytest.LogCaptureFixture) -> None:
    """Each read of a bucket has an inbox of its own, and had lines of a kind of its own in the log."""
    for number in range(20):
        left_out(Arrived(f"_INBOX.{number}", b"strange", f"x{number}", None))
    kinds = {(record.msg, record.__dict__.get("repeats")) for record in caplog.records}
    assert (len(caplog.records), len(kinds)) == (20, 1)


@asynccontextmanager
async def sending_where_it_delivers(server: NatsServer) -> AsyncIterator[list[str]]:
    """Send to every inbox that a consumer is asked to send to; yield where that was."""
    client: Client = await nats.connect(server.address, user="wasmplex", password=server.password)
    places: list[str] = []

    async def send(asked: Msg) -> None:
        if asked.reply in places:
            return  # once each: what is left out is asked for again
        places.append(asked.reply)
        for reply in REPLIES:
            await client.publish(asked.reply, b"strange", reply)
        strange = {"Status": "408", "Nats-Pending-Messages": "many"}
        await client.publish(asked.reply, b"", headers=strange)
        await client.flush()

    try:
        await client.subscribe("$JS.API.CONSUMER.MSG.NEXT.>", cb=send)
        await client.flush()
        yield places
    finally:
        await client.close()


async def reached(places: list[str]) -> None:
    with anyio.fail_after(30):
        while not places:  # noqa: ASYNC110  nothing else says so
            await anyio.sleep(0.01)


async def test_a_durable_subscription(nats_server: NatsServer, caplog: pytest.LogCaptureFixture) -> None:
    async with opened(nats_server.url) as broker, sending_where_it_delivers(nats_server) as places:
        async with broker.subscribe("", durable("strange", "strange.>")) as inbox:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(reached, places)
                tasks.start_soon(broker.publish, "", Message("strange.0", b"0"))
                first = await heard(inbox, 1)
            for number in range(1, 30):
                await broker.publish("", Message(f"strange.{number}", b"%d" % number))
            others = await heard(inbox, 29)
        bodies = [message.body for message in (*first, *others)]
        assert sorted(bodies, key=int) == [b"%d" % number for number in range(30)]
    assert "was left out that JetStream did not deliver" in caplog.text


async def test_what_is_watched(nats_server: NatsServer) -> None:
    provider = NatsProvider()
    settings = provider.settings(url=SecretUrl(nats_server.url), bucket="strange")
    backend = await provider.open(settings, OpenContext(Path()))
    try:
        bucket = await backend.open_bucket("n", "b")
        async with sending_where_it_delivers(nats_server) as places, bucket.watch() as changes:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(reached, places)
                tasks.start_soon(bucket.set, "k", b"v")
                with anyio.fail_after(30):
                    change = await anext(changes)
            assert (change.key, change.value) == ("k", b"v")
    finally:
        await backend.close()


async def test_a_batch_of_keys(nats_server: NatsServer) -> None:
    provider = NatsProvider()
    settings = provider.settings(url=SecretUrl(nats_server.url), bucket="strange")
    backend = await provider.open(settings, OpenContext(Path()))
    try:
        box = Inbox("inbox")
        kept = {"Nats-Subject": "s", "Nats-Sequence": "7"}
        box.put(
            [
                Arrived("inbox", b"strange", None, None),
                Arrived("inbox", b"strange", None, {"Nats-Subject": "s", "Nats-Sequence": "x"}),
                Arrived("inbox", b"", None, {"Status": "204", "Nats-Num-Pending": "many"}),
                Arrived("inbox", b"v", None, kept),
                Arrived("inbox", b"", None, {"Status": "204", "Nats-Num-Pending": "0"}),
            ]
        )
        found: dict[str, object] = {}
        assert await backend.stream._read_batch(box, found) == 0  # type: ignore[arg-type]
        assert list(found) == ["s"]
    finally:
        await backend.close()
