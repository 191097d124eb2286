"""Postgres through a guest, against asyncpg called directly, on one server and one event loop.

``python benchmarks/postgres.py [--json FILE] [--quick]``. The arms of a row run in turn, in short slices.
The ratio is the median of the ratios of neighbouring slices. The arms:

- `guest`: each call in a transaction and a session of its own, which is reset for whoever is next;
- `pool`: asyncpg's pool as it comes, no transaction, and a reset that leaves roles and temporary tables. The
  limits are held to this one: it is what somebody would write who calls asyncpg directly;
- `same`: that pool with what a guest's session is held to, a transaction and the whole reset;
- `bare`: one connection that is never reset. No guest may have that, for the next would see what it has set.
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

RESET = """SET SESSION AUTHORIZATION DEFAULT; RESET ROLE; RESET ALL; CLOSE ALL; UNLISTEN *;
SELECT pg_advisory_unlock_all(); DISCARD TEMP; DISCARD SEQUENCES;
SELECT FROM pg_prepared_statements WHERE from_sql"""
"""What leaves nothing in a session but what the driver has prepared."""

Arm = Callable[[int], Awaitable[object]]
Arms = tuple[Arm, Arm, Arm, Arm]
"""The guest, asyncpg's pool, that with what a guest has, one connection."""


@asynccontextmanager
async def arms(url: str) -> AsyncIterator[dict[str, Arms]]:
    """Return the arms by row."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "host.toml"
        path.write_text(CONFIG.format(guest=GUEST, url=url))
        async with (
            Host.from_config(path) as host,
            asyncpg.create_pool(url, min_size=2) as pool,
            asyncpg.create_pool(url, min_size=2, reset=reset) as same,
            pool.acquire() as bare,
        ):
            await bare.execute(
                "CREATE TABLE items AS SELECT g AS id, 'name ' || g AS name FROM generate_series(1, 100) AS g"
            )
            change = await bare.prepare(CHANGE)
            yield {
                "one row": (
                    lambda times: host.call("bench", "queries", ONE, times),
                    lambda times: repeated(lambda: pool.fetch(ONE), times),
                    lambda times: repeated(lambda: in_transaction(same, ONE), times),
                    lambda times: repeated(lambda: bare.fetch(ONE), times),
                ),
                "exec": (
                    lambda times: host.call("bench", "execs", CHANGE, times),
                    lambda times: repeated(lambda: pool.execute(CHANGE), times),
                    lambda times: repeated(lambda: in_transaction(same, CHANGE), times),
                    lambda times: repeated(change.fetch, times),
                ),
                "rows": (
                    lambda times: host.call("bench", "queries", ROWS.format(times * 100), 1),
                    lambda times: pool.fetch(ROWS.format(times * 100)),
                    lambda times: in_transaction(same, ROWS.format(times * 100)),
                    lambda times: bare.fetch(ROWS.format(times * 100)),
                ),
            }


async def reset(connection: Any) -> None:
    """Leave a session as the host does."""
    await connection.execute(RESET)


async def in_transaction(pool: Any, sql: str) -> None:
    """Execute as a guest's statement is executed."""
    async with pool.acquire() as connection, connection.transaction():
        await connection.fetch(sql)


async def repeated(operation: Callable[[], Awaitable[Any]], times: int) -> None:
    """Do something so many times, one after the other."""
    for _ in range(times):
        await operation()


async def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    parser.add_argument("--quick", action="store_true", help="fewer slices, of fewer rows")
    options = parser.parse_args()
    found: dict[str, dict[str, float]] = {}
    with PostgresServer() as server:
        async with arms(server.url) as rows:
            for name, of_row in rows.items():
                times = (100 if options.quick else 1000) if name == "rows" else 200
                found[name] = await measure(of_row, times, 3 if options.quick or name == "rows" else 15)
    for name, row in found.items():
        print(f"{name:8} " + "  ".join(f"{key} {value:.3g}" for key, value in row.items()))
    if options.json:
        options.json.write_text(json.dumps(found, indent=1))
    slow = [name for name, row in found.items() if row["ratio"] > LIMITS[name]]
    for name in slow:
        print(f"{name}: {found[name]['ratio']:.2f} times asyncpg's time, over {LIMITS[name]:.2f}")
    return 1 if slow else 0


async def measure(arms: Arms, times: int, slices: int) -> dict[str, float]:
    """Run all arms in turn, and compare neighbouring slices."""
    for arm in arms:  # connections, instances and caches
        await arm(times)
    taken = [[await timed(arm, times) for arm in arms] for _ in range(slices)]
    found = {
        f"{name}_us": statistics.median(arm) / times * 1e6
        for name, arm in zip(("guest", "pool", "same", "bare"), zip(*taken, strict=True), strict=True)
    }
    for at, name in enumerate(("ratio", "ratio_same", "ratio_bare"), 1):
        found[name] = statistics.median(one[0] / one[at] for one in taken)
    return found


async def timed(arm: Arm, times: int) -> float:
    begun = time.perf_counter()
    await arm(times)
    return time.perf_counter() - begun


if __name__ == "__main__":
    raise SystemExit(uvloop.run(main()))
