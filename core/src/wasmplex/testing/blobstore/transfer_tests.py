"""The part of the kit about bytes on their way: pieces, atomic writes, several at once, cancelling."""

from __future__ import annotations

import asyncio
from typing import cast

import anyio
import pytest

from wasmplex.capabilities.blobstore import PIECE, BlobStoreError, ObjectId
from wasmplex.testing.blobstore.driver import Bench, ContractHandle, rest
from wasmplex.testing.blobstore.object_tests import pattern
from wasmplex.testing.kit import Conformance, Refused, expressible, needs, refused

__all__ = ["TransferTests"]

_SIZE = 5 * PIECE + 17


async def opened(bench: Bench) -> ContractHandle:
    return cast(ContractHandle, await bench.container())


class TransferTests(Conformance):
    """What can be seen of transfers by those who read and write a piece at a time."""

    @expressible("pieces")
    async def test_pieces_are_bounded(self, bench: Bench) -> None:
        """streaming: no piece is over 256 KiB, none is empty before the end; the length is known first."""
        container = await opened(bench)
        data = pattern(_SIZE)
        await container.put("k", data)
        raw = await bench.backend.get_container(bench.namespace, "container")
        for offset, length in ((0, None), (10, None), (3, PIECE + 1), (_SIZE, None), (0, 0)):
            expected = data[offset : None if length is None else offset + length]
            reader = await raw.read_object("k", offset, length)
            try:
                assert reader.length == len(expected)
                found = bytearray()
                while piece := await reader.read():
                    assert isinstance(piece, bytes)
                    assert len(piece) <= PIECE
                    found += piece
                assert found == expected
            finally:
                await reader.close()

    @expressible("pieces")
    async def test_bytes_that_are_at_hand(self, bench: Bench) -> None:
        """streaming: what is put into a buffer and what is read are the object, and fit the buffer."""
        container = await opened(bench)
        data = pattern(_SIZE)
        await container.put("k", data)
        raw = await bench.backend.get_container(bench.namespace, "container")
        for size in (1000, PIECE, 3 * PIECE):
            reader = await raw.read_object("k", 10, _SIZE - 20)
            buffer, found, count = bytearray(b"-" * (size + 1)), bytearray(), 0
            try:
                while len(found) < reader.length:
                    if found and not count and (coming := reader.next_at_hand()) is not None:
                        await asyncio.wait([coming])
                    elif not count:
                        found += await reader.read()
                    with memoryview(buffer) as view:
                        count = reader.readinto_nowait(view[:size])
                    assert 0 <= count <= size
                    found += buffer[:count]
                assert buffer[size:] == b"-"
                assert found == data[10 : _SIZE - 10]
            finally:
                await reader.close()

    @expressible("pieces")
    async def test_a_writer_takes_pieces_of_any_size(self, bench: Bench) -> None:
        """streaming: 1 byte, 256 KiB, and what lies between; the memory they lie in may change at once."""
        container = await opened(bench)
        memory, expected = bytearray(PIECE), bytearray()
        async with container.writer("k") as writer:
            for number, size in enumerate((1, PIECE, 3, PIECE - 1, 65_536, 1, 1, 70_001)):
                memory[:] = bytes([number]) * PIECE
                await writer.write(memoryview(memory)[:size])
                expected += memory[:size]
            await writer.commit()
        assert await container.get("k") == expected

    @expressible("pieces")
    async def test_nothing_is_seen_before_the_commit(self, bench: Bench) -> None:
        """write-data: atomic: readers see the old object or the new one whole."""
        container = await opened(bench)
        await container.put("k", b"old")
        async with container.writer("k") as writer, container.writer("new") as other:
            for _ in range(3):
                await writer.write(b"n" * PIECE)
                await other.write(b"n" * PIECE)
                assert await container.get("k") == b"old"
                assert (await container.stat("k")).size == 3
                assert await container.names() == ["k"]
                assert await container.has("new") is False
            await writer.commit()
        assert await container.get("k") == b"n" * (3 * PIECE)
        assert await container.names() == ["k"]

    @expressible("pieces")
    async def test_the_last_that_commits_wins(self, bench: Bench) -> None:
        """write-data: of several writers of one object each is whole, and the last one stays."""
        container = await opened(bench)
        async with container.writer("k") as first, container.writer("k") as second:
            for _ in range(3):
                await first.write(b"1" * PIECE)
                await second.write(b"2" * (PIECE - 1))
            await second.commit()
            assert await container.get("k") == b"2" * (3 * (PIECE - 1))
            await first.commit()
        assert await container.get("k") == b"1" * (3 * PIECE)

    @expressible("pieces")
    async def test_a_reader_never_mixes_two_objects(self, bench: Bench) -> None:
        """write-data: who reads while the object is replaced reads the old one whole, or fails."""
        container = await opened(bench)
        for change in ("replace", "delete"):
            await container.put("k", b"1" * _SIZE)
            async with container.reader("k") as reader:
                begun = await reader.read()
                await (container.put("k", b"2" * _SIZE) if change == "replace" else container.delete("k"))
                try:
                    found = begun + await rest(reader)
                except Refused:
                    assert "stable-read" not in bench.features
                else:
                    assert found == b"1" * _SIZE

    @expressible("pieces")
    @needs("stable-read")
    async def test_a_reader_goes_on(self, bench: Bench) -> None:
        """stable-read: a reader reads to the end what it was opened on."""
        container = await opened(bench)
        data = pattern(_SIZE)
        await container.put("k", data)
        async with container.reader("k") as reader, container.reader("k", 5, _SIZE) as part:
            begun = await reader.read()
            await container.put("k", b"new")
            await container.delete("k")
            assert begun + await rest(reader) == data
            assert await rest(part) == data[5:]

    @expressible("pieces")
    async def test_what_is_not_read_to_its_end(self, bench: Bench) -> None:
        """get-data: closing a reader in its midst, or before anything was read, leaves all as it was."""
        container = await opened(bench)
        await container.put("k", pattern(_SIZE))
        for pieces in (0, 1, 2):
            async with container.reader("k") as reader:
                for _ in range(pieces):
                    await reader.read()
        assert await container.get("k") == pattern(_SIZE)

    @expressible("pieces")
    async def test_many_transfers_at_once(self, bench: Bench) -> None:
        """streaming: transfers at once do not get into each other."""
        container = await opened(bench)

        async def pass_on(number: int) -> None:
            data = pattern(PIECE + 100 * number, number * 10**6)
            await container.put(f"{number}", data)
            assert await container.get(f"{number}") == data

        async with anyio.create_task_group() as tasks:
            for number in range(12):
                tasks.start_soon(pass_on, number)
        assert len(await container.names()) == 12

    @expressible("pieces")
    @pytest.mark.parametrize("turns", [0, 1, 2, 3, 5, 8, 13, 21])
    async def test_a_write_that_is_cancelled(self, bench: Bench, turns: int) -> None:
        """write-data: cancelled at any await, the old object or the new one is there, and nothing else."""
        container = await opened(bench)
        await container.put("k", b"old")
        new = b"n" * (2 * PIECE)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(container.put, "k", new)
            for _ in range(turns):
                await anyio.lowlevel.checkpoint()
            tasks.cancel_scope.cancel()
        assert await container.get("k") in (b"old", new)
        assert await container.names() == ["k"]
        await container.put("k", b"after")
        assert await container.get("k") == b"after"

    @expressible("pieces")
    async def test_writing_to_a_container_that_is_deleted_meanwhile(self, bench: Bench) -> None:
        """write-data: a container that is gone at the end is no-such-container, and stays gone."""
        container = await opened(bench)
        store = await bench.store()
        async with container.writer("k") as writer:
            await writer.write(b"x" * PIECE)
            await store.delete("container")

            async def finish() -> None:
                await writer.write(b"x")
                await writer.commit()

            await refused("no-such-container", finish())
        assert await store.exists("container") is False
        again = await store.create("container")
        assert await again.names() == []

    @expressible("pieces")
    async def test_listing_while_others_write(self, bench: Bench) -> None:
        """list-objects: what existed throughout is listed exactly once, whatever is written meanwhile."""
        container = await opened(bench)
        raw = await bench.backend.get_container(bench.namespace, "container")
        stay = {f"stays {number}" for number in range(8)}
        for name in stay:
            await container.put(name, b"")
            await container.put(f"goes {name}", b"")
        found: list[str] = []
        cursor, number = None, 0
        while True:
            page = await raw.list_objects(cursor, 3)
            assert len(page.names) <= 3
            found += page.names
            number += 1
            await container.put(f"a{number}", b"")
            await container.put(f"z{number}", b"")
            goes = [name for name in await container.names() if name.startswith("goes")]
            await container.delete_many(goes[:3])
            for name in sorted(stay)[:2]:
                await container.put(name, b"again")
            if (cursor := page.cursor) is None:
                break
        assert [name for name in sorted(found) if name in stay] == sorted(stay)

    @expressible("pieces")
    @needs("atomic-move")
    async def test_moving_is_one_step(self, bench: Bench) -> None:
        """atomic-move: a write to the source while it is moved is not lost."""
        container, store = await opened(bench), await bench.store()
        for number in range(20):
            await container.put("k", b"old")
            await container.delete("moved")

            async def write() -> None:
                await container.put("k", b"new")

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(store.move, ObjectId("container", "k"), ObjectId("container", "moved"))
                tasks.start_soon(write)
            contents = [await container.get(name) for name in await container.names()]
            assert b"new" in contents, number

    @expressible("pieces")
    async def test_errors_are_the_capabilitys_own(self, bench: Bench) -> None:
        """A guest error is a typed case: a backend raises no error of its driver's for what is not there."""
        await opened(bench)
        raw = await bench.backend.get_container(bench.namespace, "container")
        for attempt in (raw.object_info("k"), raw.read_object("k", 0, None)):
            with pytest.raises(BlobStoreError) as caught:
                await attempt
            assert caught.value.case == "no-such-object"
        with pytest.raises(BlobStoreError) as caught:
            await bench.backend.get_container(bench.namespace, "nowhere")
        assert caught.value.case == "no-such-container"
