"""Bytes that are put where the guest takes them, while they are at hand, and what takes time otherwise."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator

import pytest
from wasmplex.bridge.scheduler import Scheduler
from wasmplex.errors import Trap
from wasmplex.streams import ByteSource
from wasmplex.wit.types import Primitive, StreamType

from .test_streams import assert_nothing_left, back, collect, guest, settled

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("transport")]
BYTES = StreamType(Primitive("u8"))


class AtHand(ByteSource):
    """Bytes; `every` how many times it is asked for those at hand it has none.

    :ivar chunks: how many the iterator was asked for
    :ivar closed: whether the iterator is
    """

    def __init__(self, data: bytes, every: int) -> None:
        self.rest = memoryview(data)
        self.every = every
        self.asked = self.chunks = 0
        self.closed = False

    def _next(self, most: int) -> memoryview:
        part, self.rest = self.rest[:most], self.rest[most:]
        return part

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            while self.rest:
                self.chunks += 1
                await asyncio.sleep(0)
                yield bytes(self._next(10_000))
        finally:
            self.closed = True

    def readinto_nowait(self, buffer: memoryview) -> int:
        self.asked += 1
        part = self._next(0 if self.asked % self.every == 0 else len(buffer))
        buffer[: len(part)] = part
        return len(part)


@pytest.mark.parametrize("every", [1, 2, 5])
async def test_bytes_that_are_at_hand_are_put_where_the_guest_takes_them(every: int, transport: str) -> None:
    data = random.Random(every).randbytes(1_500_000)
    source = AtHand(data, every)
    async with guest(BYTES, serve=back) as instance:
        stream = await instance.call("out#f0", source)
        assert bytes(await collect(stream)) == data
        await settled(instance)
        assert_nothing_left(instance)
    assert source.closed
    if transport == "memory":
        assert source.chunks <= source.asked // every + 1


async def test_who_has_bytes_at_hand_is_told_that_the_guest_wants_no_more() -> None:
    source = AtHand(bytes(10_000_000), 1000)
    async with guest(BYTES, serve=back) as instance:
        stream = await instance.call("out#f0", source)
        await anext(aiter(stream))
        stream.close()
        await settled(instance)
        assert_nothing_left(instance)
    assert source.closed
    assert source.rest


class Wrong(AtHand):
    """Says that there are more bytes than fit, or raises."""

    def readinto_nowait(self, buffer: memoryview) -> int:
        if self.every:
            return len(buffer) + 1
        raise ZeroDivisionError


@pytest.mark.parametrize(("every", "why"), [(0, "ZeroDivisionError"), (1, "10001 cannot be in 10000")])
async def test_a_source_that_is_wrong_ends_the_call(every: int, why: str, transport: str) -> None:
    async with guest(BYTES, serve=back) as instance:
        stream = await instance.call("out#f0", Wrong(bytes(100_000), every))
        if transport == "strings":  # it is not asked for what is at hand
            assert len(await collect(stream)) == 100_000
            return
        with pytest.raises(Trap, match=why):
            await collect(stream)


class Later(AtHand):
    """Has 50,000 bytes at hand at a time, and more of them some turns of the loop later.

    :ivar waited: how often it was asked for what tells
    """

    waited = 0
    coming: asyncio.Future[None] | None = None

    def readinto_nowait(self, buffer: memoryview) -> int:
        if self.coming is None or not self.coming.done():
            return 0
        self.coming = None
        part = self._next(min(50_000, len(buffer)))
        buffer[: len(part)] = part
        return len(part)

    def next_at_hand(self) -> asyncio.Future[None] | None:
        if not self.every:
            raise ZeroDivisionError
        if not self.rest:
            return None
        self.waited += 1
        loop = asyncio.get_running_loop()
        self.coming = loop.create_future()
        if self.waited < self.every:
            loop.call_later(0.001, self.coming.set_result, None)
        return self.coming


async def test_who_tells_of_bytes_at_hand_is_not_asked_for_chunks(transport: str) -> None:
    data = random.Random(3).randbytes(1_500_000)
    source = Later(data, 1000)
    async with guest(BYTES, serve=back) as instance:
        stream = await instance.call("out#f0", source)
        assert bytes(await collect(stream)) == data
        await settled(instance)
        assert_nothing_left(instance)
    assert source.closed
    if transport == "memory":
        assert source.chunks == 1
        assert source.waited >= 29


async def test_who_waits_for_bytes_is_told_that_the_guest_wants_no_more() -> None:
    source = Later(bytes(1_500_000), 3)
    async with guest(BYTES, serve=back) as instance:
        stream = await instance.call("out#f0", source)
        await anext(aiter(stream))
        stream.close()
        await settled(instance)
        assert_nothing_left(instance)
    assert source.closed


async def test_who_waits_for_bytes_has_none_on_their_way(transport: str) -> None:
    source = Later(bytes(1_500_000), 3)
    async with guest(BYTES, serve=back) as instance:
        stream = await instance.call("out#f0", source)
        taken = 0
        while taken < 10_000 + 50_000:
            taken += len(await anext(aiter(stream)))
        if transport == "strings":  # nobody asks it for what tells
            return
        while source.waited < 3 or instance.state[Scheduler].chunks.bytes:  # noqa: ASYNC110  turns of the loop
            await asyncio.sleep(0)


async def test_a_source_that_cannot_tell_ends_the_call(transport: str) -> None:
    async with guest(BYTES, serve=back) as instance:
        stream = await instance.call("out#f0", Later(bytes(100_000), 0))
        if transport == "strings":
            assert len(await collect(stream)) == 100_000
            return
        with pytest.raises(Trap, match="ZeroDivisionError"):
            await collect(stream)
