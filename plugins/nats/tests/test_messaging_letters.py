"""NATS as a broker: what is kept for the host itself, dead letters above all."""

from __future__ import annotations

import re
import secrets
from dataclasses import replace

import anyio
import nats
import pytest
from wasmplex.capabilities.messaging import AccessDenied, Message, Subscription
from wasmplex.plugin import ConfigError
from wasmplex.testing.servers import NatsServer

from .brokers import durable, heard, opened, refused

pytestmark = pytest.mark.anyio


async def test_a_dead_letter_that_is_sent_twice_is_kept_once(nats_server: NatsServer) -> None:
    """Its removal failed, or nobody said that it was sent."""
    async with opened(nats_server.url) as broker, broker.subscribe("", durable("twice", "twice.>")) as inbox:
        ours = secrets.token_hex(8)
        for number in (1, 1, 2):
            letter = {"Wasmplex-Letter": f"{ours}-{number}", "Trace": "1"}
            await broker.publish("", Message("twice.a", b"%d" % number, None, letter))
        found = await heard(inbox, 2)
        assert [(one.body, (one.headers or {})["Trace"]) for one in found] == [(b"1", "1"), (b"2", "1")]


async def test_notes_of_last_calls_are_in_one_stream_and_no_dead_letters() -> None:
    with NatsServer() as server:
        client = await nats.connect(server.url)
        seen = await client.subscribe("wasmplex.dead.>")
        async with opened(server.url, max_bytes="1GiB") as broker:
            for number in range(2):
                note = Message(f"wasmplex.lastcalls.w.{number}", b"")
                await broker.keep("", note)
                (kept,) = [one async for one in broker.kept("", note.subject)]
                await broker.remove("", note.subject, kept.token)
                assert [one async for one in broker.kept("", note.subject)] == []
        (found,) = await client.jetstream().streams_info()
        assert (found.config.name, found.config.max_bytes) == ("wasmplex_lastcalls", 2**20)
        await client.flush()
        assert seen.pending_msgs == 0
        await client.close()


@pytest.mark.parametrize("lacking", ["wasmplex.lastcalls.>", "$JS.API.STREAM.CREATE.wasmplex_lastcalls"])
async def test_a_right_that_is_missing_is_named(lacking: str) -> None:
    may = f'permissions: {{ publish: {{ deny: "{lacking}" }} }}'
    users = f"authorization {{ users = [{{ user: a, password: b, {may} }}] }}"
    with NatsServer(config=users) as server, anyio.fail_after(60):
        subject = "wasmplex.lastcalls.w.1" if "lastcalls.>" in lacking else lacking
        async with opened(f"nats://a:b@{server.address}") as broker:
            with pytest.raises(AccessDenied, match=f"no right to publish to {re.escape(subject)}$"):
                await broker.keep("", Message("wasmplex.lastcalls.w.1", b""))


async def test_a_stream_that_confirms_nothing_is_refused() -> None:
    """Each try to put a letter there would store another."""
    with NatsServer() as server:
        client = await nats.connect(server.url)
        stream = client.jetstream()
        for name in ("silent", "letters"):
            await stream.add_stream(name=name, subjects=[f"{name}.>"], no_ack=True)
        quiet = durable("spoken", "spoken.a")
        async with opened(server.url) as broker:
            for wanted, name in (
                (durable("silent", "silent.a"), "silent"),
                (replace(quiet, dead_letters="letters.dead"), "letters"),
            ):
                said = await refused(broker, wanted)
                assert f"the stream {name} confirms no message" in said
                assert f"nats stream edit {name} --ack" in said
            listening = Subscription("w", ("spoken.a",), dead_letters="letters.dead")
            with pytest.raises(ConfigError, match="the stream letters confirms no message"):
                await broker.examine("", listening)
            for _ in range(2):
                with pytest.raises(ConfigError, match="the stream letters confirms no message"):
                    await broker.keep("", Message("letters.dead", b""))
            assert (await stream.stream_info("letters")).state.messages == 0
            await stream.update_stream(name="letters", subjects=["letters.>"], no_ack=False)
            await broker.keep("", Message("letters.dead", b""))
        await client.close()
