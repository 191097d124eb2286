"""NATS as a broker: consumers that somebody has changed, and those that a stream bounds."""

from __future__ import annotations

from typing import Any

import pytest
from host_plugin_nats.broker import NatsBroker
from wasmplex.capabilities.messaging import Message
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
