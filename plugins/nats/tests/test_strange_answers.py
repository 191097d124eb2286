"""Somebody with rights on the account who answers where JetStream should, with anything."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import nats
import pytest
from host_plugin_nats import NatsBlobProvider, NatsMessagingProvider, NatsProvider
from host_plugin_nats.kept import messages
from nats.aio.msg import Msg
from wasmplex.capabilities import blobstore, keyvalue, messaging
from wasmplex.capabilities.errors import CapabilityError
from wasmplex.capabilities.messaging import Message
from wasmplex.plugin import BackendError, ConfigError, OpenContext
from wasmplex.settings import SecretUrl

from .brokers import PlainServer, durable

pytestmark = pytest.mark.anyio

GOOD = b'{"config":{"allow_direct":%s,"allow_msg_ttl":true,"subject_delete_marker_ttl":300000000000}}'
STRANGE = {
    "nothing": b"{}",
    "empty": b'{"config":{},"state":{},"message":{}}',
    "other kinds": b'{"config":1,"state":2,"message":"","seq":"","streams":7,"created":0,"num_pending":"n"}',
    "no numbers": b'{"config":{"num_replicas":"1"},"state":{"last_seq":-1},"message":{"seq":1.5},"seq":true}',
    "lists": b'{"config":[],"state":[],"message":[],"seq":[],"streams":{},"created":[],"num_pending":[]}',
    "no base64": b'{"config":{"subjects":[1]},"state":{"last_seq":9},"message":{"seq":1,"data":"?"}}',
    "again": b'{"config":{},"state":{"last_seq":9},"message":{"seq":0},"streams":["S"],"created":"x"}',
    "no name": b'{"config":{"subjects":7},"streams":["a\\r\\nPUB x 0"],"created":"x"}',
    "no characters": b'{"streams":["\\ud800"],"state":{"last_seq":9},"message":{"subject":"\\ud800"}}',
    "no subjects": b'{"config":{"subjects":["\\ud800"]},"streams":["S"],"created":"\\ud800"}',
    "a long name": b'{"streams":["%s"]}' % (b"x" * 5000),
    "no end of a name": b'{"streams":["a\\u0000b"]}',
    "an error of no kind": b'{"error":{"code":"x","err_code":{}}}',
    "no object": b"[]",
    "deep": b"[" * 100_000,
}

SAY_HOW_IT_IS = {"empty", "no base64", "again", "no name", "no subjects"}
"""Answers that say how a stream is configured."""
SAY_WHAT_IS_LAST = {"no base64", "again", "no characters"}
"""Answers that say the number of a stream's last message, and nothing of there being more of them to come."""
SAY_WHAT_IS_KEPT = {"again"}
"""Answers that say that there is a message, which is empty."""


class Impostor:
    """Answers every request of the API, and every message of buckets.

    :ivar answer: with what
    """

    def __init__(self) -> None:
        self.answer = b"{}"

    async def reply(self, message: Msg) -> None:
        if message.reply:
            await message.respond(self.answer)


@asynccontextmanager
async def impostor() -> AsyncIterator[tuple[Impostor, str]]:
    with PlainServer() as server:
        client = await nats.connect(server.url)
        other = Impostor()
        try:
            for subject in ("$JS.API.>", "$KV.>", "$O.>", "wasmplex.dead.>"):
                await client.subscribe(subject, cb=other.reply)
            await client.flush()
            yield other, server.url
        finally:
            await client.close()


async def unavailable(
    error: type[CapabilityError], name: str, request: Any, says: Collection[str] = ()
) -> None:
    """Make a request; whatever is answered, it is no traceback.

    :param says: the answers that say what is asked for, or that there is none, strange as they are otherwise
    """
    raised: Exception | None = None
    with anyio.fail_after(20):
        try:
            await request()
        except (error, ConfigError) as caught:
            raised = caught
    if raised is None:
        assert name in says, name
    elif not isinstance(raised, ConfigError | blobstore.NoSuchObject | keyvalue.InvalidArgument):
        of_no_kind = name == "an error of no kind" and "reports error 0" in str(raised)
        assert of_no_kind or "somebody else answers" in str(raised), name


@pytest.mark.parametrize("direct", [b"true", b"false"], ids=["direct", "leader"])
async def test_a_bucket(direct: bytes) -> None:
    provider = NatsProvider()
    async with impostor() as (other, url):
        settings = provider.settings(url=SecretUrl(url), bucket="b")
        for name, answer in STRANGE.items():
            other.answer = answer
            if name not in SAY_HOW_IT_IS:
                with pytest.raises(BackendError):
                    await provider.open(settings, OpenContext(Path()))
        other.answer = GOOD % direct
        backend = await provider.open(settings, OpenContext(Path()))
        try:
            bucket = await backend.open_bucket("n", "b")

            async def watch() -> None:
                async with bucket.watch():
                    pass

            requests: list[tuple[Any, Collection[str]]] = [
                (lambda: bucket.get("k"), () if direct == b"true" else SAY_WHAT_IS_KEPT),
                (lambda: bucket.set("k", b"v"), ()),
                (lambda: bucket.increment("k", 1), ()),
                (lambda: bucket.list_keys("", None, 10), SAY_WHAT_IS_LAST),
                (backend.probe, SAY_WHAT_IS_LAST),
                (watch, SAY_WHAT_IS_LAST),
            ]
            for name, answer in STRANGE.items():
                other.answer = answer
                for request, says in requests:
                    await unavailable(keyvalue.KeyValueError, name, request, says)
        finally:
            await backend.close()


async def test_a_broker() -> None:
    provider = NatsMessagingProvider()
    async with impostor() as (other, url):
        settings = provider.settings(url=SecretUrl(url))
        broker = await provider.open(settings, OpenContext(Path()))
        try:
            wanted = durable("d", "s.>")

            async def subscribed() -> None:
                async with broker.subscribe("", wanted):
                    pass

            async def kept() -> None:
                async for _ in broker.kept("", "wasmplex.dead.w"):
                    pass

            async def listed() -> None:
                async for _ in messages(broker._jetstream, "S", "wasmplex.dead.w"):
                    pass

            no_stream = {"nothing", "empty", "no numbers", "no base64"}
            requests: list[tuple[Any, Collection[str]]] = [
                (lambda: broker.examine("", wanted), ()),
                (subscribed, ()),
                (kept, no_stream),
                (listed, ()),
                (
                    lambda: broker.keep("", Message("wasmplex.dead.w", b"")),
                    STRANGE,
                ),  # none says that it is not kept
                (lambda: broker._jetstream.consumer("S", wanted), ()),
            ]
            for name, answer in STRANGE.items():
                other.answer = answer
                for request, says in requests:
                    await unavailable(messaging.MessagingError, name, request, says)
        finally:
            await broker.close()


async def test_a_blob_store() -> None:
    provider = NatsBlobProvider()
    async with impostor() as (other, url):
        backend = await provider.open(provider.settings(url=SecretUrl(url)), OpenContext(Path()))
        try:
            other.answer = b'{"config":{},"created":"2026-01-01T00:00:00Z"}'
            container = await backend.get_container("n", "c")
            requests: list[tuple[Any, Collection[str]]] = [
                (container.info, ()),
                (lambda: backend.get_container("n", "c"), ()),
                (lambda: backend.create_container("n", "d"), SAY_HOW_IT_IS),
                (lambda: container.write_object("o"), ()),
                (lambda: container.read_object("o", 0, None), ()),
                (lambda: container.list_objects(None, 10), ()),
                (container._stream.tokens, {"empty", "no numbers", *SAY_WHAT_IS_LAST}),
            ]
            for name, answer in STRANGE.items():
                other.answer = answer
                for request, says in requests:
                    await unavailable(blobstore.BlobStoreError, name, request, says)
                last = container._stream.last_sequence
                await unavailable(keyvalue.KeyValueError, name, last, SAY_WHAT_IS_LAST)
        finally:
            await backend.close()
