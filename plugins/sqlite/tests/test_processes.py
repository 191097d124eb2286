"""One file and several processes: nothing is lost when they write at once, or when one is killed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import anyio
import pytest
from host_plugin_sqlite import SqliteProvider, SqliteSettings
from host_plugin_sqlite.store import SqliteBackend
from wasmplex.plugin import OpenContext

pytestmark = pytest.mark.anyio

WORKER = [sys.executable, str(Path(__file__).parent / "worker.py")]


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
