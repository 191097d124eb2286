"""Blobs through a guest, against the backend's library called directly, on one server and one event loop.

``python benchmarks/blobs.py [--json FILE] [--quick]``. The arms of a row run in turn, first up, then down;
the ratio is the median of the ratios of neighbouring runs, the library's time by the guest's. On `filesystem`
the library is a loop that reads or writes a file, which is synced: out of the page cache, and on `disk`
without it. The guest moves bytes and looks at none of them, and on `memory` is measured against one that
makes or sums each.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
from io import BufferedIOBase, BytesIO
from pathlib import Path
from typing import Any, ClassVar, TypeAlias

import nats
import obstore
import uvloop
from nats.js.object_store import ObjectStore
from obstore.store import S3Store
from wasmplex.host import Host
from wasmplex.testing.servers import NatsServer, S3Server

Arm: TypeAlias = Callable[[], Awaitable[object]]

GUEST = Path(__file__).parents[1] / "tests" / "guests" / "built" / "blobs.wasm"
WORKLOAD = """
[workload.{name}]
component = "{guest}"
instances = {{ max = 2, reuse = 1000000 }}
limits = {{ timeout = "600s" }}
default."wasmcloud:blobstore" = {{ {binding}, max_object = "1GiB" }}
"""
MASSES = "tests:guests/masses#"
SIZES = {"64 KiB": 64 << 10, "1 MiB": 1 << 20, "256 MiB": 256 << 20}
QUICK = 32 << 20
PIECE = 256 << 10
REQUIRED = {
    "filesystem up": 0.5,
    "filesystem down": 0.5,
    "disk up": 0.5,
    "disk down": 0.5,
    "nats up": 0.7,
    "nats down": 0.7,
    "s3 up": 0.7,
    "s3 down": 0.7,
}
"""Of the library's speed, at the largest size. What is in the page cache a plain loop copies once, into the
cache of the processor; a guest gets it through the memory of an adapter, which is a copy more."""


class Library(ABC):
    """What a guest is measured against.

    :cvar runs: how many times each arm is run
    """

    runs: ClassVar = 5

    @abstractmethod
    async def write(self, size: int) -> None:
        """Write an object of so many bytes."""

    @abstractmethod
    async def read(self, size: int) -> None:
        """Read it."""

    def forget(self) -> None:  # noqa: B027  most have nothing to do
        """Have nothing of any object in memory; called before each run, of the guest as well."""


class Files(Library):
    """Reading and writing as any program does."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "plain"
        self._piece = os.urandom(PIECE)

    def _write(self, size: int) -> None:
        with self._path.open("wb", buffering=0) as file:
            for begin in range(0, size, PIECE):
                file.write(self._piece[: min(PIECE, size - begin)])
            os.fsync(file.fileno())

    def _read(self, size: int) -> None:
        with self._path.open("rb", buffering=0) as file:
            while file.read(PIECE):
                pass

    async def write(self, size: int) -> None:
        self._write(size)

    async def read(self, size: int) -> None:
        self._read(size)


class Disk(Files):
    """The same where nothing is in the page cache."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._folder = folder

    def forget(self) -> None:
        for path in self._folder.rglob("*"):
            if path.is_file():
                number = os.open(path, os.O_RDONLY)
                os.posix_fadvise(number, 0, 0, os.POSIX_FADV_DONTNEED)
                os.close(number)


class _Nowhere(BufferedIOBase):
    def write(self, data: Any, /) -> int:
        return len(data)


class Objects(Library):
    """The object store of the client library of NATS."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    async def write(self, size: int) -> None:
        await self._store.put("plain", BytesIO(bytes(size)))

    async def read(self, size: int) -> None:
        # Without a file it adds each chunk to all that came before: 28 MB/s at 32 MiB, and less from there.
        await self._store.get("plain", writeinto=_Nowhere())


class Keys(Library):
    """The client library of S3, whose server has another speed from run to run: it collects garbage."""

    runs: ClassVar = 15

    def __init__(self, store: S3Store) -> None:
        self._store = store

    async def write(self, size: int) -> None:
        async def pieces() -> AsyncIterator[bytes]:
            for begin in range(0, size, PIECE):
                yield bytes(min(PIECE, size - begin))

        content = bytes(size) if size <= 8 << 20 else pieces()
        await obstore.put_async(self._store, "plain", content, chunk_size=8 << 20, max_concurrency=2)

    async def read(self, size: int) -> None:
        async for _ in (await obstore.get_async(self._store, "plain")).stream(min_chunk_size=PIECE):
            pass


class Memory(Library):
    """The guest that looks at each byte, on a backend that only keeps pieces in memory."""

    def __init__(self, host: Host) -> None:
        self._host = host

    async def write(self, size: int) -> None:
        await self._host.call("memory", f"{MASSES}fill", "c", "plain", size, None)

    async def read(self, size: int) -> None:
        await self._host.call("memory", f"{MASSES}drain", "c", "plain", size)


@asynccontextmanager
async def arms(nats_url: str, s3: S3Server) -> AsyncIterator[tuple[Host, dict[str, Library]]]:
    """Return a host with a workload for each backend, and what is measured against."""
    directory = 'backend = "filesystem", path = "blobs"'
    bindings = {
        "memory": 'backend = "memory", max_size = "1GiB"',
        "filesystem": directory,
        "disk": directory,
        "nats": f'backend = "nats", url = "{nats_url}"',
        "s3": f'backend = "s3", bucket = "{s3.bucket}", endpoint = "{s3.url}", '
        f'access_key_id = "{s3.access_key}", secret_access_key = "{s3.secret_key}"',
    }
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = folder / "host.toml"
        text = (WORKLOAD.format(name=one, guest=GUEST, binding=binding) for one, binding in bindings.items())
        path.write_text("".join(text))
        client = await nats.connect(nats_url)
        try:
            store = await client.jetstream().create_object_store("plain")
            keys = S3Store(
                s3.bucket,
                config={"endpoint": s3.url, "region": "us-east-1"},
                access_key_id=s3.access_key,
                secret_access_key=s3.secret_key,
                client_options={"allow_http": True, "timeout": timedelta(minutes=10)},
            )
            async with Host.from_config(path) as host:
                for one in bindings:
                    await host.call(one, "tests:guests/blobs#create", "c")
                yield (
                    host,
                    {
                        "memory": Memory(host),
                        "filesystem": Files(folder),
                        "disk": Disk(folder),
                        "nats": Objects(store),
                        "s3": Keys(keys),
                    },
                )
        finally:
            await client.close()


async def timed(library: Library, arm: Callable[[], Awaitable[object]]) -> float:
    library.forget()
    begun = time.perf_counter()
    await arm()
    return time.perf_counter() - begun


async def compared(library: Library, arms: Sequence[Arm], size: int) -> tuple[float, float, float]:
    """Run two arms in turn, each as often first as second; return their MB/s, and the ratio of neighbours."""
    times = max(1, min(20, (4 << 20) // size))

    async def repeated(arm: Arm) -> None:
        for _ in range(times):
            await arm()

    for arm in arms:
        await arm()
    taken: list[dict[Arm, float]] = []
    for number in range(library.runs):
        order = arms if number % 2 else arms[::-1]
        taken.append({arm: await timed(library, partial(repeated, arm)) for arm in order})
    guest, plain = (size * times / statistics.median(run[arm] for run in taken) / 1e6 for arm in arms)
    return guest, plain, statistics.median(run[arms[1]] / run[arms[0]] for run in taken)


async def measure(host: Host, backend: str, library: Library, size: int) -> dict[str, float]:
    """Compare both arms up, and then down: a server has work to do after it was written to."""
    up: tuple[Arm, Arm] = (
        lambda: host.call(backend, f"{MASSES}send", "c", "a", size),
        lambda: library.write(size),
    )
    down: tuple[Arm, Arm] = (
        lambda: host.call(backend, f"{MASSES}take", "c", "a"),
        lambda: library.read(size),
    )
    found: dict[str, float] = {}
    for way, arms in {"up": up, "down": down}.items():
        guest, plain, ratio = await compared(library, arms, size)
        found |= {f"{way}_mb_s": guest, f"library_{way}_mb_s": plain, way: ratio}
    return found


async def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    parser.add_argument("--only", action="append", metavar="BACKEND", help="measure only these")
    parser.add_argument("--quick", action="store_true", help="smaller objects, fewer runs")
    options = parser.parse_args()
    sizes = {**SIZES, "256 MiB": QUICK} if options.quick else SIZES
    found: dict[str, dict[str, float]] = {}
    with NatsServer(sync=None) as server, S3Server() as s3:
        async with arms(server.url, s3) as (host, libraries):
            for backend in options.only or libraries:
                library = libraries[backend]
                for name, size in sizes.items():
                    if backend == "disk" and size < QUICK:
                        continue
                    row = await measure(host, backend, library, size)
                    found[f"{backend} {name}"] = row
                    print(
                        f"{backend:10} {name:7} " + "  ".join(f"{k} {v:.3g}" for k, v in row.items()),
                        flush=True,
                    )
    if options.json:
        options.json.write_text(json.dumps(found, indent=1))
    slow = []
    for required, least in REQUIRED.items():
        backend, way = required.split()
        ratio = found.get(f"{backend} 256 MiB", {}).get(way)
        if ratio is not None and ratio < least:
            slow.append(f"{required} {ratio:.2f}, not {least}")
    for line in slow:
        print(f"below what is required: {line}")
    return 1 if slow else 0


if __name__ == "__main__":
    raise SystemExit(uvloop.run(main()))
