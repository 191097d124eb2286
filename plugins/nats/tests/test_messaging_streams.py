"""NATS as a broker: the streams that keep messages, those of others, and those that are deleted."""

from __future__ import annotations

import json
from typing import Any

import anyio
import nats
import pytest
from host_plugin_nats.answers import Said
from host_plugin_nats.consumers import check_keeps
from wasmplex.capabilities.messaging import (
    CASES,
    AccessDenied,
    BrokerUnavailable,
    Message,
    MessageTooLarge,
    QuotaExceeded,
    Subscription,
)
from wasmplex.plugin import ConfigError
from wasmplex.testing.servers import NatsServer

from .brokers import durable, heard, opened, refused

pytestmark = pytest.mark.anyio


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


async def test_a_sealed_stream_takes_nothing(nats_server: NatsServer) -> None:
    client = await nats.connect(
        f"nats://{nats_server.address}", user="wasmplex", password=nats_server.password, allow_reconnect=False
    )
    config = {"name": "sealed", "subjects": ["sealed.>"], "retention": "limits", "storage": "memory"}
    for request, seal in (("CREATE", {}), ("UPDATE", {"sealed": True})):
        answer = await client.request(f"$JS.API.STREAM.{request}.sealed", json.dumps(config | seal).encode())
        assert b"error" not in answer.data, answer.data
    async with opened(nats_server.url) as broker:
        with pytest.raises(AccessDenied, match="the stream is sealed"):
            await broker.publish("", Message("sealed.a", b"x"))
    await client.request("$JS.API.STREAM.DELETE.sealed")
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


async def test_patterns_that_overlap_cannot_be_of_one_consumer(nats_server: NatsServer) -> None:
    """The server says so of one that is made; it is found out when a configuration is checked."""
    async with opened(nats_server.url) as broker:
        both = Subscription("shop", ("over.*.c", "over.b.*"), durable="over")
        with pytest.raises(ConfigError, match=r"over\.\*\.c and over\.b\.\* overlap"):
            await broker.examine("", both)


async def test_a_request_that_a_stream_refuses_is_not_waited_for(nats_server: NatsServer) -> None:
    client = await nats.connect(
        f"nats://{nats_server.address}", user="wasmplex", password=nats_server.password, allow_reconnect=False
    )
    stream = client.jetstream()
    await stream.add_stream(name="one", subjects=["one.>"], max_msgs=1, discard="new")
    async with opened(nats_server.url) as broker:
        await broker.publish("", Message("one.a", b""))
        with anyio.fail_after(20), pytest.raises(QuotaExceeded):
            await broker.request("", Message("one.a", b""), 60)
    await stream.delete_stream("one")
    await client.close()


async def test_a_work_queue_is_begun_with_its_first_message(nats_server: NatsServer) -> None:
    client = await nats.connect(
        f"nats://{nats_server.address}", user="wasmplex", password=nats_server.password, allow_reconnect=False
    )
    stream = client.jetstream()
    await stream.add_stream(name="jobs", subjects=["jobs.>"], retention="workqueue")
    async with opened(nats_server.url) as broker:
        said = await refused(broker, durable("jobs", "jobs.>"))
        assert "work queue" in said
        assert 'start = "first"' in said
        await broker.publish("", Message("jobs.1", b""))
        async with broker.subscribe("", durable("jobs", "jobs.>", start="first")) as inbox:
            assert len(await heard(inbox, 1)) == 1
    await stream.delete_stream("jobs")
    await client.close()


async def test_a_consumer_that_somebody_has_changed_is_put_right(nats_server: NatsServer) -> None:
    """With a backoff of its own, the server delivered again what was being handled."""
    async with opened(nats_server.url) as broker:
        wanted = durable("changed", "changed.>")
        async with broker.subscribe("", wanted):
            info = await broker._jetstream.ask("CONSUMER.INFO.wasmplex-changed.changed")
            config = {**info.the("config").all, "backoff": [10**9], "ack_wait": 10**9, "headers_only": True}
            body = {"stream_name": "wasmplex-changed", "config": config, "action": ""}
            await broker._jetstream.ask("CONSUMER.CREATE.wasmplex-changed.changed", body)
        async with broker.subscribe("", wanted):
            info = await broker._jetstream.ask("CONSUMER.INFO.wasmplex-changed.changed")
            now = info.the("config").all
            assert not now.get("backoff")
            assert not now.get("headers_only")
            assert now["ack_wait"] == wanted.ack_wait * 10**9


async def test_no_more_is_asked_for_than_a_stream_allows(nats_server: NatsServer) -> None:
    async with opened(nats_server.url) as broker:
        limits = {"max_ack_pending": 10}
        config = {"name": "few", "subjects": ["few.>"], "retention": "limits", "consumer_limits": limits}
        await broker._jetstream.ask("STREAM.CREATE.few", config)
        async with broker.subscribe("", durable("few", "few.>")) as inbox:
            for number in range(30):
                await broker.publish("", Message(f"few.{number}", b""))
            assert len(await heard(inbox, 30)) == 30
        await broker._jetstream.ask("STREAM.DELETE.few")


async def test_a_consumer_that_is_gone_is_told_of(
    nats_server: NatsServer, caplog: pytest.LogCaptureFixture
) -> None:
    """What waited for it to be handled is left in the stream, and nobody would know."""
    async with opened(nats_server.url) as broker:
        for _ in range(2):
            async with broker.subscribe("", durable("gone", "gone.>")):
                pass
        assert "was gone" not in caplog.text
        await broker._jetstream.ask("CONSUMER.DELETE.wasmplex-gone.gone")
        async with broker.subscribe("", durable("gone", "gone.>")):
            pass
    assert "the consumer gone of the stream wasmplex-gone was gone" in caplog.text


def test_what_is_to_be_typed_a_shell_takes_and_so_does_the_server() -> None:
    config = Said({"subjects": ["a.b", "c"]}, CASES)
    with pytest.raises(ConfigError, match=r"nats stream edit s --subjects 'c,a\.>'"):
        check_keeps("s", config, ["a.>"])
