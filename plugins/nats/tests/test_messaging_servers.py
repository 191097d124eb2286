"""NATS as a broker: servers that lack something, refuse, stop or are none, and messages that are refused."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import anyio
import pytest
from anyio.abc import SocketAttribute, SocketStream
from host_plugin_nats import durable as module
from host_plugin_nats import link as link_module
from wasmplex.capabilities.messaging import (
    BrokerUnavailable,
    Message,
    MessageTooLarge,
    MessagingError,
    NoResponders,
    Subscription,
    Unsupported,
)
from wasmplex.plugin import BackendError
from wasmplex.testing.servers import NatsServer

from .brokers import PlainServer, durable, heard, opened, refused

pytestmark = pytest.mark.anyio


async def test_a_server_without_jetstream() -> None:
    with PlainServer() as server:
        async with opened(server.url) as broker:
            assert broker.features == {"queue-groups", "request"}
            assert "has no JetStream" in await refused(broker, durable("d", "a"))
            async with broker.subscribe("", Subscription("w", ("a",))) as inbox:
                await broker.publish("", Message("a", b"1"))
                delivery = await inbox.next()
                assert delivery is not None
                await delivery.ack()
            with pytest.raises(Unsupported):
                await broker.keep("", Message("dead", b""))


async def test_an_answer_is_expected_on_a_subject(nats_server: NatsServer) -> None:
    async with opened(nats_server.url) as broker, broker.subscribe("", Subscription("w", ("asks",))) as inbox:
        for reply_to in ("no subject", "in.*"):
            await broker.publish("", Message("asks", b"", None, {"Wasmplex-Reply-To": reply_to}))
        assert [one.reply_to for one in await heard(inbox, 2)] == [None, None]


KINDS = pytest.mark.parametrize("kind", ["core", "kept"])


def wanting(kind: str, subject: str) -> Subscription:
    pattern = f"{kind}.{subject}.>"
    return durable(f"{kind}-{subject}", pattern) if kind == "kept" else Subscription("w", (pattern,))


@KINDS
async def test_bytes_that_are_no_text_end_no_connection(nats_server: NatsServer, kind: str) -> None:
    """One that is delivered again until it is handled would end every connection that there will be."""
    async with (
        opened(nats_server.url) as broker,
        opened(nats_server.url, timeout=6) as sender,
        broker.subscribe("", wanting(kind, "bytes")) as inbox,
    ):
        transport: Any = sender._link.connection.client._transport  # type: ignore[union-attr]
        transport.write(b"PUB %s.bytes.\xff 1\r\n1\r\n" % kind.encode())
        transport.write(b"HPUB %s.bytes.b 15 16\r\nNATS/1.0 \xff\xff\r\n\r\n2\r\n" % kind.encode())
        await sender._link.flush()
        told = await heard(inbox, 2)
        assert broker._link.is_up
    assert [(one.subject, one.body) for one in told] == [
        (f"{kind}.bytes.\ufffd", b"1"), (f"{kind}.bytes.b", b"2"),
    ]  # fmt: skip


@KINDS
async def test_a_status_that_a_sender_gives_is_not_the_servers(nats_server: NatsServer, kind: str) -> None:
    said = [{"Status": status} for status in ("503", "404", "409")]
    async with (
        opened(nats_server.url) as broker,
        broker.subscribe("", wanting(kind, "status")) as inbox,
    ):
        for headers in said:
            await broker.publish("", Message(f"{kind}.status.a", b"", None, headers))
        told = await heard(inbox, 3)
    assert [one.headers for one in told] == said


async def test_an_answer_waits_for_nothing(nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(nats_server.url) as broker, broker._link.inbox() as inbox:

        async def asked(*what: Any) -> None:
            raise AssertionError("a round trip before the answer")

        monkeypatch.setattr(broker._jetstream, "ask", asked)
        monkeypatch.setattr(broker._link, "flush", asked)
        await broker.publish("", Message(inbox.subject, b"yes"))
        with anyio.fail_after(20):
            assert (await inbox.next()).body == b"yes"
        monkeypatch.undo()


async def test_a_message_over_what_the_server_takes(nats_server: NatsServer) -> None:
    async with opened(nats_server.url) as broker:
        with pytest.raises(MessageTooLarge, match="1048576"):
            await broker.publish("", Message("a", b"x" * (2**20 + 1)))
        await broker.publish("", Message("a", b"x" * 2**20))
        with pytest.raises(MessageTooLarge, match="1048576"):  # as many letters would fit
            await broker.publish("", Message("a", b"", None, {"Trace": "é" * 600_000}))
        with pytest.raises(MessageTooLarge, match="1048576"):
            await broker.request("", Message("a", b"", None, {"Trace": "é" * 600_000}), 5)


async def test_a_server_that_comes_back() -> None:
    with NatsServer(sync=None) as server:
        async with opened(server.url) as broker, broker.subscribe("", Subscription("w", ("a",))) as inbox:
            server.kill()
            with pytest.raises(MessagingError) as error:
                await broker.publish("", Message("a", b"lost"))
            assert isinstance(error.value, BrokerUnavailable)
            server.start()
            with anyio.fail_after(20):
                while True:
                    try:
                        await broker.publish("", Message("a", b"1"))
                    except MessagingError:
                        await anyio.sleep(0.05)
                        continue
                    with anyio.move_on_after(0.2):
                        delivery = await inbox.next()
                        break
            assert delivery is not None
            assert delivery.message.body == b"1"
            await delivery.ack()


async def test_a_frozen_server_can_be_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """Though more is to be sent to it than sockets hold."""
    monkeypatch.setattr(link_module, "_LONGEST_FLUSH", 1)
    monkeypatch.setattr(module, "_FLUSH", 1.0)
    with NatsServer(sync=None) as server:
        try:
            with anyio.fail_after(40):
                async with opened(server.url) as broker, broker.subscribe("", durable("frozen", "frozen")):
                    server.pause()
                    for _ in range(24):
                        await broker._link.publish("other", bytes(1_000_000))
        finally:
            server.resume()


@pytest.mark.parametrize(
    "greeting", [b"\xff\xfe\x00\r\n", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"INFO []\r\n"]
)
async def test_a_server_of_something_else(greeting: bytes) -> None:
    async def greet(stream: SocketStream) -> None:
        async with stream:
            with suppress(anyio.BrokenResourceError):
                await stream.send(greeting)

    async with (
        await anyio.create_tcp_listener(local_host="127.0.0.1") as listener,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(listener.serve, greet)
        port = listener.extra(SocketAttribute.local_port)
        with pytest.raises(BackendError) as error:
            async with opened(f"nats://127.0.0.1:{port}"):
                pass
        tasks.cancel_scope.cancel()
    assert "no NATS server" in str(error.value.render())
    assert "the host and the port" in str(error.value.render())


@pytest.mark.parametrize(
    ("user", "said"), [("wasmplex:wr0ng@", "refuses the credentials"), ("", "none are configured")]
)
async def test_refused_credentials(nats_server: NatsServer, user: str, said: str) -> None:
    with pytest.raises(BackendError, match="cannot open the NATS broker") as error:
        async with opened(f"nats://{user}{nats_server.address}"):
            pass
    assert said in str(error.value)
    assert "check user, password" in str(error.value)
    assert "wr0ng" not in str(error.value)


async def test_nobody_listens(nats_server: NatsServer) -> None:
    async with opened(nats_server.url) as broker:
        with anyio.fail_after(5), pytest.raises(NoResponders):
            await broker.request("", Message("nobody.there", b""), 30)
