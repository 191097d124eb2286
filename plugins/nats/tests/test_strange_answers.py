"""Somebody with rights on the account who answers where JetStream should, with anything."""

from __future__ import annotations

from collections.abc import AsyncIterator
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
    "an error of no kind": b'{"error":{"code":"x","err_code":{}}}',
    "no object": b"[]",
    "deep": b"[" * 100_000,
}

SAY_HOW_IT_IS = {"empty", "no base64", "again", "no name"}
"""Answers that say how a stream is configured."""


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


async def unavailable(error: type[CapabilityError], name: str, request: Any) -> None:
    """Make a request; whatever is answered, it is no traceback."""
    with anyio.fail_after(20):
        raised: Exception | None = None
        try:
            await request()
        except (error, ConfigError) as caught:
            raised = caught
    fine = raised is None or isinstance(
        raised, ConfigError | blobstore.NoSuchObject | keyvalue.InvalidArgument
    )
    if not fine and name != "an error of no kind":
        assert "somebody else answers" in str(raised), name


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

            requests: list[Any] = [
                lambda: bucket.get("k"),
                lambda: bucket.set("k", b"v"),
                lambda: bucket.increment("k", 1),
                lambda: bucket.list_keys("", None, 10),
                backend.probe,
                watch,
            ]
            for name, answer in STRANGE.items():
                other.answer = answer
                for request in requests:
                    await unavailable(keyvalue.KeyValueError, name, request)
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

            requests: list[Any] = [
                lambda: broker.examine("", wanted),
                subscribed,
                kept,
                listed,
                lambda: broker.keep("", Message("wasmplex.dead.w", b"")),
                lambda: broker._jetstream.consumer("S", wanted),
            ]
            for name, answer in STRANGE.items():
                other.answer = answer
                for request in requests:
                    await unavailable(messaging.MessagingError, name, request)
        finally:
            await broker.close()


async def test_a_blob_store() -> None:
    provider = NatsBlobProvider()
    async with impostor() as (other, url):
        backend = await provider.open(provider.settings(url=SecretUrl(url)), OpenContext(Path()))
        try:
            other.answer = b'{"config":{},"created":"2026-01-01T00:00:00Z"}'
            container = await backend.get_container("n", "c")
            requests: list[Any] = [
                container.info,
                lambda: backend.get_container("n", "c"),
                lambda: backend.create_container("n", "d"),
                lambda: container.write_object("o"),
                lambda: container.read_object("o", 0, None),
                lambda: container.list_objects(None, 10),
                lambda: container._stream.tokens(),
                container._stream.last_sequence,
            ]
            for name, answer in STRANGE.items():
                other.answer = answer
                for request in requests[:-1]:
                    await unavailable(blobstore.BlobStoreError, name, request)
                await unavailable(keyvalue.KeyValueError, name, requests[-1])
        finally:
            await backend.close()
