"""A million rows through a guest, and a hundred guests that hold rows and read none."""

from __future__ import annotations

import asyncio
import gc
import os
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import guests
import pytest
from databases import opened
from wasmplex.config import load
from wasmplex.host import Host
from wasmplex.testing.servers import PostgresServer

pytestmark = [pytest.mark.anyio, pytest.mark.slow, pytest.mark.timeout(300)]

ROWS = 1_000_000 if os.environ.get("WASMPLEX_TEST_LOOPS") == "all" else 30_000
GUESTS = 100 if os.environ.get("WASMPLEX_TEST_LOOPS") == "all" else 24
TIMEOUT, SECONDS = 1007, 0.7
"""What the guest returns for the case `timeout` of a query, and the binding's timeout."""
ASKS = "count", "count"
CONNECTED = "SELECT 1 FROM pg_sleep(0.1)"
"""What ten guests at once need ten connections for."""


@asynccontextmanager
async def hosting(folder: Path, url: str, **settings: object) -> AsyncIterator[Host]:
    config = folder / "host.toml"
    more = "".join(f"{name} = {value!r}\n" for name, value in settings.items())
    config.write_text(
        f'[workload.count]\ncomponent = "{guests.path("pgcount")}"\nlimits.timeout = "280s"\n'
        "instances.max = 200\ninstances.reuse = 1\n"
        f'[workload.count.default."wasmcloud:postgres"]\nbackend = "postgres"\nurl = "{url}"\n{more}'
    )
    async with Host(await asyncio.to_thread(load, config)) as host:
        yield host


def memory() -> int:
    """Return the resident bytes of this process."""
    gc.collect()
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no VmRSS")


async def test_rows_are_never_all_in_memory(postgres_server: PostgresServer, tmp_path: Path) -> None:
    async with hosting(tmp_path, postgres_server.url) as host:
        sql = "SELECT g, repeat('x', 100) FROM generate_series(1, {}) AS g"
        assert await host.call("count", "count", sql.format(5000), 10**9) == 5000
        before = memory()
        assert await host.call("count", "count", sql.format(ROWS), 10**9) == ROWS
        assert memory() - before < 32 * 2**20


@pytest.mark.parametrize("taken", [10, 64, 1000])
async def test_rows_that_a_guest_has_not_asked_for(
    postgres_server: PostgresServer, tmp_path: Path, taken: int
) -> None:
    """64 at most are made before it reads, then 64 in the host and 64 that wait in the socket.

    A sequence tells how many there were.
    """
    async with hosting(tmp_path, postgres_server.url) as host, opened(postgres_server.url) as other:
        await other.batch("DROP SEQUENCE IF EXISTS made; CREATE SEQUENCE made")
        sql = "SELECT nextval('made') FROM generate_series(1, 100000)"
        assert await host.call("count", "count", sql, taken) == taken
        made = await other.value("SELECT last_value FROM made")
        assert taken <= made <= (64 if taken < 64 else taken + 128)


async def test_stopping_frees_the_connection(postgres_server: PostgresServer, tmp_path: Path) -> None:
    async with (
        hosting(tmp_path, postgres_server.url, pool_size=1) as host,
        opened(postgres_server.url) as other,
    ):
        sql = "SELECT 'stopped', generate_series(1, 100000000)"
        assert await host.call("count", "count", sql, 10) == 10
        begun = time.monotonic()
        assert await host.call("count", "count", "SELECT 1", 1) == 1  # there is but one connection
        assert (
            time.monotonic() - begun < 2
        )  # it takes milliseconds, where nothing else keeps the machine busy
        at_work = (
            "SELECT count(*) FROM pg_stat_activity "
            "WHERE query LIKE '%stopped%' AND state <> 'idle' AND pid <> pg_backend_pid()"
        )
        assert await other.value(at_work) == 0


async def test_many_guests_hold_rows_unread(postgres_server: PostgresServer, tmp_path: Path) -> None:
    """The first ten have the connections. The others wait, and are told; when all have gone all is free."""
    async with hosting(tmp_path, postgres_server.url, timeout=SECONDS) as host:
        with anyio.fail_after(60):  # connecting takes longer than that where the machine is busy
            while set(await asyncio.gather(*(host.call(*ASKS, CONNECTED, 1) for _ in range(10)))) != {1}:
                pass
        leave = asyncio.Event()
        told: list[int] = []

        async def hold() -> None:
            async with host.workload("count").instance() as instance:
                told.append(await instance.call("hold", "SELECT generate_series(1, 100000)"))
                await leave.wait()

        holding = [asyncio.ensure_future(hold()) for _ in range(GUESTS)]
        async with asyncio.timeout(20):
            while len(told) < GUESTS:  # noqa: ASYNC110  guests have nothing to set an event with
                await asyncio.sleep(0.02)
        assert Counter(told) == {0: 10, TIMEOUT: GUESTS - 10}
        leave.set()
        await asyncio.gather(*holding)
        assert await host.call("count", "count", "SELECT generate_series(1, 100)", 1000) == 100
        many = await asyncio.gather(*(host.call("count", "count", "SELECT 1", 1) for _ in range(10)))
        assert many == [1] * 10
