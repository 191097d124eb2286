"""A file that is removed, replaced or cut short while it is open: what is not kept is not acknowledged."""

# ruff: noqa: ASYNC240  what other programs do to the file is done at once

from __future__ import annotations

import os
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest
from host_plugin_sqlite import SqliteProvider, SqliteSettings, failures, file, keeping
from host_plugin_sqlite.seal import Reason, Seal
from host_plugin_sqlite.store import SqliteBackend
from wasmplex.capabilities.keyvalue import AccessDenied, Bucket, Change, KeyValueError, StoreUnavailable
from wasmplex.errors import BackendError
from wasmplex.plugin import OpenContext

pytestmark = pytest.mark.anyio

LOGS = ("-wal", "-shm")


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeping, "LOOK_EVERY", 0.02)
    monkeypatch.setattr(keeping, "SETTLED", 0.05)


@asynccontextmanager
async def opened(path: Path, **settings: Any) -> AsyncIterator[Bucket]:
    settings = {"watch_every": 0.002, **settings}
    backend = await SqliteProvider().open(SqliteSettings(path=path, **settings), OpenContext(Path()))
    try:
        with anyio.fail_after(30):
            yield await backend.open_bucket("n", "b")
    finally:
        await backend.close()


def backend_of(bucket: Bucket) -> SqliteBackend:
    backend = bucket._store  # type: ignore[attr-defined]
    assert isinstance(backend, SqliteBackend)
    return backend


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    return tmp_path / "data" / "kv.db"


@pytest.fixture
def backup(tmp_path: Path) -> Path:
    """Return a store of an earlier day, that somebody is going to restore."""
    path = tmp_path / "backup.db"
    made_by(path, {"from": b"backup"})
    return path


def made_by(path: Path, content: dict[str, bytes]) -> None:
    async def make() -> None:
        async with opened(path) as bucket:
            await bucket.set_many(list(content.items()))

    anyio.run(make)
    os.utime(path, (0, 0))


def content(path: Path) -> dict[str, bytes]:
    """Return what another program finds in a file, once it has looked for faults."""
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=rw", uri=True)) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        return dict(database.execute("SELECT key, value FROM entry"))


async def told(bucket: Bucket, key: str = "k") -> set[str]:
    """Return what each operation says."""
    operations: list[Callable[[], Any]] = [
        lambda: bucket.get(key),
        lambda: bucket.exists(key),
        lambda: bucket.set(key, b"never"),
        lambda: bucket.set(key, b"never", if_not_exists=True),
        lambda: bucket.increment("never", 1),
        lambda: bucket.delete(key),
        lambda: bucket.list_keys("", None, 10),
        lambda: bucket.current(key),
        lambda: bucket.swap(key, b"never", require_value=b"v"),
        lambda: bucket.get_many([key]),
        lambda: bucket.set_many([(key, b"never")]),
        lambda: bucket.delete_many([key]),
        backend_of(bucket).probe,
    ]
    said = set()
    for operation in operations:
        try:
            await operation()
            said.add("ok")
        except KeyValueError as error:
            said.add(f"{error.case}: {error}")
    return said


async def works_again(bucket: Bucket) -> None:
    while True:
        try:
            await bucket.set("again", b"yes")
        except StoreUnavailable:
            await anyio.sleep(0.01)
        else:
            return


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110  nothing tells when a background task has done something
        await anyio.sleep(0.01)


def remove(path: Path, *names: str) -> None:
    for name in names:
        path.with_name(path.name + name).unlink()


# ---------------------------------------------------------------- gone


async def test_a_file_that_is_removed(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with opened(path) as bucket:
        await bucket.set("k", b"v")
        remove(path, "", *LOGS)
        assert await told(bucket) == {"store-unavailable: the file is gone"}
        await anyio.sleep(0.1)
        assert await told(bucket) == {"store-unavailable: the file is gone"}
        assert list(path.parent.iterdir()) == [], "none is made where somebody may be about to put one"
        assert caplog.messages == [
            f"SQLite file {path}: the file is gone; operations fail until then: {keeping._NEXT[Reason.GONE]}"
        ]
        path.touch()
        await works_again(bucket)
        assert await bucket.get("k") is None
        assert caplog.messages[1:] == [f"SQLite file {path}: opened anew"]
    assert content(path) == {"again": b"yes"}
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("first", ["get", "set", "nothing"])
async def test_whoever_comes_first_notices(path: Path, first: str, caplog: pytest.LogCaptureFixture) -> None:
    """A reader, a writer, or the look at a file that nobody uses."""
    async with opened(path) as bucket:
        await bucket.set("k", b"v")
        remove(path, "")
        if first == "nothing":
            await until(lambda: bool(caplog.records))
        else:
            with pytest.raises(StoreUnavailable):
                await (bucket.get("k") if first == "get" else bucket.set("k", b"2"))
        assert len(caplog.records) == 1


async def test_a_file_that_is_renamed_has_all_that_was_acknowledged(path: Path) -> None:
    async with opened(path) as bucket:
        for number in range(50):
            await bucket.set(f"k{number}", b"v")
        path.rename(path.with_name("old.db"))
        assert await told(bucket) == {"store-unavailable: the file is gone"}
    assert content(path.with_name("old.db")) == {f"k{number}": b"v" for number in range(50)}
    assert [found.name for found in path.parent.iterdir()] == ["old.db"]


async def test_a_directory_that_is_renamed_and_comes_back(path: Path) -> None:
    async with opened(path) as bucket:
        await bucket.set("k", b"v")
        path.parent.rename(path.parent.with_name("away"))
        assert await told(bucket) == {"store-unavailable: the file is gone"}
        assert content(path.parent.with_name("away") / path.name) == {"k": b"v"}
        path.parent.with_name("away").rename(path.parent)
        await works_again(bucket)
        assert await bucket.get("k") == b"v"
    assert content(path) == {"k": b"v", "again": b"yes"}


# ---------------------------------------------------------------- another one in its place


@pytest.mark.parametrize("logs", [(), LOGS, LOGS[:1], LOGS[1:]], ids=["file alone", "all", "log", "index"])
async def test_a_backup_that_is_restored(path: Path, backup: Path, logs: tuple[str, ...]) -> None:
    """What the log holds is not applied to the backup; it is in the file that was there before."""
    async with opened(path) as bucket:
        await bucket.set("k", b"v")
        os.link(path, path.with_name("old.db"))
        backup.rename(path)
        remove(path, *logs)
        assert await told(bucket) == {"store-unavailable: another file is in its place"}
        await works_again(bucket)
        assert await bucket.get("k") is None
        assert await bucket.get("from") == b"backup"
    assert content(path) == {"from": b"backup", "again": b"yes"}
    assert content(path.with_name("old.db")) == {"k": b"v"}


async def test_a_backup_with_a_log_of_its_own(path: Path, tmp_path: Path) -> None:
    """As a host leaves it that was killed: the log is used, and not removed with ours."""
    crashed = tmp_path / "crashed"
    crashed.mkdir()
    async with opened(tmp_path / "kv.db") as bucket:
        await bucket.set("in", b"the log")
        for name in ("kv.db", "kv.db-wal"):
            (crashed / name).write_bytes((tmp_path / name).read_bytes())
            os.utime(crashed / name, (0, 0))
    async with opened(path) as bucket:
        await bucket.set("k", b"v")
        for name in ("kv.db-wal", "kv.db"):
            (crashed / name).rename(path.with_name(name))
        assert "ok" not in await told(bucket)
        await works_again(bucket)
        assert await bucket.get("in") == b"the log"
    assert content(path) == {"in": b"the log", "again": b"yes"}


async def test_a_symbolic_link_that_leads_elsewhere(path: Path, tmp_path: Path, backup: Path) -> None:
    link = tmp_path / "current.db"
    link.symlink_to(path)
    async with opened(link) as bucket:
        await bucket.set("k", b"v")
        other = tmp_path / "other.db"
        other.symlink_to(backup)
        other.rename(link)  # at no time is there none
        assert await told(bucket) == {"store-unavailable: another file is in its place"}
        await works_again(bucket)
        assert await bucket.get("from") == b"backup"
    assert content(path) == {"k": b"v"}
    assert content(backup) == {"from": b"backup", "again": b"yes"}
    assert sorted(found.name for found in path.parent.iterdir()) == ["kv.db"]


async def test_a_file_that_is_still_copied_is_not_opened(path: Path, backup: Path) -> None:
    async with opened(path) as bucket:
        await bucket.set("k", b"v")
        remove(path, "", *LOGS)
        data = backup.read_bytes()
        with path.open("wb") as copied:
            for start in range(0, len(data), 4096):
                copied.write(data[start : start + 4096])
                copied.flush()
                assert not await told(bucket) & {"ok"}
                await anyio.sleep(0.01)
        await works_again(bucket)
        assert await bucket.get("from") == b"backup"


async def test_a_file_of_another_program_is_left_alone(
    path: Path, tmp_path: Path, backup: Path, caplog: pytest.LogCaptureFixture
) -> None:
    other = tmp_path / "other.db"
    with closing(sqlite3.connect(other)) as database:
        database.execute("CREATE TABLE theirs (x)")
    os.utime(other, (0, 0))
    async with opened(path) as bucket:
        await bucket.set("k", b"v")
        other.rename(path)
        await told(bucket)
        await until(lambda: len(caplog.records) == 2)
        assert "they are not a key-value store of this plugin" in caplog.messages[1]
        await anyio.sleep(0.1)
        assert len(caplog.records) == 2, "said once"
        backup.rename(path)
        await works_again(bucket)


# ---------------------------------------------------------------- without its logs


@pytest.mark.parametrize("logs", [LOGS, LOGS[:1], LOGS[1:]], ids=["both", "log", "index"])
async def test_logs_that_are_removed(path: Path, logs: tuple[str, ...]) -> None:
    async with opened(path) as bucket:
        for number in range(50):
            await bucket.set(f"k{number}", b"v")
        remove(path, *logs)
        with pytest.raises(StoreUnavailable, match="its write-ahead log is gone"):
            await bucket.set("k", b"never")
        await works_again(bucket)
        assert await bucket.get("k") is None
        assert len((await bucket.list_keys("k", None, 100)).keys) == 50
        expected = content(path)
    assert content(path) == expected
    assert list(path.parent.iterdir()) == [path]


async def test_two_stores_of_one_process_agree_on_the_log(path: Path) -> None:
    """SQLite has one index for both: the second has to let go before the first opens a new one."""
    async with opened(path) as one, opened(path, readers=1) as two:
        await one.set("one", b"1")
        await two.set("two", b"2")
        remove(path, *LOGS)
        for bucket in (one, two):
            with pytest.raises(StoreUnavailable):
                await bucket.get("k")
        for bucket in (one, two):
            await works_again(bucket)
            assert await bucket.get_many(["one", "two"]) == [b"1", b"2"]
        await one.set("later", b"1")
        assert await two.get("later") == b"1"
    assert content(path) == {"one": b"1", "two": b"2", "later": b"1", "again": b"yes"}


async def test_a_log_that_cannot_be_folded_yet_is_kept(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    fold = file._fold
    async with opened(path) as bucket:
        await bucket.set("k", b"v")
        monkeypatch.setattr(file, "_fold", lambda connection, seal: False)  # as with a full disk
        remove(path, *LOGS)
        await told(bucket)
        await until(lambda: len(caplog.records) == 2)
        assert "the disk is full, or another process is reading it" in caplog.messages[1]
        assert await told(bucket) == {"store-unavailable: its write-ahead log is gone, or another one"}
        monkeypatch.setattr(file, "_fold", fold)
        await works_again(bucket)
    assert content(path) == {"k": b"v", "again": b"yes"}


# ---------------------------------------------------------------- cut short


async def test_a_file_that_is_cut_short(path: Path, backup: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with opened(path) as bucket:
        await bucket.set_many([(f"k{number}", b"x" * 1000) for number in range(100)])
    async with opened(path) as bucket:
        await bucket.set("k", b"v")
        os.truncate(path, path.stat().st_size // 2)
        with pytest.raises(StoreUnavailable, match="it was cut short"):
            await bucket.set("k", b"never")
        await until(lambda: "is damaged" in caplog.text)
        assert await told(bucket) == {"store-unavailable: it was cut short"}
        backup.rename(path)
        await works_again(bucket)
        assert await bucket.get("from") == b"backup"


async def test_a_log_that_is_cut_short(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with opened(path) as bucket:
        await bucket.set("k", b"v")
        os.truncate(f"{path}-wal", 0)
        with pytest.raises(StoreUnavailable, match="it was cut short"):
            await bucket.set("k", b"never")
        await until(lambda: "is damaged" in caplog.text)


async def test_maintenance_by_other_programs_is_no_damage(path: Path) -> None:
    async with opened(path) as bucket:
        await bucket.set_many([(f"k{number}", b"x" * 1000) for number in range(200)])
        await bucket.delete_many([f"k{number}" for number in range(10, 200)])
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("PRAGMA wal_checkpoint(PASSIVE)")
            before = path.stat().st_size
            other.execute("VACUUM")
            other.execute("PRAGMA wal_checkpoint(FULL)")
        assert path.stat().st_size < before
        assert await bucket.get("k1") == b"x" * 1000
        await bucket.set("after", b"vacuum")
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        await works_again(bucket)
    assert len(content(path)) == 12


# ---------------------------------------------------------------- watchers, read-only disks, opening


async def test_a_watch_ends_with_its_file(path: Path) -> None:
    async with opened(path) as bucket:
        async with bucket.watch() as changes:
            await bucket.set("k", b"v")
            assert await anext(changes) == Change("k", b"v")
            remove(path, *LOGS)
            with pytest.raises(StoreUnavailable):
                await anext(changes)
        await works_again(bucket)
        async with bucket.watch() as changes:
            await bucket.set("k", b"2")
            assert await anext(changes) == Change("k", b"2")


def test_a_file_system_that_has_become_read_only(monkeypatch: pytest.MonkeyPatch) -> None:
    class ReadOnly:
        f_flag = os.ST_RDONLY

    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorname = "SQLITE_IOERR_WRITE"
    failures.refuse_read_only(error, "/")
    monkeypatch.setattr(os, "statvfs", lambda path: ReadOnly())
    with pytest.raises(AccessDenied, match="read-only"):
        failures.refuse_read_only(error, "/")


async def test_a_file_that_is_replaced_while_it_is_opened(
    path: Path, backup: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made_by_other = Seal.check

    def replaced(self: Seal, connection: sqlite3.Connection) -> None:
        if backup.exists():
            backup.rename(path)
        made_by_other(self, connection)

    monkeypatch.setattr(Seal, "check", replaced)
    with pytest.raises(BackendError, match="another file is in its place"):
        async with opened(path):
            pass
