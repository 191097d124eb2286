"""Postgres through a guest, against asyncpg called directly, on one server and one event loop.

``python benchmarks/postgres.py [--json FILE] [--quick]``. The arms of a row run in turn, in short slices.
The ratio is the median of the ratios of neighbouring slices. Each call of a guest has a session of its own
that is reset: the baseline is asyncpg's pool, which resets too. `bare` is one connection that never is.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import uvloop
from wasmplex.host import Host
from wasmplex.testing.servers import PostgresServer

GUEST = Path(__file__).parents[1] / "tests" / "guests" / "built" / "pgcount.wasm"
CONFIG = """
[workload.bench]
component = "{guest}"
instances = {{ max = 4, reuse = 1000000 }}
limits = {{ timeout = "300s" }}
default."wasmcloud:postgres" = {{ backend = "postgres", url = "{url}" }}
"""
ONE = "SELECT id, name FROM items WHERE id = 7"
CHANGE = "UPDATE items SET name = name WHERE id = 7"
ROWS = "SELECT g, g::int8, g::float8, 'name ' || g, g % 2 = 0 FROM generate_series(1, {}) AS g"
LIMITS = {"one row": 1.25, "exec": 1.25, "rows": 1 / 0.35}
"""How much longer than asyncpg each may take."""

Arm = Callable[[int], Awaitable[object]]


@asynccontextmanager
async def arms(url: str) -> AsyncIterator[dict[str, tuple[Arm, Arm, Arm]]]:
    """Return by row: the guest, asyncpg's pool, one connection of asyncpg."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "host.toml"
        path.write_text(CONFIG.format(guest=GUEST, url=url))
        async with (
            Host.from_config(path) as host,
            asyncpg.create_pool(url, min_size=2) as pool,
            pool.acquire() as bare,
        ):
            await bare.execute(
                "CREATE TABLE items AS SELECT g AS id, 'name ' || g AS name FROM generate_series(1, 100) AS g"
            )
            change = await bare.prepare(CHANGE)

            async def repeated(operation: Callable[[], Awaitable[Any]], times: int) -> None:
                for _ in range(times):
                    await operation()

            yield {
                "one row": (
                    lambda times: host.call("bench", "queries", ONE, times),
                    lambda times: repeated(lambda: pool.fetch(ONE), times),
                    lambda times: repeated(lambda: bare.fetch(ONE), times),
                ),
                "exec": (
                    lambda times: host.call("bench", "execs", CHANGE, times),
                    lambda times: repeated(lambda: pool.execute(CHANGE), times),
                    lambda times: repeated(change.fetch, times),
                ),
                "rows": (
                    lambda times: host.call("bench", "queries", ROWS.format(times * 100), 1),
                    lambda times: pool.fetch(ROWS.format(times * 100)),
                    lambda times: bare.fetch(ROWS.format(times * 100)),
                ),
            }


async def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    parser.add_argument("--quick", action="store_true", help="fewer slices, of fewer rows")
    options = parser.parse_args()
    found: dict[str, dict[str, float]] = {}
    with PostgresServer() as server:
        async with arms(server.url) as rows:
            for name, three in rows.items():
                times = (100 if options.quick else 1000) if name == "rows" else 200
                found[name] = await measure(three, times, 3 if options.quick or name == "rows" else 15)
    for name, row in found.items():
        print(f"{name:8} " + "  ".join(f"{key} {value:.3g}" for key, value in row.items()))
    if options.json:
        options.json.write_text(json.dumps(found, indent=1))
    slow = [name for name, row in found.items() if row["ratio"] > LIMITS[name]]
    for name in slow:
        print(f"{name}: {found[name]['ratio']:.2f} times asyncpg's time, over {LIMITS[name]:.2f}")
    return 1 if slow else 0


async def measure(three: tuple[Arm, Arm, Arm], times: int, slices: int) -> dict[str, float]:
    """Run all arms in turn, and compare neighbouring slices."""
    for arm in three:  # connections, instances and caches
        await arm(times)
    taken = [[await timed(arm, times) for arm in three] for _ in range(slices)]
    guest, pool, bare = (statistics.median(arm) / times * 1e6 for arm in zip(*taken, strict=True))
    return {
        "guest_us": guest,
        "pool_us": pool,
        "bare_us": bare,
        "ratio": statistics.median(one / other for one, other, _ in taken),
        "ratio_bare": statistics.median(one / other for one, _, other in taken),
    }


async def timed(arm: Arm, times: int) -> float:
    begun = time.perf_counter()
    await arm(times)
    return time.perf_counter() - begun


if __name__ == "__main__":
    raise SystemExit(uvloop.run(main()))
