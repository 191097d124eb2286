"""Stores on NATS for users who may not do everything: what is missing is said, and nobody waits for it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from host_plugin_nats import NatsBlobProvider, NatsProvider
from wasmplex.capabilities import blobstore, keyvalue
from wasmplex.plugin import OpenContext

from .brokers import user_who

pytestmark = pytest.mark.anyio

PULL = "$JS.API.CONSUMER.MSG.NEXT.>"


@asynccontextmanager
async def bucket_for(denied: str) -> AsyncIterator[keyvalue.Bucket]:
    """Return a bucket with some keys, of a user who may not publish to a subject."""
    provider = NatsProvider()
    with user_who(f'publish: {{ deny: "{denied}" }}') as (few, all_, _), anyio.fail_after(30):
        for url in (all_, few):
            settings: Any = {"url": url, "bucket": "b", "timeout": "60s"}
            backend = await provider.open(provider.settings(**settings), OpenContext(Path()))
            try:
                bucket = await backend.open_bucket("n", "b")
                if url == few:
                    yield bucket
                else:
                    for key in ("k", "l"):
                        await bucket.set(key, b"v")
            finally:
                await backend.close()


async def changes(bucket: keyvalue.Bucket) -> None:
    async with bucket.watch() as watch:
        await bucket.set("k", b"w")
        await anext(aiter(watch))


@pytest.mark.parametrize(
    ("denied", "ask"),
    [
        ("$JS.API.DIRECT.GET.KV_b", lambda bucket: bucket.get_many(["k", "l"])),
        (PULL, lambda bucket: bucket.list_keys("", None, 10)),
        (PULL, changes),
    ],
    ids=["get_many", "list_keys", "watch"],
)
async def test_a_right_to_read_a_bucket_that_is_missing_is_said_at_once(
    denied: str, ask: Callable[[keyvalue.Bucket], Any]
) -> None:
    """The answer was waited for until the deadline."""
    async with bucket_for(denied) as bucket:
        with pytest.raises(keyvalue.AccessDenied, match=r"no right to publish to \$JS\.API\."):
            await ask(bucket)
        await bucket.set("k", b"w")


async def test_a_right_to_read_objects_that_is_missing_is_said_at_once() -> None:
    provider = NatsBlobProvider()

    async def opened(url: str) -> Any:
        settings: Any = {"url": url, "timeout": "60s"}
        return await provider.open(provider.settings(**settings), OpenContext(Path()))

    with user_who(f'publish: {{ deny: "{PULL}" }}') as (few, all_, _), anyio.fail_after(30):
        backend = await opened(all_)
        try:
            container = await backend.create_container("n", "c")
            writer = await container.write_object("o")
            await writer.write(b"content")
            await writer.commit()
            await writer.close()
        finally:
            await backend.close()
        backend = await opened(few)
        try:
            container = await backend.get_container("n", "c")
            with pytest.raises(blobstore.AccessDenied, match=r"no right to publish to \$JS\.API\.CONSUMER"):
                await content(container)
        finally:
            await backend.close()


async def content(container: Any) -> bytes:
    reader = await container.read_object("o", 0, None)
    try:
        return bytes(await reader.read())
    finally:
        await reader.close()
