"""A stream that was broken off is never taken for a whole one."""

from __future__ import annotations

import asyncio

import pytest
from wasmplex.streams import StreamAborted, StreamClosed, channel

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("waiting", [False, True])
async def test_aborting(waiting: bool) -> None:
    writer, stream = channel()
    found: list[bytes] = []

    async def read() -> None:
        async for chunk in stream:
            found.append(chunk)
            if not waiting:
                await asyncio.sleep(0.01)  # the reader is busy when the writer gives up

    reading = asyncio.create_task(read())
    await writer.send(b"a")
    if waiting:
        await asyncio.sleep(0.01)
    writer.abort(ValueError("given up"))
    with pytest.raises(ValueError, match="given up"):
        await reading
    assert found == [b"a"]


async def test_aborting_before_anybody_reads() -> None:
    writer, stream = channel()
    writer.abort()
    with pytest.raises(StreamAborted):
        await anext(aiter(stream))


async def test_aborting_what_has_ended() -> None:
    writer, stream = channel()
    writer.close()
    writer.abort()
    assert [chunk async for chunk in stream] == []


async def test_nobody_reads_any_more() -> None:
    writer, stream = channel()
    stream.close()
    with pytest.raises(StreamClosed):
        await writer.send(b"a")
    writer.close()
