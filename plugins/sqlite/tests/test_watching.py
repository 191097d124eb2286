"""Watching a bucket of a file that other processes write to."""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from host_plugin_sqlite import SqliteProvider, SqliteSettings, watching
from host_plugin_sqlite.store import SqliteBackend
from wasmplex.capabilities.keyvalue import Change, StoreUnavailable
from wasmplex.plugin import OpenContext

pytestmark = pytest.mark.anyio

WORKER = [sys.executable, str(Path(__file__).parent / "worker.py")]

Opened = Callable[[], Any]


@asynccontextmanager
async def store(path: Path) -> AsyncIterator[SqliteBackend]:
    backend = await SqliteProvider().open(SqliteSettings(path=path, watch_every=0.002), OpenContext(Path()))
    try:
        with anyio.fail_after(30):
            yield backend
    finally:
        await backend.close()


def rows(path: Path, table: str) -> int:
    with sqlite3.connect(path) as database:
        (count,) = database.execute(f"SELECT count(*) FROM {table}").fetchone()
    database.close()
    return int(count)


async def test_what_another_process_writes_is_told(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    async with store(path) as here:
        bucket = await here.open_bucket("shared", "b")
        async with bucket.watch() as changes:
            other = await anyio.open_process([*WORKER, "write", str(path), "0"])
            try:
                for number in range(5):
                    assert await anext(changes) == Change(f"k{number}", b"value of %d" % number * 50)
            finally:
                other.kill()
                await other.aclose()


async def test_two_watchers_are_told_and_the_log_is_empty_afterwards(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    async with store(path) as here, store(path) as there:
        bucket = await here.open_bucket("n", "b")
        theirs = await there.open_bucket("n", "b")
        async with bucket.watch() as changes:
            async with theirs.watch() as others:
                await theirs.set("k", b"1")
                await bucket.delete("k")
                await bucket.delete("k")
                for told in (changes, others):
                    assert await anext(told) == Change("k", b"1")
                    assert await anext(told) == Change("k", None)
            await bucket.set("k", b"2")
            assert await anext(changes) == Change("k", b"2")
    assert (rows(path, "change"), rows(path, "watcher")) == (0, 0)


async def test_nothing_is_logged_while_nobody_watches(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    async with store(path) as here:
        bucket = await here.open_bucket("n", "b")
        other = await here.open_bucket("n", "other")
        async with bucket.watch():
            await other.set("k", b"1")
        await bucket.set("k", b"1")
    assert rows(path, "change") == 0


async def test_the_log_is_trimmed_while_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "TRIM_AFTER", 10)
    path = tmp_path / "s.db"
    async with store(path) as here:
        bucket = await here.open_bucket("n", "b")
        async with bucket.watch() as changes:
            for start in range(0, 100, 10):
                await bucket.set_many([(f"k{number}", b"") for number in range(start, start + 10)])
                told = [(await anext(changes)).key for _ in range(10)]
                assert sorted(told) == sorted(f"k{number}" for number in range(start, start + 10))
            await bucket.set("last", b"")
            await anext(changes)
            assert rows(path, "change") <= 10 + watching.PAGE


async def test_a_watcher_that_was_lost_is_forgotten_and_told_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "LEASE", -1.0)
    monkeypatch.setattr(watching, "HEARTBEAT", 0.0)
    path = tmp_path / "s.db"
    async with store(path) as here:
        bucket = await here.open_bucket("n", "b")
        async with bucket.watch() as changes:
            with pytest.raises(StoreUnavailable, match="the watch lapsed"):
                await anext(changes)
    assert rows(path, "watcher") == 0


async def test_what_expires_is_told_as_deleted_when_it_is_purged(tmp_path: Path) -> None:
    now = 1_000
    async with store(tmp_path / "s.db") as here:
        here.clock = lambda: now
        bucket = await here.open_bucket("n", "b")
        await bucket.set("k", b"v", ttl_ms=5)
        async with bucket.watch() as changes:
            now += 5
            await here.purge()
            assert await anext(changes) == Change("k", None)


async def test_closing_ends_a_watch(tmp_path: Path) -> None:
    async with store(tmp_path / "s.db") as here:
        bucket = await here.open_bucket("n", "b")
        async with bucket.watch() as changes:
            await here.close()
            with pytest.raises(StoreUnavailable):
                await anext(changes)
