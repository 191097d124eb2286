"""Watching a bucket: a consumer that goes on where the last one stopped."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager

import anyio
from wasmplex.capabilities.keyvalue import Change, StoreUnavailable

from host_plugin_nats.link import Link
from host_plugin_nats.stream import Stream
from host_plugin_nats.subjects import Subjects

__all__ = ["watch"]


@asynccontextmanager
async def watch(
    link: Link, stream: Stream, subjects: Subjects, patience: float
) -> AsyncIterator[AsyncIterator[Change]]:
    """Return the changes of a bucket.

    :param patience: seconds that the server may take to answer at first

    When the connection was lost they go on after the last one that was told. Of several changes of one key
    in the meantime only the last is: the bucket keeps no others.
    """
    async with asyncio.timeout(patience):
        after = await stream.last_sequence()
    async with aclosing(_changes(link, stream, subjects, after)) as changes:
        yield changes


async def _changes(
    link: Link, stream: Stream, subjects: Subjects, after: int
) -> AsyncGenerator[Change, None]:
    while True:
        try:
            async with aclosing(stream.follow(subjects.all, after)) as batches:
                async for batch in batches:
                    for message in batch:
                        after = message.sequence
                        key = subjects.key(message.subject)
                        if key is not None:
                            yield Change(key, message.value if message.exists else None)
        except StoreUnavailable:
            await anyio.sleep(0.05)
            await link.wait_up()
