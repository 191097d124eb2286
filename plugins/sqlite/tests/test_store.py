"""The SQLite store: its statements, expired rows, full disks, and what a foreign lock does."""

from __future__ import annotations

import resource
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest
from blockbuster import blockbuster_ctx
from host_plugin_sqlite import SqliteProvider, SqliteSettings, statements
from host_plugin_sqlite.store import SqliteBackend
from wasmplex.capabilities.keyvalue import (
    Bucket,
    InvalidArgument,
    KeyValueError,
    QuotaExceeded,
    StoreUnavailable,
    Swapped,
    Timeout,
)
from wasmplex.plugin import OpenContext
from wasmplex.testing import FakeClock

pytestmark = pytest.mark.anyio


async def opened(base: Path, **settings: Any) -> SqliteBackend:
    return await SqliteProvider().open(SqliteSettings(path=Path("kv.db"), **settings), OpenContext(base))


@pytest.fixture
async def backend(tmp_path: Path) -> AsyncIterator[SqliteBackend]:
    backend = await opened(tmp_path)
    yield backend
    await backend.close()


@pytest.fixture
async def bucket(backend: SqliteBackend) -> Bucket:
    return await backend.open_bucket("shop/store", "b")


STATEMENTS = {
    name: getattr(statements, name)
    for name in statements.__all__
    if isinstance(getattr(statements, name), str)
} | {
    "get_many": statements.get_many(3),
    "set_many": statements.set_many(3),
    "delete_many": statements.delete_many(3),
}


@pytest.mark.parametrize("name", sorted(STATEMENTS))
async def test_no_statement_scans_the_table(backend: SqliteBackend, name: str) -> None:
    statement = STATEMENTS[name]
    parameters: Any = dict.fromkeys(
        ("namespace", "bucket", "key", "value", "expires", "now", "delta", "minimum", "first", "end", "limit",
         "require_version", "require_value"), 1
    )  # fmt: skip
    if "?" in statement:
        parameters = [1] * statement.count("?")
    plan = [row[3] for row in await backend.write(f"EXPLAIN QUERY PLAN {statement}", parameters)]
    assert [step for step in plan if step.startswith("SCAN entry")] == []
    assert [step for step in plan if "TEMP B-TREE" in step] == []


async def test_a_commit_waits_for_the_disk(backend: SqliteBackend) -> None:
    assert await backend.write("PRAGMA journal_mode", ()) == [("wal",)]
    assert await backend.write("PRAGMA synchronous", ()) == [(2,)], "FULL: the log is synced at every commit"


async def test_the_loop_is_never_blocked(tmp_path: Path) -> None:
    with blockbuster_ctx():
        backend = await opened(tmp_path)
        bucket = await backend.open_bucket("n", "b")
        await bucket.set("k", b"1", ttl_ms=1000)
        await bucket.increment("k", 1)
        assert await bucket.swap("k", b"v", require_value=b"2") == Swapped()
        await bucket.set_many([("a", b"1"), ("b", b"2")])
        await bucket.get_many(["a", "b"])
        await bucket.list_keys("", None, 10)
        await bucket.delete_many(["a", "b"])
        await backend.close()


# ---------------------------------------------------------------- expiry


async def test_expired_rows_are_deleted_in_the_background(tmp_path: Path) -> None:
    backend = await opened(tmp_path, purge_every="10ms")
    backend.clock = clock = FakeClock()
    bucket = await backend.open_bucket("n", "b")
    await bucket.set_many([(f"stays{n}", b"") for n in range(10)])
    for number in range(5):
        await bucket.set(f"goes{number}", b"", ttl_ms=10)
    clock.advance(10)
    await until(lambda: _count(tmp_path) == 10)
    await backend.close()


async def test_the_purge_takes_more_than_one_batch(
    tmp_path: Path, backend: SqliteBackend, bucket: Bucket
) -> None:
    await bucket.set_many([(f"k{n}", b"") for n in range(1000)])
    await backend.write("UPDATE entry SET expires = 1", ())
    await bucket.set("stays", b"")
    assert await backend.purge() == 1000
    assert _count(tmp_path) == 1


def _count(folder: Path) -> int:
    with closing(sqlite3.connect(folder / "kv.db")) as connection:
        return int(connection.execute("SELECT count(*) FROM entry").fetchone()[0])


async def until(condition: Callable[[], bool]) -> None:
    with anyio.fail_after(10):
        while not condition():  # noqa: ASYNC110  nothing tells when a background task has done something
            await anyio.sleep(0.01)


async def test_the_purge_goes_on_after_an_error(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    backend = await opened(tmp_path, purge_every="10ms")
    backend.clock = lambda: 1 // 0
    await until(lambda: caplog.text.count("deleting expired rows failed") >= 2)
    await backend.close()


# ---------------------------------------------------------------- full, locked, closed


async def test_a_full_disk_is_quota_exceeded_and_reading_goes_on(
    backend: SqliteBackend, bucket: Bucket
) -> None:
    await bucket.set("k", b"before")
    pages = (await backend.write("PRAGMA page_count", ()))[0][0]
    await backend.write(f"PRAGMA max_page_count = {pages}", ())
    with pytest.raises(QuotaExceeded):
        await bucket.set("k", b"x" * 100_000)
    assert await bucket.get("k") == b"before"
    await backend.write("PRAGMA max_page_count = 1000000", ())
    await bucket.set("k", b"x" * 100_000)
    assert await bucket.get("k") == b"x" * 100_000


async def test_a_file_that_may_not_grow_is_quota_exceeded(backend: SqliteBackend, bucket: Bucket) -> None:
    await bucket.set("k", b"before")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, limits[1]))
    try:
        with pytest.raises(QuotaExceeded):
            await bucket.set("k", b"x" * 2**21)
        assert await bucket.get("k") == b"before"
        await bucket.set("k", b"small")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    await bucket.set("k", b"x" * 2**21)
    assert await bucket.get("k") == b"x" * 2**21


async def test_a_store_that_others_keep_locked_is_a_timeout_and_recovers(tmp_path: Path) -> None:
    backend = await opened(tmp_path, busy_timeout="0.3s")
    bucket = await backend.open_bucket("n", "b")
    await bucket.set("k", b"before")
    with closing(sqlite3.connect(tmp_path / "kv.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(Timeout, match="locked"):
            await bucket.set("k", b"after")
        assert await bucket.get("k") == b"before", "reading does not wait for writers"
    await bucket.set("k", b"after")
    assert await bucket.get("k") == b"after"
    await backend.close()


async def test_a_short_lock_is_waited_for(tmp_path: Path) -> None:
    backend = await opened(tmp_path)
    bucket = await backend.open_bucket("n", "b")
    with closing(sqlite3.connect(tmp_path / "kv.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        async with anyio.create_task_group() as group:
            group.start_soon(bucket.set, "k", b"v")
            await anyio.sleep(0.25)  # longer than SQLite itself waits
            other.execute("COMMIT")
    assert await bucket.get("k") == b"v"
    await backend.close()


async def test_a_cancelled_write_leaves_the_connection_clean(tmp_path: Path) -> None:
    backend = await opened(tmp_path)
    bucket = await backend.open_bucket("n", "b")
    with closing(sqlite3.connect(tmp_path / "kv.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with anyio.move_on_after(0.05):
            await bucket.set("k", b"cancelled")
        other.execute("COMMIT")
    await bucket.set("k", b"after")
    assert await bucket.get("k") == b"after"
    assert await backend.write("PRAGMA journal_mode", ()) == [("wal",)]
    await backend.close()


async def test_a_closed_store_is_unavailable(tmp_path: Path) -> None:
    backend = await opened(tmp_path)
    bucket = await backend.open_bucket("n", "b")
    assert "2 readers" in repr(backend)
    await backend.probe()
    await backend.close()
    assert "closed" in repr(backend)
    for operation in (bucket.get("k"), bucket.set("k", b""), backend.probe()):
        with pytest.raises(StoreUnavailable):
            await operation


# ---------------------------------------------------------------- writes that wait together


async def _together(operations: Sequence[Callable[[], Awaitable[Any]]]) -> list[Any]:
    """Run operations at once; return results or exceptions, in their order."""
    results: list[Any] = [None] * len(operations)

    async def run(place: int) -> None:
        try:
            results[place] = await operations[place]()
        except KeyValueError as error:
            results[place] = error

    async with anyio.create_task_group() as group:
        for place in range(len(operations)):
            group.start_soon(run, place)
    return results


async def test_writes_that_wait_together_are_committed_together(
    backend: SqliteBackend, bucket: Bucket
) -> None:
    statements: list[str] = []
    await backend.file._connection.run(sqlite3.Connection.set_trace_callback, statements.append)
    await _together([partial(bucket.set, f"k{number}", b"v") for number in range(100)])
    assert len((await bucket.list_keys("", None, 1000)).keys) == 100
    assert sum(statement == "COMMIT" for statement in statements) <= 2


async def test_a_write_that_fails_does_not_take_others_along(bucket: Bucket) -> None:
    await bucket.set("text", b"no number")
    operations = [partial(bucket.increment, key, 1) for key in ("a", "text", "b", "text", "a")]
    results = await _together(operations)
    assert [type(result) if isinstance(result, Exception) else result for result in results] == [
        1, InvalidArgument, 1, InvalidArgument, 2,
    ]  # fmt: skip
    assert await bucket.get_many(["a", "b", "text"]) == [b"2", b"1", b"no number"]


async def test_a_full_disk_is_told_to_all_whose_writes_are_undone(
    backend: SqliteBackend, bucket: Bucket
) -> None:
    await bucket.set("k", b"before")
    pages = (await backend.write("PRAGMA page_count", ()))[0][0]
    await backend.write(f"PRAGMA max_page_count = {pages + 2}", ())
    results = await _together([partial(bucket.set, f"k{number}", b"x" * 5000) for number in range(20)])
    refused = [number for number, result in enumerate(results) if isinstance(result, QuotaExceeded)]
    written = [key for key in (await bucket.list_keys("k", None, 1000)).keys if key != "k"]
    assert len(refused) + len(written) == 20
    assert len(refused) >= 15
    assert not {f"k{number}" for number in refused} & set(written)
    await bucket.set("k", b"after")


async def test_what_is_cancelled_before_it_begins_never_happens(tmp_path: Path) -> None:
    backend = await opened(tmp_path)
    bucket = await backend.open_bucket("n", "b")
    with closing(sqlite3.connect(tmp_path / "kv.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        async with anyio.create_task_group() as group:
            group.start_soon(bucket.set, "first", b"waits for the lock")
            await anyio.sleep(0.02)
            with anyio.move_on_after(0.02):
                await bucket.set("second", b"waits for the first")
            other.execute("COMMIT")
    assert (await bucket.list_keys("", None, 10)).keys == ["first"]
    await backend.close()


async def test_closing_tells_those_who_wait(tmp_path: Path) -> None:
    backend = await opened(tmp_path)
    bucket = await backend.open_bucket("n", "b")
    with closing(sqlite3.connect(tmp_path / "kv.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        results: list[Any] = []

        async def write() -> None:
            results.extend(await _together([partial(bucket.set, f"k{n}", b"") for n in range(5)]))

        with anyio.fail_after(10):
            async with anyio.create_task_group() as group:
                group.start_soon(write)
                await anyio.sleep(0.05)
                await backend.close()
    assert [type(result) for result in results] == [StoreUnavailable] * 5
