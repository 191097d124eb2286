"""What elements point at: it is forgotten when it has been read, whatever else is read meanwhile."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from itertools import chain
from typing import Any

import pytest
from wasmplex.bridge.heap import StreamHeap
from wasmplex.bridge.side import Side
from wasmplex.wit.types import FutureType, Primitive, StreamType, TupleType

from .test_streams import assert_nothing_left, back, chunks, collect, guest, settled

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("transport")]
STRING = Primitive("string")


@pytest.fixture
def looked_at(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How much came out of stream memory, each time."""
    sizes, fetch, seen = list[int](), Side.fetch, StreamHeap.seen

    def noting(self: Side, which: int, address: int, size: int) -> Any:
        before = len(self.emitted)
        yield from fetch(self, which, address, size)
        sizes.append(sum(map(len, self.emitted[before:])))

    def noting_seen(self: StreamHeap, at: int) -> bytes:
        found = seen(self, at)
        sizes.append(len(found))
        return found

    monkeypatch.setattr(Side, "fetch", noting)
    monkeypatch.setattr(StreamHeap, "seen", noting_seen)
    return sizes


@pytest.mark.parametrize("kind", [FutureType, StreamType])
async def test_a_read_that_nobody_writes_to_keeps_nothing_of_the_others(
    kind: type[FutureType | StreamType], looked_at: list[int]
) -> None:
    texts = [str(n % 10) * 10_000 for n in range(100)]
    never = asyncio.get_running_loop().create_future()

    async def late() -> AsyncIterator[list[str]]:
        yield [await never]

    async with guest(TupleType((StreamType(STRING), kind(STRING))), serve=back) as instance:
        source = never if kind is FutureType else late()
        stream, other = await instance.call("out#f0", (chunks(*([text] for text in texts)), source))
        pending = asyncio.ensure_future(collect(other) if kind is StreamType else _awaited(other))
        assert await collect(stream) == texts
        assert max(looked_at) < 200_000
        never.set_result("at last")
        assert await pending == ["at last"]
        await settled(instance)
        assert_nothing_left(instance)


async def _awaited(future: Any) -> list[Any]:
    return [await future]


@pytest.mark.parametrize("seed", range(4))
async def test_each_reader_gets_what_is_written_for_it_however_the_writers_take_turns(seed: int) -> None:
    chance = random.Random(seed)

    def texts() -> list[str]:
        return [chance.choice("abc") * chance.choice([1, 9_000, 70_000])] * chance.randrange(1, 3)

    streams = [[texts() for _ in range(30)] for _ in range(3)]

    async def at_times(parts: list[list[str]]) -> AsyncIterator[list[str]]:
        for part in parts:
            for _ in range(chance.randrange(4)):
                await asyncio.sleep(0)
            yield part

    async def some_time(text: str) -> str:
        for _ in range(chance.randrange(200)):
            await asyncio.sleep(0)
        return text

    type_ = TupleType((*[StreamType(STRING)] * 3, *[FutureType(STRING)] * 2))
    async with guest(type_, serve=back) as instance:
        given = (*map(at_times, streams), some_time("x" * 100_000), some_time("y"))
        *readers, first, second = await instance.call("out#f0", given)
        readers[0].read_ahead(4)
        found = await asyncio.gather(*map(collect, readers), first, second)
        assert found == [*([*chain.from_iterable(parts)] for parts in streams), "x" * 100_000, "y"]
        await settled(instance)
        assert_nothing_left(instance)
