"""NATS as a broker: what a durable subscription takes ahead, and what it gives back."""

from __future__ import annotations

import json
from typing import Any

import anyio
import pytest
from host_plugin_nats import durable as module
from host_plugin_nats.delivery import DurableDelivery
from host_plugin_nats.inbox import Inbox
from host_plugin_nats.link import Link
from host_plugin_nats.parsing import Arrived
from wasmplex.capabilities.messaging import BrokerUnavailable, Deliveries, Delivery, Message, Subscription
from wasmplex.testing.servers import NatsServer

from .brokers import durable, heard, opened

pytestmark = pytest.mark.anyio


async def test_who_stops_keeps_only_what_is_being_handled(nats_server: NatsServer) -> None:
    async with opened(nats_server.url) as one, opened(nats_server.url) as two:
        wanted = durable("stopping", "stopping.>", ack_wait=120)
        async with one.subscribe("", wanted) as first, two.subscribe("", wanted) as second:
            for number in range(5):
                await one.publish("", Message(f"stopping.{number}", b""))
            with anyio.fail_after(50):  # much less than the server waits for an outcome
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


async def test_what_is_given_back_counts_as_delivered(nats_server: NatsServer) -> None:
    """As docs/messaging.md says: the server does not tell it from a message that was not handled."""
    async with opened(nats_server.url) as broker:
        for tries in (1, 2):
            async with broker.subscribe("", durable("given-back", "given-back", ack_wait=120)) as inbox:
                if tries == 1:
                    await broker.publish("", Message("given-back", b""))
                with anyio.fail_after(50):
                    delivery = await inbox.next()
                assert delivery is not None
                assert delivery.tries == tries
                if tries == 2:
                    await delivery.ack()


async def test_what_takes_long_is_not_taken_ahead(nats_server: NatsServer) -> None:
    """The server counts as delivered what waits in a host, and nobody else can handle it."""
    wanted = Subscription("w", ("ahead.>",), queue_group="ahead", durable="ahead", max_in_flight=4)
    async with opened(nats_server.url) as broker, broker.subscribe("", wanted) as inbox:
        assert isinstance(inbox, module.DurableDeliveries)
        for number in range(100):
            await broker.publish("", Message(f"ahead.{number}", b""))

        async def delivered() -> int:
            info = await broker._jetstream.ask("CONSUMER.INFO.wasmplex-ahead.ahead")
            return info.number("num_ack_pending")

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

        async def ask_into(self, subject: str, payload: bytes, inbox: Inbox) -> None:
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

    async def ask_into(self, *_: Any) -> None: ...

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
    wanted = durable(name, name, max_in_flight=4, ack_wait=120)
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
            return info.number("num_ack_pending")

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
        with anyio.fail_after(50):  # much less than the server waits for an outcome
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
        wanted = durable("untold", "untold", ack_wait=120)
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
        with anyio.fail_after(50):  # much less than the server waits for an outcome
            async with broker.subscribe("", wanted) as inbox:
                delivery = await inbox.next()
                assert delivery is not None
                await delivery.ack()


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
