"""Hosts and servers are killed while blobs are written: none acknowledged is lost, none is seen in part.

A few times in each run; `make faults` does it 200 times on a directory, and 50 times on each server.
"""

from __future__ import annotations

import asyncio
import os
import random
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from faults.blobs import Kills, opened, read
from wasmplex.capabilities.blobstore import PIECE, BlobStoreBackend, BlobStoreError
from wasmplex.testing.servers import NatsServer, S3Server

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

FULL = os.environ.get("WASMPLEX_FAULTS") == "full"
TIMES = 50 if FULL else 3
TIMES_ON_DISK = 200 if FULL else 3
LONGEST = 1.0 if FULL else 0.2
"""Seconds after the first write at which a host is killed, at the latest."""
SEED = int(os.environ.get("WASMPLEX_BLOB_SEED", "1"))


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def nats() -> Iterator[NatsServer]:
    with NatsServer() as server:
        yield server


@pytest.fixture
def s3() -> Iterator[S3Server]:
    with S3Server() as server:
        yield server


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


@pytest.mark.timeout(60 + 10 * TIMES_ON_DISK)
async def test_filesystem(tmp_path: Path) -> None:
    kills = Kills("filesystem", {"path": "blobs"}, tmp_path, random.Random(SEED))
    await kills.create()
    left = 0
    for _ in range(TIMES_ON_DISK):
        await asyncio.to_thread(kills.kill, 0.2)
        left += len(await asyncio.to_thread(files, tmp_path / "blobs" / ".staging"))
        store = await opened("filesystem", kills.settings, tmp_path)
        assert await asyncio.to_thread(files, tmp_path / "blobs" / ".staging") == []
        await kills.look(store)
        await store.close()
    assert kills.acknowledged
    print(f"{TIMES_ON_DISK} kills, {kills.acknowledged} writes acknowledged, {left} unfinished files removed")


async def _chunks(store: BlobStoreBackend) -> int:
    """Return how many objects' chunks there are, once what was left is removed."""
    assert store._sweeping is not None  # type: ignore[attr-defined]
    await store._sweeping  # type: ignore[attr-defined]
    container = await store.get_container("ns", "c")
    return len(await container._stream.tokens())  # type: ignore[attr-defined]


@pytest.mark.timeout(60 + 10 * TIMES)
async def test_nats(tmp_path: Path, nats: NatsServer) -> None:
    kills = Kills("nats", {"url": nats.url}, tmp_path, random.Random(SEED))
    await kills.create()
    for turn in range(TIMES):
        await asyncio.to_thread(kills.kill, LONGEST)
        if turn % 3 == 2:
            await asyncio.to_thread(nats.restart)
        store = await opened("nats", kills.settings, tmp_path)
        chunks = await _chunks(store)
        await kills.look(store)
        assert chunks == sum(numbers != {-1} for numbers in kills.possible.values())
        await store.close()
    assert kills.acknowledged
    print(f"{TIMES} kills, {kills.acknowledged} writes acknowledged")


@pytest.mark.timeout(60 + 10 * TIMES)
async def test_s3(tmp_path: Path, s3: S3Server) -> None:
    settings = {
        "endpoint": s3.url,
        "bucket": s3.bucket,
        "prefix": secrets.token_hex(4),
        "access_key_id": s3.access_key,
        "secret_access_key": s3.secret_key,
        "part_size": 5 << 20,
    }
    kills = Kills("s3", settings, tmp_path, random.Random(SEED), largest=12 << 20)
    await kills.create()
    query = {"uploads": "", "prefix": f"{settings['prefix']}/"}
    left = 0
    for _ in range(TIMES):
        await asyncio.to_thread(kills.kill, max(LONGEST, 0.5))
        _, body = await asyncio.to_thread(s3.ask, "GET", f"/{s3.bucket}", b"", query)
        left += body.count(b"<UploadId>")
        store = await opened("s3", settings, tmp_path)
        if (aborting := store._aborting) is not None:  # type: ignore[attr-defined]
            await aborting
        _, body = await asyncio.to_thread(s3.ask, "GET", f"/{s3.bucket}", b"", query)
        assert b"<UploadId>" not in body
        await kills.look(store)
        await store.close()
    assert kills.acknowledged
    print(f"{TIMES} kills, {kills.acknowledged} writes acknowledged, {left} unfinished uploads aborted")


# ---------------------------------------------------------------- the server is killed


async def _write_while_it_is_killed(store: BlobStoreBackend, server: NatsServer | S3Server) -> None:
    """Begin to write over what is there, and kill the server half-way."""
    container = await store.get_container("ns", "c")
    writer = await container.write_object("a")

    async def write_on() -> None:
        for _ in range(24):
            await writer.write(bytes(PIECE))
        await writer.commit()

    try:
        for _ in range(24):
            await writer.write(bytes(PIECE))
        await asyncio.to_thread(server.kill)
        with pytest.raises(BlobStoreError):
            await write_on()
    finally:
        await writer.close()


async def _put(store: BlobStoreBackend, data: bytes) -> None:
    writer = await (await store.get_container("ns", "c")).write_object("a")
    try:
        await writer.write(data)
        await writer.commit()
    finally:
        await writer.close()


async def _survives(kind: str, settings: dict[str, Any], server: NatsServer | S3Server, base: Path) -> Any:
    """Return the store as it is when a server was killed in the midst of a write, and is there again."""
    store = await opened(kind, settings, base)
    try:
        await store.create_container("ns", "c")
        await _put(store, b"old")
        await _write_while_it_is_killed(store, server)
    finally:
        await store.close()
    await asyncio.to_thread(server.start)
    store = await opened(kind, settings, base)
    container = await store.get_container("ns", "c")
    assert await read(container, "a") == b"old"
    assert (await container.list_objects(None, 1000)).names == ["a"]
    return store


@pytest.mark.timeout(120)
async def test_nats_is_killed(tmp_path: Path, nats: NatsServer) -> None:
    store = await _survives("nats", {"url": nats.url}, nats, tmp_path)
    try:
        assert await _chunks(store) == 1
        await _put(store, b"new")
        assert await read(await store.get_container("ns", "c"), "a") == b"new"
    finally:
        await store.close()


@pytest.mark.timeout(120)
async def test_s3_is_killed(tmp_path: Path, s3: S3Server) -> None:
    settings = {
        "endpoint": s3.url,
        "bucket": s3.bucket,
        "access_key_id": s3.access_key,
        "secret_access_key": s3.secret_key,
        "part_size": 5 << 20,
    }
    store = await _survives("s3", settings, s3, tmp_path)
    try:
        if (aborting := store._aborting) is not None:
            await aborting
        _, body = await asyncio.to_thread(s3.ask, "GET", f"/{s3.bucket}", b"", {"uploads": ""})
        assert b"<UploadId>" not in body
        await _put(store, b"new")
        assert await read(await store.get_container("ns", "c"), "a") == b"new"
    finally:
        await store.close()
