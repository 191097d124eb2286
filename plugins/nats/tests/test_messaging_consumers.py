"""NATS as a broker: consumers that somebody has changed, and those that a stream bounds."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from host_plugin_nats.broker import NatsBroker
from host_plugin_nats.pulling import refusal
from wasmplex.capabilities.messaging import BrokerUnavailable, Message
from wasmplex.plugin import ConfigError
from wasmplex.testing.servers import NatsServer

from .brokers import durable, heard, opened, refused

pytestmark = pytest.mark.anyio


async def config_of(broker: NatsBroker, name: str) -> dict[str, Any]:
    """Return how the consumer of a durable subscription is configured, in the stream that is made for it."""
    info = await broker._jetstream.ask(f"CONSUMER.INFO.wasmplex-{name}.{name}")
    return dict(info.the("config").all)


async def change(broker: NatsBroker, name: str, **theirs: Any) -> None:
    """Change it, as somebody else may."""
    config = {**await config_of(broker, name), **theirs}
    body = {"stream_name": f"wasmplex-{name}", "config": config, "action": ""}
    await broker._jetstream.ask(f"CONSUMER.CREATE.wasmplex-{name}.{name}", body)


@pytest.mark.parametrize(
    "theirs",
    [
        {"inactive_threshold": 3600 * 10**9},
        {"max_batch": 1},
        {"max_bytes": 1000},
        {"max_expires": 10**9},
        {"priority_policy": "overflow", "priority_groups": ["some"]},
    ],
    ids=lambda theirs: next(iter(theirs)),
)
async def test_a_consumer_delivers_whatever_somebody_has_set(
    nats_server: NatsServer, theirs: dict[str, Any]
) -> None:
    """The server refused each request for messages, or removed the consumer of a host that was away."""
    name = f"set-{next(iter(theirs))}"
    wanted = durable(name, f"{name}.>")
    async with opened(nats_server.url) as broker:
        async with broker.subscribe("", wanted):
            pass
        await change(broker, name, **theirs)
        assert theirs.items() <= (await config_of(broker, name)).items()
        await broker.publish("", Message(f"{name}.a", b""))
        async with broker.subscribe("", wanted) as inbox:
            assert len(await heard(inbox, 1)) == 1
        now = await config_of(broker, name)
        assert not any(now.get(key) for key in theirs)


async def test_what_changes_no_message_is_left_on_a_consumer(nats_server: NatsServer) -> None:
    async with opened(nats_server.url) as broker:
        wanted = durable("left", "left.>")
        async with broker.subscribe("", wanted):
            pass
        before = await config_of(broker, "left")
        theirs = {"description": "theirs", "sample_freq": "10"}
        metadata = {**before["metadata"], "team": "billing"}
        await change(broker, "left", metadata=metadata, max_batch=1, **theirs)
        async with broker.subscribe("", wanted):
            now = await config_of(broker, "left")
        assert now == before | theirs | {"metadata": metadata}


@pytest.mark.parametrize("subjects", [("same.a",), ("same.b.x", "same.b.y")], ids=len)
async def test_a_consumer_that_is_as_it_should_be_is_not_made_again(
    nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch, subjects: tuple[str, ...]
) -> None:
    """Servers write metadata of their own to it: it was taken for another one, each time."""
    name = f"same{len(subjects)}"
    async with opened(nats_server.url) as broker:
        async with broker.subscribe("", durable(name, *subjects)):
            pass
        asked: list[str] = []
        ask = broker._jetstream.ask

        async def noted(what: str, body: Any = None) -> Any:
            asked.append(what)
            return await ask(what, body)

        monkeypatch.setattr(broker._jetstream, "ask", noted)
        async with broker.subscribe("", durable(name, *subjects)):
            pass
        assert f"CONSUMER.INFO.wasmplex-{name}.{name}" in asked
        assert not [what for what in asked if what.startswith("CONSUMER.CREATE.")]


async def test_a_stream_whose_consumers_end_while_a_host_is_away_is_refused(nats_server: NatsServer) -> None:
    """The consumer was made anew when the host came back, and what had been published meanwhile was lost."""
    stream = {"name": "wasmplex-brief", "subjects": ["brief.>"], "retention": "limits"}
    limits = {"consumer_limits": {"inactive_threshold": 2 * 10**9}}
    wanted = durable("brief", "brief.>")
    async with opened(nats_server.url) as broker:
        ask = broker._jetstream.ask
        await ask("STREAM.CREATE.wasmplex-brief", stream | limits)
        said = await refused(broker, wanted)
        assert "the stream wasmplex-brief keeps no consumer that is not used for 2 s" in said
        assert "nats stream edit wasmplex-brief --interactive" in said
        with pytest.raises(ConfigError, match="keeps no consumer"):
            await broker.examine("", wanted)
        await ask("STREAM.UPDATE.wasmplex-brief", stream)
        async with broker.subscribe("", wanted):
            pass
        await ask("STREAM.UPDATE.wasmplex-brief", stream | limits)
        await change(broker, "brief", inactive_threshold=10**9)  # as one that was made before had it
        await ask("STREAM.UPDATE.wasmplex-brief", stream)
        async with broker.subscribe("", wanted):
            assert not (await config_of(broker, "brief")).get("inactive_threshold")
        await ask("STREAM.DELETE.wasmplex-brief")


async def test_a_request_that_the_server_refuses_breaks_the_subscription_and_the_next_one_delivers(
    nats_server: NatsServer,
) -> None:
    """It was made again at once, thousands of times a second; nothing was delivered, or said."""
    for name, theirs, says in (
        ("one", {"max_batch": 1}, "Exceeded MaxRequestBatch of 1"),
        ("soon", {"max_expires": 10**9}, "Exceeded MaxRequestExpires of 1s"),
        ("group", {"priority_policy": "overflow", "priority_groups": ["g"]}, "Priority Group missing"),
    ):
        wanted = durable(name, f"{name}.>")
        async with opened(nats_server.url) as broker:
            async with broker.subscribe("", wanted) as inbox:
                await change(broker, name, **theirs)  # under a host that takes from it
                await broker.publish("", Message(f"{name}.a", b""))
                with anyio.fail_after(10), pytest.raises(BrokerUnavailable, match=says) as caught:
                    await inbox.next()
            assert f"the consumer {name} of the stream wasmplex-{name} takes no request" in str(caught.value)
            assert f"nats consumer info wasmplex-{name} {name}" in str(caught.value)
            async with broker.subscribe("", wanted) as inbox:
                assert len(await heard(inbox, 1)) == 1
            await broker._jetstream.ask(f"STREAM.DELETE.wasmplex-{name}")


async def test_more_hosts_than_a_consumer_lets_wait_are_told_so(nats_server: NatsServer) -> None:
    """That bound the server changes in no consumer; who is refused gets messages when another one is gone."""
    config = {
        "durable_name": "few",
        "ack_policy": "explicit",
        "filter_subject": "waiting.a",
        "max_waiting": 1,
    }
    config |= {"metadata": {"wasmplex-workload": "w"}, "deliver_policy": "all"}
    wanted = durable("few", "waiting.a")
    async with opened(nats_server.url) as broker, opened(nats_server.url) as other:
        ask = broker._jetstream.ask
        await ask("STREAM.CREATE.waiting", {"name": "waiting", "subjects": ["waiting.>"]})
        await ask("CONSUMER.CREATE.waiting.few", {"stream_name": "waiting", "config": config, "action": ""})
        async with broker.subscribe("", wanted) as inbox, anyio.create_task_group() as tasks:
            tasks.start_soon(inbox.next)
            with anyio.fail_after(10):
                while not (await ask("CONSUMER.INFO.waiting.few")).number("num_waiting"):  # noqa: ASYNC110  nothing else says so
                    await anyio.sleep(0.01)
            async with other.subscribe("", wanted) as second:
                with anyio.fail_after(10), pytest.raises(BrokerUnavailable, match="run fewer of them"):
                    await second.next()
            inbox.stop()
        async with other.subscribe("", wanted) as second:
            await broker.publish("", Message("waiting.a", b""))
            assert len(await heard(second, 1)) == 1
        await ask("STREAM.DELETE.waiting")


@pytest.mark.parametrize("said", ["Leadership Change", "Server Shutdown", "Message Size Exceeds MaxBytes"])
def test_a_request_that_ends_is_not_taken_for_one_that_is_refused(said: str) -> None:
    """Whether the server says how many messages are missing depends on its version."""
    pending = {"Nats-Pending-Messages": "5"}
    assert refusal("$JS.API.CONSUMER.MSG.NEXT.s.c", "409", {"Description": said} | pending) is None
    if not said.startswith("Message"):
        assert refusal("$JS.API.CONSUMER.MSG.NEXT.s.c", "409", {"Description": said}) is None
    assert refusal("$JS.API.CONSUMER.MSG.NEXT.s.c", "409", {"Description": "Exceeded Patience"}) is not None


async def test_a_consumer_that_nobody_uses_any_more_keeps_messages_until_it_is_removed(
    nats_server: NatsServer,
) -> None:
    """As docs/messaging.md says of a durable name that is written anew, and of the command that helps."""
    async with opened(nats_server.url) as broker:
        ask = broker._jetstream.ask

        async def kept() -> int:
            return (await ask("STREAM.INFO.wasmplex-former")).the("state").number("messages")

        async with broker.subscribe("", durable("former", "former.>")):
            pass
        async with broker.subscribe("", durable("latter", "former.>")) as inbox:
            await broker.publish("", Message("former.a", b""))
            await heard(inbox, 1)
        info = await ask("CONSUMER.INFO.wasmplex-former.latter")
        assert info.number("num_ack_pending") == 0
        assert await kept() == 1
        await ask("CONSUMER.DELETE.wasmplex-former.former")
        with anyio.fail_after(10):
            while await kept():  # noqa: ASYNC110  nothing else says so
                await anyio.sleep(0.01)
        await ask("STREAM.DELETE.wasmplex-former")
