"""NATS as a broker: a host that is full, or is sent more than it can handle."""

from __future__ import annotations

from typing import Any

import anyio
import anyio.lowlevel
import pytest
from host_plugin_nats import connection as connection_module
from host_plugin_nats import core as core_module
from wasmplex.capabilities.messaging import Message, Subscription
from wasmplex.testing.servers import NatsServer

from .brokers import heard, opened

pytestmark = pytest.mark.anyio


async def test_what_is_to_be_delivered_again_has_a_bound(
    nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a handler that cannot handle anything would have the host hold all that comes meanwhile."""
    monkeypatch.setattr(core_module, "_MOST_BYTES", 2**20)
    monkeypatch.setattr(core_module, "_MOST_LATER_BYTES", 2**20)
    wanted = Subscription("w", ("again",))
    async with opened(nats_server.url) as broker, broker.subscribe("", wanted) as inbox:
        assert isinstance(inbox, core_module.CoreDeliveries)
        bodies, held = {bytes([number]) * 2**17 for number in range(80)}, 0
        for body in bodies:
            await broker.publish("", Message("again", body))
        with anyio.fail_after(60):
            while bodies:
                delivery = await inbox.next()
                assert delivery is not None
                if delivery.tries == 1:
                    await delivery.retry(0.1)
                else:
                    await delivery.ack()
                    bodies.remove(delivery.message.body)
                held = max(held, len(inbox._later) + len(inbox._ready))
                await anyio.lowlevel.checkpoint()  # the server sends meanwhile
        assert held <= 36  # eight of each, and what had been read from the socket
        assert not inbox._later_size


async def test_headers_are_bytes_as_well(nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server has a limit for both together alone."""
    monkeypatch.setattr(core_module, "_MOST_LATER_BYTES", 2**20)
    wanted = Subscription("w", ("headed",))
    async with opened(nats_server.url) as broker, broker.subscribe("", wanted) as inbox:
        assert isinstance(inbox, core_module.CoreDeliveries)
        for _ in range(9):
            await broker.publish("", Message("headed", b"", None, {"Large": "x" * 2**17}))
        with anyio.fail_after(20):
            for _ in range(9):
                delivery = await inbox.next()
                assert delivery is not None
                await delivery.retry(60)
        assert inbox._paused is not None
        for later in [*inbox._later]:
            inbox._due(later)
        await heard(inbox, 9)
        assert (inbox._size, inbox._later_size) == (0, 0)


async def test_a_host_that_is_full_is_sent_more_for_as_long_as_it_has_room(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Sockets hold some MB, and the server ends a connection that it cannot write to."""
    body, count = b"x" * 1000, 12_000
    with NatsServer(sync=None, config='write_deadline: "3s"') as server:
        wanted = Subscription("w", ("full",))
        async with opened(server.url) as broker, broker.subscribe("", wanted) as inbox:
            assert isinstance(inbox, core_module.CoreDeliveries)
            for number in range(count):
                await broker._link.publish("full", b"%d " % number + body)
            await broker._link.flush()
            await anyio.sleep(5)  # more than the deadline
            client: Any = inbox.link.connection.client
            transport = client._transport._io_writer.transport
            assert not transport.is_reading()
            assert inbox.link.backlog.size + inbox._size < 10 * 2**20
            found = await heard(inbox, count)
            assert transport.is_reading()
            assert [int(one.body.split()[0]) for one in found] == list(range(count))
    assert "away" not in caplog.text


async def test_a_host_that_is_full_is_no_dead_one(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though a server that pings often gets no answer to that for long."""
    monkeypatch.setattr(core_module, "_PATIENCE", 0.3)
    monkeypatch.setattr(connection_module, "_PING_INTERVAL", 60)
    with NatsServer(sync=None, config='ping_interval: "500ms"\nping_max: 4') as server:
        async with (
            opened(server.url) as broker,
            broker.subscribe("", Subscription("w", ("full",))) as inbox,
        ):
            assert isinstance(inbox, core_module.CoreDeliveries)
            inbox._pause()
            await broker.publish("", Message("full", b"1"))
            await anyio.sleep(4)
            inbox._resume()
            assert [one.body for one in await heard(inbox, 1)] == [b"1"]
    assert "away" not in caplog.text


async def test_what_does_not_come_any_more_is_said(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once the backlog and the sockets are full; a ping shows that a socket has ended."""
    monkeypatch.setattr(connection_module, "_PING_INTERVAL", 0.5)
    with NatsServer(sync=None, config="write_deadline: 1s\nmax_pending: 4MB") as server:
        wanted = Subscription("w", ("full",))
        async with opened(server.url) as broker, broker.subscribe("", wanted) as inbox:
            assert isinstance(inbox, core_module.CoreDeliveries)
            with anyio.fail_after(60):
                while "this host did not keep up" not in caplog.text:
                    for _ in range(100):
                        await broker._link.publish("full", bytes(10_000))
                    await broker._link.flush()
            assert inbox.link.backlog.overflowed
            assert inbox.link.backlog.size + inbox._size < 14 * 2**20  # 8 of one, 4 of the other, and a chunk
        assert "messages were lost, and those in" in caplog.text


async def test_who_is_slow_is_sent_no_more_than_it_can_keep(nats_server: NatsServer) -> None:
    """Nothing is read from the socket meanwhile, and nothing is dropped."""
    async with (
        opened(nats_server.url) as broker,
        opened(nats_server.url, replicas=2) as sender,
        broker.subscribe("", Subscription("w", ("flood",))) as inbox,
    ):
        count, body = 3000, b"x" * 10_000
        for _ in range(count):
            await sender._link.publish("flood", body)
        await sender._link.flush()
        with anyio.fail_after(30):
            for number in range(count):
                delivery = await inbox.next()
                assert delivery is not None
                await delivery.ack()
                if number == 0:
                    waiting = -1
                    while waiting != len(inbox._ready):  # type: ignore[attr-defined]
                        waiting = len(inbox._ready)  # type: ignore[attr-defined]
                        await anyio.sleep(0.3)
                    assert waiting < 1500
