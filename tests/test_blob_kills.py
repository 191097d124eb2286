"""Hosts and servers are killed while blobs are written: none acknowledged is lost, none is seen in part.

A few times in each run; ``WASMPLEX_BLOB_KILLS=200`` says how often.
"""

from __future__ import annotations

import asyncio
import os
import random
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest
from faults.blobs import Kills, opened
from wasmplex.capabilities.blobstore import BlobStoreBackend
from wasmplex.testing.servers import NatsServer, S3Server

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

TIMES = int(os.environ.get("WASMPLEX_BLOB_KILLS", "3"))
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


@pytest.mark.timeout(60 + 10 * TIMES)
async def test_filesystem(tmp_path: Path) -> None:
    kills = Kills("filesystem", {"path": "blobs"}, tmp_path, random.Random(SEED))
    await kills.create()
    left = 0
    for _ in range(TIMES):
        await asyncio.to_thread(kills.kill, 0.2)
        left += len(await asyncio.to_thread(files, tmp_path / "blobs" / ".staging"))
        store = await opened("filesystem", kills.settings, tmp_path)
        assert await asyncio.to_thread(files, tmp_path / "blobs" / ".staging") == []
        await kills.look(store)
        await store.close()
    assert kills.acknowledged
    print(f"{TIMES} kills, {kills.acknowledged} writes acknowledged, {left} unfinished files removed")


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
        await asyncio.to_thread(kills.kill, 0.2)
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
        await asyncio.to_thread(kills.kill, 0.5)
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
