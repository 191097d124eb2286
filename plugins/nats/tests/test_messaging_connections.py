"""NATS as a broker: connections that are lost, and what came by them."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from host_plugin_nats import core as core_module
from wasmplex.capabilities.messaging import Message, NoResponders, Subscription
from wasmplex.testing.servers import NatsServer

from .brokers import backlog_of, heard, lost, lost_and_back, opened, until

pytestmark = pytest.mark.anyio


async def test_a_connection_that_was_away_is_told_of(
    nats_server: NatsServer, caplog: pytest.LogCaptureFixture
) -> None:
    wanted = Subscription("w", ("away",))
    async with opened(nats_server.url) as broker, broker.subscribe("", wanted) as inbox:
        assert isinstance(inbox, core_module.CoreDeliveries)
        inbox._pause()
        await lost(inbox)
        inbox._resume()
        assert "messages to away that were sent meanwhile may be lost" in caplog.text
        assert "write_deadline" not in caplog.text, "that the host was full has nothing to do with it"
        await broker.publish("", Message("away", b"there again"))
        assert [one.body for one in await heard(inbox, 1)] == [b"there again"]


async def test_a_connection_that_comes_while_nothing_is_taken_is_not_taken_from_either(
    nats_server: NatsServer,
) -> None:
    """Else all that comes is held until it is told again that this is on purpose."""
    wanted = Subscription("w", ("behind",))
    async with opened(nats_server.url) as broker, broker.subscribe("", wanted) as inbox:
        assert isinstance(inbox, core_module.CoreDeliveries)
        inbox._pause()
        await lost_and_back(broker, inbox, "behind")
        assert not inbox._ready
        inbox._resume()
        assert [one.body for one in await heard(inbox, 1)] == [b"probe"]


async def test_what_came_by_a_connection_that_is_lost_is_taken_all_the_same(
    nats_server: NatsServer,
) -> None:
    """Messages with headers and without, before those that come by the next connection."""
    wanted = Subscription("w", ("kept", "kept.b"))
    async with opened(nats_server.url) as broker, broker.subscribe("", wanted) as inbox:
        assert isinstance(inbox, core_module.CoreDeliveries)
        inbox._pause()
        sent = []
        for turn in range(3):
            for number in range(20):
                body, headers = b"%d %d" % (turn, number), {"A": "b"} if number % 3 == 0 else None
                sent.append((body, headers))
                await broker.publish("", Message("kept.b" if number % 2 else "kept", body, None, headers))
            await broker._link.flush()
            await backlog_of(inbox, len(sent))
            await lost_and_back(broker, inbox, "kept")
        inbox._resume()
        await broker.publish("", Message("kept", b"end"))
        found: list[Message] = []
        while not found or found[-1].body != b"end":
            found += [one for one in await heard(inbox, 1) if one.body != b"probe"]
        assert [(one.body, one.headers) for one in found] == [*sent, (b"end", None)]
        assert inbox.link.backlog.size == 0


async def test_a_subscription_is_left_when_all_that_came_is_taken(nats_server: NatsServer) -> None:
    wanted = Subscription("w", ("left",))
    async with opened(nats_server.url) as broker, broker.subscribe("", wanted) as inbox:
        assert isinstance(inbox, core_module.CoreDeliveries)
        inbox._pause()
        for number in range(100):
            await broker.publish("", Message("left", b"%d" % number))
        await broker._link.flush()
        await backlog_of(inbox, 100)
        await lost_and_back(broker, inbox, "left")
        for number in range(100, 200):
            await broker.publish("", Message("left", b"%d" % number))
        await broker._link.flush()
        inbox.stop()
        await anyio.sleep(0.1)
        assert not inbox._left
        inbox._resume()
        found: list[bytes] = []
        with anyio.fail_after(30):
            while (delivery := await inbox.next()) is not None:
                await delivery.ack()
                found.append(delivery.message.body)
        assert [body for body in found if body != b"probe"] == [b"%d" % number for number in range(200)]


async def test_what_comes_by_the_next_connection_is_behind_what_came_before(nats_server: NatsServer) -> None:
    """Also what comes while that is made ready."""
    wanted = Subscription("w", ("ordered",), ordered=True)
    async with opened(nats_server.url) as broker, broker.subscribe("", wanted) as inbox:
        assert isinstance(inbox, core_module.CoreDeliveries)
        inbox._pause()
        for number in range(5):
            await broker.publish("", Message("ordered", b"old %d" % number))
        await broker._link.flush()
        await backlog_of(inbox, 5)

        async def flood() -> None:
            while True:
                await broker._link.publish("ordered", b"new")
                await broker._link.flush()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(flood)
            await lost(inbox)
            await backlog_of(inbox, 10)
            tasks.cancel_scope.cancel()
        assert not inbox._ready
        inbox._resume()
        found = [one.body for one in await heard(inbox, 10)]
        assert found == [b"old %d" % number for number in range(5)] + 5 * [b"new"]


@pytest.mark.parametrize("left", [False, True])
async def test_who_stops_does_not_subscribe_again(nats_server: NatsServer, left: bool) -> None:
    """A host that drains takes nothing from those that stay."""
    wanted = Subscription("w", ("stopped",), queue_group="w")
    async with opened(nats_server.url) as broker, broker.subscribe("", wanted) as inbox:
        assert isinstance(inbox, core_module.CoreDeliveries)
        await broker.publish("", Message("stopped", b"0"))
        delivery = await inbox.next()
        assert delivery is not None
        if not left:
            inbox._pause()
        inbox.stop()
        if left:
            with anyio.fail_after(30):
                while not inbox._left:  # noqa: ASYNC110  nothing else says so
                    await anyio.sleep(0.01)
        await lost(inbox)
        async with broker.subscribe("", wanted) as other:
            for number in range(1, 101):
                await broker.publish("", Message("stopped", b"%d" % number))
            assert len(await heard(other, 100)) == 100
        inbox._resume()
        await delivery.ack()
        with anyio.fail_after(30):
            assert await inbox.next() is None


async def test_a_flush_overtakes_nothing(nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the server confirms is all that was sent before: that who leaves a group has left, say."""
    async with opened(nats_server.url) as broker:
        transport: Any = broker._link.connection.client._transport  # type: ignore[union-attr]
        written: list[bytes] = []
        write, write_lines = transport.write, transport.writelines

        def note(data: bytes) -> None:
            written.append(bytes(data))
            write(data)

        def note_lines(lines: list[bytes]) -> None:
            written.extend(lines)
            write_lines(lines)

        monkeypatch.setattr(transport, "write", note)
        monkeypatch.setattr(transport, "writelines", note_lines)
        number = await broker._link.listen("overtaken", "", lambda message: None)
        await broker._link.publish("overtaken", b"1")
        await broker._link.flush()
        await broker._link.leave([number])
        words = [line.split()[0] for line in written]
        assert words == [b"SUB", b"PUB", b"PING", b"UNSUB", b"PING"]


async def test_who_stops_while_a_new_connection_is_made_ready_leaves_it(
    nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = Subscription("w", ("leaving",))
    async with opened(nats_server.url) as broker, broker.subscribe("", wanted) as inbox:
        assert isinstance(inbox, core_module.CoreDeliveries)
        listen, subscribed = inbox.link.listen, anyio.Event()

        async def stopping(*args: Any) -> int:
            inbox.stop()
            await until(lambda: inbox._left)
            number = await listen(*args)
            subscribed.set()
            return number

        monkeypatch.setattr(inbox.link, "listen", stopping)
        await lost(inbox)
        with anyio.fail_after(30):
            await subscribed.wait()
            assert await inbox.next() is None
            await until(lambda: inbox.link.is_up)
            await inbox.link.flush()
        with pytest.raises(NoResponders):
            await broker.request("", Message("leaving", b""), 20)
