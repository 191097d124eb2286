"""Opening a file: what is made, what is refused, and what the operator is told."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from host_plugin_sqlite import SqliteProvider, SqliteSettings
from host_plugin_sqlite.statements import LAYOUT_VERSION
from host_plugin_sqlite.store import SqliteBackend
from wasmplex.errors import BackendError
from wasmplex.plugin import OpenContext

pytestmark = pytest.mark.anyio


async def opened(base: Path, path: str = "kv.db", **settings: Any) -> SqliteBackend:
    return await SqliteProvider().open(SqliteSettings(path=Path(path), **settings), OpenContext(base))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def connections() -> int:
    """Count the connections' threads that do not end by themselves."""
    threads = [thread for thread in threading.enumerate() if thread.name.startswith("sqlite")]
    for thread in threads:
        thread.join(2)
    return sum(thread.is_alive() for thread in threads)


async def refusal(base: Path, path: str = "kv.db", **settings: Any) -> str:
    with pytest.raises(BackendError) as refused:
        await opened(base, path, **settings)
    assert connections() == 0
    return refused.value.render()


async def test_the_path_is_relative_to_the_configuration_and_closing_leaves_one_file(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    backend = await opened(tmp_path, "data/kv.db")
    await (await backend.open_bucket("n", "b")).set("k", b"v")
    await backend.close()
    assert names(tmp_path / "data") == ["kv.db"]
    assert connections() == 0


async def test_a_directory_that_is_missing(tmp_path: Path) -> None:
    text = await refusal(tmp_path, "no/where/kv.db")
    assert f'mkdir -p "{tmp_path}/no/where"' in text


async def test_a_file_that_is_missing_and_not_to_be_made(tmp_path: Path) -> None:
    assert "create = true" in await refusal(tmp_path, create=False)
    assert names(tmp_path) == []


async def test_a_directory_where_the_file_should_be(tmp_path: Path) -> None:
    assert "it is a directory" in await refusal(tmp_path, ".")


async def test_a_file_that_is_no_database_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "kv.db").write_bytes(b"hello, this is no database at all" * 100)
    assert "not a database" in await refusal(tmp_path)
    assert (tmp_path / "kv.db").read_bytes().startswith(b"hello")
    assert names(tmp_path) == ["kv.db"]


async def test_a_database_of_another_program_gets_no_tables(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "kv.db") as other:
        other.execute("CREATE TABLE theirs (x)")
    other.close()
    assert "of another program" in await refusal(tmp_path)
    with sqlite3.connect(tmp_path / "kv.db") as other:
        assert other.execute("SELECT name FROM sqlite_master").fetchall() == [("theirs",)]
    other.close()


async def test_a_file_of_a_later_version(tmp_path: Path) -> None:
    await (await opened(tmp_path)).close()
    with sqlite3.connect(tmp_path / "kv.db") as later:
        later.execute(f"PRAGMA user_version = {LAYOUT_VERSION + 1}")
    later.close()
    assert "pip install --upgrade host-plugin-sqlite" in await refusal(tmp_path)


async def test_a_file_that_stays_locked(tmp_path: Path) -> None:
    holder = sqlite3.connect(tmp_path / "kv.db", isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    text = await refusal(tmp_path, busy_timeout=0.2)
    holder.close()
    assert "locked" in text
    assert "lsof" in text


@pytest.mark.skipif(os.name != "posix", reason="permissions are those of POSIX")
@pytest.mark.parametrize(("mode", "expected"), [(0o444, "readonly"), (0o000, "unable to open")])
async def test_a_file_without_permission(tmp_path: Path, mode: int, expected: str) -> None:
    await (await opened(tmp_path)).close()
    folders = [tmp_path, *tmp_path.parents]
    top = next((n for n, folder in enumerate(folders) if folder.name.startswith("pytest-of-")), 1)
    for folder in folders[: top + 1]:
        folder.chmod(0o755)
    (tmp_path / "kv.db").chmod(mode)
    with as_nobody():
        text = await refusal(tmp_path)
    assert expected in text
    assert f'"{tmp_path}/kv.db"' in text.splitlines()[-1]


@pytest.mark.skipif(os.name != "posix", reason="permissions are those of POSIX")
def test_a_folder_where_nothing_may_be_made(tmp_path: Path) -> None:
    """The message, and nothing from threads that find their event loop closed: that would fail this test."""
    folders = [tmp_path, *tmp_path.parents]
    top = next((n for n, folder in enumerate(folders) if folder.name.startswith("pytest-of-")), 1)
    for folder in folders[: top + 1]:
        folder.chmod(0o755)
    tmp_path.chmod(0o555)
    with as_nobody():
        for _ in range(50):
            text = anyio.run(refusal, tmp_path)
    assert "unable to open database file" in text
    assert names(tmp_path) == []


@contextmanager
def as_nobody() -> Iterator[None]:
    """Be no longer root, who is above permissions."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(user)


async def test_many_opening_a_new_file_at_once(tmp_path: Path) -> None:
    backends = []

    async def one() -> None:
        backends.append(await opened(tmp_path, readers=1))

    async with anyio.create_task_group() as group:
        for _ in range(8):
            group.start_soon(one)
    for backend in backends:
        await backend.close()
    assert len(backends) == 8
