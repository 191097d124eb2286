"""One file and several processes: nothing is lost when they write at once, or when one is killed."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import anyio
import pytest
from host_plugin_sqlite import SqliteProvider, SqliteSettings
from host_plugin_sqlite.store import SqliteBackend
from wasmplex.plugin import OpenContext

pytestmark = pytest.mark.anyio

WORKER = [sys.executable, str(Path(__file__).parent / "worker.py")]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"  # the processes have loops of their own


async def opened(path: Path) -> SqliteBackend:
    return await SqliteProvider().open(SqliteSettings(path=path), OpenContext(path.parent))


async def test_processes_that_count_together_lose_nothing(tmp_path: Path) -> None:
    processes, times = 3, 60
    path = tmp_path / "kv.db"
    backend = await opened(path)
    bucket = await backend.open_bucket("shared", "b")
    await bucket.set("swapped", b"0")
    outputs: list[bytes] = []

    async def run() -> None:
        done = await anyio.run_process([*WORKER, "count", str(path), str(times)], check=False)
        assert done.returncode == 0, done.stderr.decode()
        outputs.append(done.stdout)

    with anyio.fail_after(50):
        async with anyio.create_task_group() as group:
            for _ in range(processes):
                group.start_soon(run)
    given_out = sorted(int(line) for output in outputs for line in output.split())
    assert given_out == list(range(1, processes * times + 1))
    assert await bucket.get("incremented") == await bucket.get("swapped") == b"%d" % (processes * times)
    await backend.close()


async def test_what_was_acknowledged_survives_the_kill_of_its_writer(tmp_path: Path) -> None:
    path = tmp_path / "kv.db"
    acknowledged: list[int] = []
    for _ in range(3):
        start = len(acknowledged)
        process = await anyio.open_process(
            [*WORKER, "write", str(path), str(start)], stderr=subprocess.DEVNULL
        )
        assert process.stdout is not None
        heard = b""
        with anyio.fail_after(20):
            async for chunk in process.stdout:
                heard += chunk
                if heard.count(b"\n") >= 40:
                    break
            process.kill()
            async for chunk in process.stdout:
                heard += chunk
            await process.wait()
        await process.aclose()
        acknowledged += [int(line) for line in heard.splitlines(keepends=True) if line.endswith(b"\n")]
        backend = await opened(path)
        bucket = await backend.open_bucket("shared", "b")
        for number in acknowledged:
            assert await bucket.get(f"k{number}") == b"value of %d" % number * 50
        assert await backend.read("PRAGMA integrity_check", ()) == [("ok",)]
        await backend.close()
    assert len(acknowledged) >= 120


# ---------------------------------------------------------------- files that are lost


LOGS = ("-wal", "-shm")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "kv.db"


def remove(path: Path, *names: str) -> None:
    for name in names:
        path.with_name(path.name + name).unlink()


def content(path: Path) -> dict[str, bytes]:
    """Return what another program finds in a file, once it has looked for faults."""
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        return dict(database.execute("SELECT key, value FROM entry"))


@pytest.fixture
def backup(tmp_path: Path) -> Path:
    path = tmp_path / "backup.db"

    async def make() -> None:
        backend = await opened(path)
        await (await backend.open_bucket("n", "b")).set("from", b"backup")
        await backend.close()

    anyio.run(make)
    os.utime(path, (0, 0))
    return path


@pytest.fixture
def writers(path: Path) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Return processes that write, each printing the keys that were acknowledged."""
    processes = [
        subprocess.Popen([*WORKER, "insist", str(path), str(number * 1_000_000)], stdout=subprocess.PIPE)
        for number in (1, 2)
    ]
    yield processes
    for process in processes:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def acknowledged(process: subprocess.Popen[bytes], number: int, *, after_loss: bool = False) -> list[int]:
    """Return the next keys: so many, or those up to the next refusal and so many after it."""
    assert process.stdout is not None
    found: list[int] = []
    while after_loss or len(found) < number:
        key = int(process.stdout.readline())
        if key:
            found.append(key)
        elif after_loss:
            after_loss, number = False, len(found) + number
    return found


def last(process: subprocess.Popen[bytes]) -> list[int]:
    """Have a process end and return the keys that were acknowledged since."""
    process.terminate()
    assert process.stdout is not None
    keys = [key for key in map(int, process.stdout.read().split()) if key]
    assert process.wait(20) == 0
    return keys


@pytest.mark.parametrize("logs", [LOGS, LOGS[1:]], ids=["both", "index"])
def test_processes_that_lose_their_logs_lose_nothing(
    path: Path, writers: list[subprocess.Popen[bytes]], logs: tuple[str, ...]
) -> None:
    keys: list[int] = []
    for process in writers:
        keys += acknowledged(process, 50)
    for _ in range(2):
        remove(path, *logs)
        for process in writers:
            keys += acknowledged(process, 50, after_loss=True)
    for process in writers:
        keys += last(process)
    found = content(path)
    assert [key for key in keys if found.get(f"k{key}") != b"value of %d" % key * 50] == []


def test_processes_whose_file_is_replaced_go_on_with_the_new_one(
    path: Path, writers: list[subprocess.Popen[bytes]], backup: Path
) -> None:
    keys: list[int] = []
    for process in writers:
        keys += acknowledged(process, 50)
    os.link(path, path.with_name("old.db"))
    backup.rename(path)
    for process in writers:
        keys += acknowledged(process, 50, after_loss=True)
    for process in writers:
        keys += last(process)
    now, before = content(path), content(path.with_name("old.db"))
    assert now.pop("from") == b"backup"
    found = {**before, **now}
    assert [key for key in keys if found.get(f"k{key}") != b"value of %d" % key * 50] == []
    assert {key[1] for key in now} == {"1", "2"}, "both write to the new one"
