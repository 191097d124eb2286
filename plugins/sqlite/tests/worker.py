"""A process that uses a store while others do: ``worker.py count|write|insist FILE NUMBER``."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

import anyio
from host_plugin_sqlite import SqliteProvider, SqliteSettings, keeping
from wasmplex.capabilities.keyvalue import Bucket, StoreUnavailable, Swapped, Timeout
from wasmplex.plugin import OpenContext


async def count(bucket: Bucket, times: int) -> None:
    """Count to `times` in two ways, printing each number that `increment` gives out."""
    for _ in range(times):
        print(await bucket.increment("incremented", 1))
        while True:
            entry = await bucket.current("swapped")
            assert entry is not None
            total = b"%d" % (int(entry.value) + 1)
            if await bucket.swap("swapped", total, require_version=entry.version) == Swapped():
                break


async def write(bucket: Bucket, start: int) -> None:
    """Set one key after the other, printing each when it is acknowledged."""
    number = start
    while True:
        await bucket.set(f"k{number}", b"value of %d" % number * 50)
        print(number, flush=True)
        number += 1


async def insist(bucket: Bucket, start: int) -> None:
    """Set one key after the other until told to end, printing each that is acknowledged, and 0 for others."""
    keeping.LOOK_EVERY, keeping.SETTLED = 0.02, 0.05
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    number = start
    while not ended.is_set():
        number += 1
        try:
            await bucket.set(f"k{number}", b"value of %d" % number * 50)
        except (StoreUnavailable, Timeout):
            print(0, flush=True)
            await asyncio.sleep(0.005)
        else:
            print(number, flush=True)


async def main() -> None:
    task, path, number = sys.argv[1:]
    settings = SqliteSettings(path=Path(path), busy_timeout=30.0)
    backend = await SqliteProvider().open(settings, OpenContext(Path()))
    bucket = await backend.open_bucket("shared", "b")
    await {"count": count, "write": write, "insist": insist}[task](bucket, int(number))
    await backend.close()


anyio.run(main, backend_options={"use_uvloop": True})
