"""What only object stores of NATS do: what other tools write and read, chunks, what killed hosts leave."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import nats
import pytest
from host_plugin_nats import NatsBlobProvider, NatsBlobSettings
from host_plugin_nats.blobs.layout import CHUNK, bucket, name_of, nuid, owner, parsed, token
from host_plugin_nats.blobs.objects import ObjectStream
from host_plugin_nats.blobs.store import NatsBlobBackend, ObjectContainer
from hypothesis import given
from hypothesis import strategies as st
from nats.js.object_store import ObjectStore
from wasmplex.capabilities.blobstore import (
    NoSuchContainer,
    NoSuchObject,
    Other,
    StoreUnavailable,
)
from wasmplex.plugin import OpenContext
from wasmplex.settings import SecretUrl
from wasmplex.testing.servers import NatsServer

pytestmark = pytest.mark.anyio

texts = st.text(st.characters(codec="utf-8"), max_size=40)


@given(texts)
def test_a_name_comes_back(name: str) -> None:
    assert name_of(token(name)) == name
    assert "." not in token(name)
    assert token(name)


@given(st.binary(max_size=60) | st.from_regex(r"\{.*\}").map(str.encode))
def test_any_message_can_be_looked_at(data: bytes) -> None:
    assert parsed(data) is None or data


@pytest.mark.parametrize("token", ["", "x", "wasmplex", "wasmplex--0", "wasmplex-a-b-c", "other-a-0"])
def test_chunks_of_other_tools_are_nobodys(token: str) -> None:
    assert owner(token) is None
    assert owner(nuid("A1", 255)) == "A1"


# ---------------------------------------------------------------- one store, and the client library


async def open_store(server: NatsServer, prefix: str) -> NatsBlobBackend:
    settings = NatsBlobSettings(url=SecretUrl(server.url), prefix=prefix)
    return await NatsBlobProvider().open(settings, OpenContext(base=Path()))


@pytest.fixture
def prefix() -> str:
    return secrets.token_hex(4)


@pytest.fixture
async def store(nats_server: NatsServer, prefix: str) -> AsyncIterator[NatsBlobBackend]:
    backend = await open_store(nats_server, prefix)
    yield backend
    await backend.close()


@pytest.fixture
async def container(store: NatsBlobBackend) -> ObjectContainer:
    return await store.create_container("ns", "c")


@pytest.fixture
async def library(
    nats_server: NatsServer, prefix: str, container: ObjectContainer
) -> AsyncIterator[ObjectStore]:
    client = await nats.connect(
        f"nats://{nats_server.address}", user="wasmplex", password=nats_server.password
    )
    yield await client.jetstream().object_store(bucket(prefix, "ns", "c"))
    await client.close()


async def put(container: ObjectContainer, name: str, *pieces: bytes) -> None:
    writer = await container.write_object(name)
    try:
        for piece in pieces:
            await writer.write(piece)
        await writer.commit()
    finally:
        await writer.close()


async def get(container: ObjectContainer, name: str, offset: int = 0, length: int | None = None) -> bytes:
    reader = await container.read_object(name, offset, length)
    try:
        data = b""
        while piece := await reader.read():
            data += piece
        return data
    finally:
        await reader.close()


async def chunks(container: ObjectContainer) -> Sequence[str]:
    return await container._stream.tokens()


async def test_other_tools_read_what_we_write(container: ObjectContainer, library: ObjectStore) -> None:
    data = secrets.token_bytes(3 * CHUNK + 5)
    await put(container, "a/ä", data[:1000], data[1000:200_000], data[200_000:])
    found = await library.get("a/ä")
    assert found.data == data
    assert (found.info.size, found.info.chunks) == (len(data), 4)


async def test_we_read_what_other_tools_write(container: ObjectContainer, library: ObjectStore) -> None:
    data = secrets.token_bytes(2 * CHUNK + 5)
    await library.put("b", data)
    await library.put("empty", b"")
    assert await get(container, "b") == data
    assert await get(container, "b", CHUNK + 1, CHUNK) == data[CHUNK + 1 : 2 * CHUNK + 1]
    assert await get(container, "empty") == b""
    assert {*(await container.list_objects(None, 10)).names} == {"b", "empty"}


async def test_a_link_and_a_tombstone_are_no_objects(
    container: ObjectContainer, library: ObjectStore
) -> None:
    await library.put("gone", b"1")
    await library.delete("gone")
    message = b'{"name":"link","bucket":"b","nuid":"n","size":0,"chunks":0,"options":{"link":{"bucket":"b"}}}'
    await library._js.publish(f"{container._stream.prefix}M.{token('link')}", message)
    await library._js.publish(f"{container._stream.prefix}M.{token('none')}", b"{")
    for name in ("gone", "link", "none"):
        with pytest.raises(NoSuchObject):
            await container.object_info(name)
        with pytest.raises(NoSuchObject):
            await get(container, name)
    assert (await container.list_objects(None, 10)).names == []
    await put(container, "gone", b"again")
    assert await get(container, "gone") == b"again"


async def test_what_is_damaged_is_not_returned_to_its_end(
    container: ObjectContainer, library: ObjectStore
) -> None:
    await put(container, "a", b"x" * 10)
    meta = (await container._stream.find("a")).meta
    assert meta is not None
    await container._stream.discard(meta.nuid)
    await library._js.publish(container._stream.chunks(meta.nuid), b"y" * 10)
    with pytest.raises(Other, match="digest"):
        await get(container, "a")


# ---------------------------------------------------------------- chunks


async def test_ranges_among_the_chunks_of_others(container: ObjectContainer) -> None:
    """Two objects are written in turns, so that their chunks alternate in the stream."""
    size = 10 * CHUNK + 7
    first, second = secrets.token_bytes(size), secrets.token_bytes(size)
    writers = [await container.write_object(name) for name in ("first", "second")]
    for start in range(0, size, CHUNK):
        for writer, data in zip(writers, (first, second), strict=True):
            await writer.write(data[start : start + CHUNK])
    for writer in writers:
        await writer.commit()
        await writer.close()
    for offset, length in ((0, None), (CHUNK, 5), (7 * CHUNK - 3, 6), (9 * CHUNK, 2 * CHUNK), (size - 1, 5)):
        end = None if length is None else offset + length
        assert await get(container, "first", offset, length) == first[offset:end]
        assert await get(container, "second", offset, length) == second[offset:end]


async def test_a_range_begins_where_it_begins(container: ObjectContainer) -> None:
    await put(container, "a", *(bytes([n]) * CHUNK for n in range(20)))
    reader = await container.read_object("a", 15 * CHUNK, 10)
    assert reader._wanted == 0
    assert reader._skip == 0
    assert await reader.read() == bytes([15]) * 10
    await reader.close()


async def test_a_slow_reader_is_not_sent_more(container: ObjectContainer) -> None:
    await put(container, "a", *(bytes([n]) * CHUNK for n in range(20)))
    reader = await container.read_object("a", 0, None)
    await reader.read()
    await asyncio.sleep(0.05)
    assert reader._wanted == 20 - 5
    await reader.close()


async def test_old_chunks_go(container: ObjectContainer) -> None:
    await put(container, "a", b"1" * CHUNK)
    await put(container, "a", b"2" * CHUNK)
    assert len(await chunks(container)) == 1
    writer = await container.write_object("a")
    await writer.write(b"3" * CHUNK)
    await writer.write(b"3" * CHUNK)
    await writer.close()
    assert len(await chunks(container)) == 1
    await container.delete_object("a")
    assert len(await chunks(container)) == 0


async def test_writers_of_one_object_leave_one(container: ObjectContainer) -> None:
    contents = [bytes([n]) * (CHUNK + n) for n in range(8)]
    await asyncio.gather(*(put(container, "a", data) for data in contents))
    assert await get(container, "a") in contents
    assert len(await chunks(container)) == 1


async def test_a_container_that_is_made_anew_has_no_old_chunks(store: NatsBlobBackend) -> None:
    container = await store.create_container("ns", "c")
    writer = await container.write_object("a")
    await writer.write(b"1" * CHUNK)
    async for _ in store.delete_container("ns", "c"):
        pass
    await store.create_container("ns", "c")
    with pytest.raises(NoSuchContainer):
        await writer.commit()
    await writer.close()
    assert (await container.list_objects(None, 10)).names == []


# ---------------------------------------------------------------- what killed hosts leave


async def test_what_a_killed_host_leaves_is_removed(
    container: ObjectContainer, nats_server: NatsServer, prefix: str
) -> None:
    await put(container, "kept", b"k" * CHUNK)
    killed = await open_store(nats_server, prefix)
    writer = await (await killed.get_container("ns", "c")).write_object("a")
    await writer.write(b"1" * CHUNK)
    await writer._acknowledged()
    assert len(await chunks(container)) == 2

    while_it_lives = await open_store(nats_server, prefix)
    assert while_it_lives._sweeping is not None
    await while_it_lives._sweeping
    await while_it_lives.close()
    assert len(await chunks(container)) == 2

    await killed.close()
    after = await open_store(nats_server, prefix)
    assert after._sweeping is not None
    await after._sweeping
    assert len(await chunks(container)) == 1
    assert await get(container, "kept") == b"k" * CHUNK
    await after.close()


async def test_a_writer_does_not_go_on_over_another_connection(container: ObjectContainer) -> None:
    writer = await container.write_object("a")
    await writer.write(b"1" * CHUNK)
    await writer._acknowledged()
    link = container._backend.link
    client: Any = link.connection.client
    await client.close()
    async with asyncio.timeout(10):
        await link.wait_up()
    with pytest.raises(StoreUnavailable):
        await writer.commit()
    await writer.close()
    with pytest.raises(NoSuchObject):
        await container.object_info("a")


async def test_no_two_requests_for_a_container_are_equal(
    store: NatsBlobBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server takes an equal one for the same: it would be told twice that it has made the container."""
    asked: list[str] = []
    ask = ObjectStream.ask

    async def told(stream: ObjectStream, subject: str, body: Any = None) -> Any:
        if subject.startswith("STREAM.CREATE."):
            asked.append(body["metadata"]["wasmplex-created-by"])
        return await ask(stream, subject, body)

    monkeypatch.setattr(ObjectStream, "ask", told)
    for number in range(20):
        await store.create_container("w", str(number))
    assert len({*asked}) == 20


async def test_a_stream_that_is_deleted(store: NatsBlobBackend, container: ObjectContainer) -> None:
    """Nothing is acknowledged that went into a container which is gone, or into the one in its place."""
    writer = await container.write_object("b")
    await writer.write(b"2")
    await container._stream.ask(f"STREAM.DELETE.{container._stream.name}")
    again = await store.create_container("ns", "c")
    with pytest.raises((NoSuchContainer, StoreUnavailable)):
        await writer.commit()
    await writer.close()
    assert (await again.list_objects(None, 10)).names == []
