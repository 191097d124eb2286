"""Key-value operations on real servers: through a guest, against the client library called directly.

Run it with the interpreter of the development environment:
``python benchmarks/keyvalue_servers.py [--json FILE] [--quick]``. Both arms of a row run in turn, in short
slices, on one event loop and against one server; the ratio given is the median of the ratios of neighbouring
slices. 1.10 means that the guest takes 10 % longer for an operation than a Python program with the client
library would. The servers do not sync to disk: what is measured is the host.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import nats
from redis.asyncio import Redis
from rich.console import Console
from rich.table import Table
from wasmplex.host import Host
from wasmplex.testing.servers import NatsServer, RedisServer

GUESTS = Path(__file__).parents[1] / "tests" / "guests" / "built"
CONFIG = """
[workload.{name}]
component = "{guests}/kvthree.wasm"
instances = {{ max = 64, reuse = 1000000 }}
limits = {{ timeout = "120s" }}
import.fast.backend = "memory"
import.durable.backend = "memory"
[workload.{name}.import.shared]
backend = "{backend}"
url = "{url}"
namespace = "bench"

[workload.{name}-batch]
component = "{guests}/kvfull.wasm"
instances = {{ max = 64, reuse = 1000000 }}
limits = {{ timeout = "120s" }}
[workload.{name}-batch.default."wasi:keyvalue"]
backend = "{backend}"
url = "{url}"
namespace = "bench"
"""
VALUE = b"sixteen bytes..."
BATCH = [f"k{number}" for number in range(100)]
LIMIT = 1.15
"""How much longer than the library one get of 16 bytes may take."""

Arm = Callable[[int], Awaitable[object]]
"""Does a number of operations, one after the other."""


@dataclass
class Row:
    """What was measured of one operation."""

    server: str
    operation: str
    in_flight: int
    guest_per_second: float
    library_per_second: float
    ratio: float


async def main() -> int:
    """Measure everything; fail if a get takes too long."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    parser.add_argument("--quick", action="store_true", help="a tenth of the slices")
    options = parser.parse_args()
    rows: list[Row] = []
    for name, arms in (("redis", redis_arms), ("nats", nats_arms)):
        async with arms() as (guest, library):
            for operation in guest:
                for in_flight in (1, 64):
                    slices = 3 if options.quick else 30
                    rows.append(await measure(name, operation, in_flight, guest, library, slices))
    show(rows)
    if options.json:
        options.json.write_text(json.dumps([asdict(row) for row in rows], indent=1))
    slow = [row for row in rows if row.operation == "get" and row.in_flight == 1 and row.ratio > LIMIT]
    for row in slow:
        print(f"{row.server}: one get takes {row.ratio:.2f} times the library's time, over {LIMIT}")
    return 1 if slow else 0


# ---------------------------------------------------------------- arms


@asynccontextmanager
async def host(name: str, url: str) -> AsyncIterator[dict[str, Arm]]:
    """Return the operations as guests do them."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "host.toml"
        path.write_text(CONFIG.format(name=name, backend=name, url=url, guests=GUESTS))
        async with Host.from_config(path) as running:

            async def call(line: str) -> str:
                return str(await running.call(name, "run", line))

            async def batch(line: str, times: int) -> None:
                for _ in range(times):
                    await running.call(f"{name}-batch", "run", line)

            await call(f"shared b set k {VALUE.decode()}")
            items = " ".join(f"{key} {VALUE.decode().replace(' ', '_')}" for key in BATCH)
            yield {
                "get": lambda times: call(f"shared b gets k {times}"),
                "set": lambda times: call(f"shared b sets k {times}"),
                "set 100": lambda times: batch(f"b set-many {items}", times),
                "get 100": lambda times: batch(f"b get-many {' '.join(BATCH)}", times),
            }


def repeated(operation: Callable[[], Awaitable[object]]) -> Arm:
    """Return an arm that does one thing again and again."""

    async def run(times: int) -> None:
        for _ in range(times):
            await operation()

    return run


@asynccontextmanager
async def redis_arms() -> AsyncIterator[tuple[dict[str, Arm], dict[str, Arm]]]:
    """Return both arms on a Valkey server."""
    async with AsyncExitStack() as stack:
        server = stack.enter_context(RedisServer(settings={"appendonly": "no"}))
        guest = await stack.enter_async_context(host("redis", server.url))
        client = await stack.enter_async_context(Redis.from_url(server.url))
        items: dict[Any, Any] = dict.fromkeys(BATCH, VALUE)
        library = {
            "get": repeated(lambda: client.get("k")),
            "set": repeated(lambda: client.set("k", VALUE)),
            "set 100": repeated(lambda: client.mset(items)),
            "get 100": repeated(lambda: client.mget(BATCH)),
        }
        await client.set("k", VALUE)
        yield guest, library


@asynccontextmanager
async def nats_arms() -> AsyncIterator[tuple[dict[str, Arm], dict[str, Arm]]]:
    """Return both arms on a NATS server. The library has no batches: there it does 100 things at once."""
    async with AsyncExitStack() as stack:
        server = stack.enter_context(NatsServer(sync=None))
        guest = await stack.enter_async_context(host("nats", server.url))
        client = await nats.connect(server.url)
        stack.push_async_callback(client.close)
        store = await client.jetstream().create_key_value(bucket="library", direct=True)
        await store.put("k", VALUE)
        library = {
            "get": repeated(lambda: store.get("k")),
            "set": repeated(lambda: store.put("k", VALUE)),
            "set 100": repeated(lambda: asyncio.gather(*[store.put(key, VALUE) for key in BATCH])),
            "get 100": repeated(lambda: asyncio.gather(*[store.get(key) for key in BATCH])),
        }
        yield guest, library


# ---------------------------------------------------------------- measuring


async def measure(
    server: str, operation: str, in_flight: int, guest: dict[str, Arm], library: dict[str, Arm], slices: int
) -> Row:
    """Run both arms in turn and compare neighbouring slices."""
    times = (4 if operation.endswith("100") else 200) // (1 if in_flight == 1 else 4)
    ours: list[float] = []
    theirs: list[float] = []
    for arm in (guest, library):  # connections, instances and caches
        await timed(arm[operation], times, in_flight)
    for _ in range(slices):
        ours.append(await timed(guest[operation], times, in_flight))
        theirs.append(await timed(library[operation], times, in_flight))
    return Row(
        server,
        operation,
        in_flight,
        times * in_flight / statistics.median(ours),
        times * in_flight / statistics.median(theirs),
        statistics.median(ratios(ours, theirs)),
    )


def ratios(ours: list[float], theirs: list[float]) -> Iterator[float]:
    """Return the ratio of each slice to the one after it."""
    return (one / other for one, other in zip(ours, theirs, strict=True))


async def timed(arm: Arm, times: int, in_flight: int) -> float:
    """Return the seconds that some tasks take, each with so many operations."""
    start = time.perf_counter()
    await asyncio.gather(*[arm(times) for _ in range(in_flight)])
    return time.perf_counter() - start


def show(rows: list[Row]) -> None:
    """Print a table."""
    table = Table(title="operations per second")
    for column in ("server", "operation", "in flight", "guest", "library", "guest's time / library's"):
        table.add_column(column, justify="left" if column in ("server", "operation") else "right")
    for row in rows:
        figures = (f"{row.guest_per_second:,.0f}", f"{row.library_per_second:,.0f}", f"{row.ratio:.2f}")
        table.add_row(row.server, row.operation, str(row.in_flight), *figures)
    Console(width=110).print(table)


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
