"""Streams from a `ChunkSource`: asked for a chunk when the guest has taken the one before, no sooner."""

from __future__ import annotations

import asyncio
from typing import Any

import anyio
import pytest
from wasmplex.bridge.scheduler import Scheduler
from wasmplex.errors import Trap
from wasmplex.streams import ChunkSource
from wasmplex.wit.types import StreamType

from .test_streams import U8, assert_nothing_left, back, chunks, collect, guest, settled

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("transport")]


class Source(ChunkSource[bytes]):
    """Chunks that are there, and numbers of turns after which the next one is.

    :param at_hand: whether those that are there are to be had without `read`
    """

    def __init__(self, *items: bytes | int | Exception, at_hand: bool = False) -> None:
        self.items = list(items)
        self.at_hand = at_hand
        self.reads = self.closed = 0
        self.cancelled = False

    def read_nowait(self) -> bytes | None:
        match self.items[:1] if self.at_hand else [0]:
            case [bytes() as chunk]:
                del self.items[0]
                return chunk
            case [Exception() as error]:
                raise error
            case []:
                return b""
        return None

    async def read(self) -> bytes | None:
        self.reads += 1
        while self.items:
            match self.items.pop(0):
                case bytes() as chunk:
                    return chunk
                case int() as turns:
                    await self.wait(turns)
                case error:
                    raise error
        return None

    async def wait(self, turns: int) -> None:
        try:
            for _ in range(turns):
                await asyncio.sleep(0)
        except asyncio.CancelledError:
            self.cancelled = True
            raise

    def close(self) -> None:
        self.closed += 1


async def test_a_source_is_asked_for_chunks_as_they_are_taken() -> None:
    async with guest(StreamType(U8), serve=back) as instance:
        source = Source(b"there", b"at once", 1, b"later", 20, b"last", 3)
        stream = await instance.call("out#f0", source)
        assert bytes(await collect(stream)) == b"thereat oncelaterlast"
        await settled(instance)
        assert (source.reads, source.closed) == (5, 0)
        assert_nothing_left(instance)


async def test_chunks_at_hand_are_not_waited_for() -> None:
    async with guest(StreamType(U8), serve=back) as instance:
        source = Source(b"there", b"at once", 1, b"later", b"last", at_hand=True)
        stream = await instance.call("out#f0", source)
        assert bytes(await collect(stream)) == b"thereat oncelaterlast"
        await settled(instance)
        assert (source.reads, source.closed) == (1, 0)
        assert_nothing_left(instance)


async def test_chunks_at_hand_wait_for_room() -> None:
    async with guest(StreamType(U8), serve=back) as instance:
        room, all_of_it = instance.state[Scheduler].chunks, 1 << 40
        assert room.hold_at_once(all_of_it)
        source = Source(b"there", b"at once", at_hand=True)
        reading = asyncio.ensure_future(collect(await instance.call("out#f0", source)))
        await asyncio.sleep(0.01)
        assert not reading.done()
        room.taken(all_of_it)
        assert bytes(await reading) == b"thereat once"
        await settled(instance)
        assert (source.reads, room.bytes) == (0, 0)
        assert_nothing_left(instance)


async def test_a_source_is_not_asked_before_the_guest_has_taken_what_there_was() -> None:
    async with guest(StreamType(U8), serve=back) as instance:
        source = Source(*[bytes(65_536)] * 20)
        stream = await instance.call("out#f0", source)
        taken = len(await stream.read())
        await asyncio.sleep(0.01)
        assert (
            source.reads - 2
        ) * 65_536 <= taken + 65_536  # one that is read, and one behind it in the guest
        stream.close()
        await settled(instance)
        assert source.closed == 1
        assert_nothing_left(instance)


async def test_dropping_the_end_stops_and_closes_a_source() -> None:
    closed = anyio.Event()
    source = Source(b"begin", 1 << 30)
    source.close = closed.set  # type: ignore[method-assign]

    async def ignore(stream: Any) -> Any:
        await stream.read()
        stream.close()
        return chunks(b"done")

    async with guest(StreamType(U8), serve=ignore) as instance:
        stream = await instance.call("out#f0", source)
        assert bytes(await collect(stream)) == b"done"
        await closed.wait()
        await settled(instance)
        await asyncio.sleep(0)
        assert source.cancelled
        assert_nothing_left(instance)


@pytest.mark.parametrize("before", [(), (1,), (b"part",), (b"part", 1)])
@pytest.mark.parametrize("at_hand", [False, True])
async def test_a_source_that_fails_in_its_read_fails_the_call(
    before: tuple[bytes | int, ...], *, at_hand: bool
) -> None:
    async def read_all(stream: Any) -> Any:
        return chunks(bytes(await collect(stream)))

    async with guest(StreamType(U8), serve=read_all) as instance:
        with pytest.raises(Trap, match="OSError"):
            await instance.call("out#f0", Source(*before, OSError("disk on fire"), at_hand=at_hand))
