"""What becomes of guests when the server dies, hangs, restarts, or the network cuts them off.

``make faults`` has 50 guests and each fault five times, and prints the figures. A failover comes so often on
every event loop as well, with fewer guests.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from databases import Database, opened
from wasmplex.capabilities.postgres import PostgresError, Timeout
from wasmplex.policy.deadline import within
from wasmplex.testing.servers import PostgresServer, TcpProxy

pytestmark = [pytest.mark.anyio, pytest.mark.slow, pytest.mark.timeout(300)]

FULL = os.environ.get("WASMPLEX_FAULTS") == "full"
FAILOVERS = 5 if FULL or os.environ.get("WASMPLEX_TEST_LOOPS") == "all" else 0
TIMES = 5 if FULL else 1
GUESTS = 50 if FULL else 15
DEADLINE = 1.0
BACK = 2.0 if FULL else 8.0
"""Seconds after which everybody is served again; more where other tests keep the machine busy."""


class Traffic:
    """Guests that write numbered rows, read rows that stream, and note what they are told."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.acknowledged: set[int] = set()
        self.told: Counter[str] = Counter()
        self.begun = self.ended = 0
        self.served: dict[int, float] = {}
        self.back: list[float] = []
        """Seconds that it took each time until everybody was served."""
        self._next = 0

    async def guest(self, number: int) -> None:
        while True:
            self._next += 1
            name = self._next
            self.begun += 1
            try:
                await within(DEADLINE, self.work(name))
            except (PostgresError, TimeoutError) as error:
                self.told[error.case if isinstance(error, PostgresError) else Timeout.case] += 1
                await asyncio.sleep(0.02)
            else:
                self.acknowledged.add(name)
                self.served[number] = time.monotonic()
            finally:
                self.ended += 1

    async def work(self, name: int) -> None:
        if name % 3:
            await self.database.execute("INSERT INTO written VALUES ($1)", ("int4", name))
        else:
            rows = await self.database.query(
                "WITH w AS (INSERT INTO written VALUES ($1) RETURNING n) "
                "SELECT n, g FROM w, generate_series(1, 200) AS g",
                ("int4", name),
            )
            assert len(rows) == 200

    async def everybody_is_served(self, seconds: float) -> None:
        """Wait until each guest has been served from now on."""
        since = time.monotonic()
        with anyio.fail_after(seconds):
            while sum(at > since for at in self.served.values()) < GUESTS:  # noqa: ASYNC110  real time passes
                await asyncio.sleep(0.02)
        self.back.append(time.monotonic() - since)

    def __str__(self) -> str:
        told = ", ".join(f"{case} {count}" for case, count in sorted(self.told.items())) or "nothing"
        back = ", ".join(f"{seconds:.2f}" for seconds in self.back[1:])  # the first is the beginning
        return (
            f"{GUESTS} guests made {self.begun} calls, {self.begun - self.ended} without an answer; {told}.\n"
            f"  All were served again after {back} s. Of {len(self.acknowledged)} commits none was lost."
        )


@asynccontextmanager
async def traffic(url: str, **settings: Any) -> AsyncIterator[Traffic]:
    async with opened(url, timeout=1.0, **settings) as database:
        await database.batch("CREATE TABLE IF NOT EXISTS written (n int)")
        await database.batch("TRUNCATE written")
        running = Traffic(database)
        guests = [asyncio.ensure_future(running.guest(number)) for number in range(GUESTS)]
        try:
            await running.everybody_is_served(20)
            yield running
        finally:
            for guest in guests:
                guest.cancel()
            await asyncio.wait(guests)


async def nothing_is_lost(running: Traffic, fault: str, screen: pytest.CaptureFixture[str]) -> None:
    with anyio.fail_after(5):
        while running.database.backend.pool.idle < len(running.database.backend.pool):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    rows = await running.database.query("SELECT n FROM written")
    assert running.acknowledged <= {row[0][1] for row in rows}
    assert running.begun == running.ended
    assert set(running.told) <= {"connection-failed", "timeout", "query-failed"}
    assert len(running.database.backend.pool) <= 10
    if FULL:
        with screen.disabled():
            print(f"\n  {fault}: {running}")


Fault = Callable[[PostgresServer], Awaitable[None]]


async def killed(server: PostgresServer) -> None:
    await asyncio.to_thread(server.kill)
    await asyncio.sleep(0.1)
    await asyncio.to_thread(server.start)


async def restarted(server: PostgresServer) -> None:
    await asyncio.to_thread(server.stop)
    await asyncio.to_thread(server.start)


async def paused(server: PostgresServer) -> None:
    await asyncio.to_thread(server.pause)
    await asyncio.sleep(1.5)
    await asyncio.to_thread(server.resume)


@pytest.mark.parametrize("fault", [killed, restarted, paused] if FULL else [killed])
async def test_a_server_that_fails(fault: Fault, capsys: pytest.CaptureFixture[str]) -> None:
    with PostgresServer(durable=True, settings={"max_connections": "40"}) as server:
        async with traffic(server.url) as running:
            for _ in range(TIMES):
                await fault(server)
                await running.everybody_is_served(BACK)
        assert running.told or fault is restarted
        async with opened(server.url) as database:
            running.database = database
            await nothing_is_lost(running, fault.__name__, capsys)


async def test_a_connection_that_is_cut_in_the_midst_of_rows(
    postgres_server: PostgresServer, capsys: pytest.CaptureFixture[str]
) -> None:
    async with TcpProxy("127.0.0.1", postgres_server.port) as proxy:
        through = postgres_server.url.replace(postgres_server.address, f"127.0.0.1:{proxy.port}")
        async with traffic(through) as running:
            for _ in range(TIMES * 3):
                proxy.reset()
                await running.everybody_is_served(BACK)
            assert running.told["connection-failed"]
            rows = await running.database.backend.query("u", "SELECT generate_series(1, 100000)", ())
            await rows.next()
            proxy.reset()
            with pytest.raises(PostgresError) as caught:
                await rows.next()
            assert caught.value.case == "connection-failed"
        async with opened(postgres_server.url) as database:
            running.database = database
            await nothing_is_lost(running, "cut", capsys)


async def test_a_network_that_stalls(postgres_server: PostgresServer) -> None:
    async with TcpProxy("127.0.0.1", postgres_server.port) as proxy:
        through = postgres_server.url.replace(postgres_server.address, f"127.0.0.1:{proxy.port}")
        async with opened(through, timeout=1.0, pool_size=2) as database:
            assert await database.value("SELECT 1") == 1
            proxy.stall()
            for _ in range(3):
                with pytest.raises((TimeoutError, PostgresError)):
                    await within(0.3, database.query("SELECT 1"))
            proxy.flow()
            with anyio.fail_after(10):
                while True:
                    try:
                        assert await database.value("SELECT 2") == 2
                        break
                    except PostgresError:
                        await asyncio.sleep(0.05)


@pytest.mark.parametrize("commit", [False, True], ids=["undone", "kept"])
async def test_a_network_that_stalls_while_rows_are_given_up(
    postgres_server: PostgresServer, commit: bool
) -> None:
    """Not even the cancelling arrives: the connection is closed by its deadline, and its place is free."""
    async with TcpProxy("127.0.0.1", postgres_server.port) as proxy:
        through = postgres_server.url.replace(postgres_server.address, f"127.0.0.1:{proxy.port}")
        async with opened(through, timeout=20.0, pool_size=1) as database:
            pool = database.backend.pool
            pool.patience = 0.2
            rows = await database.backend.query("tests", "SELECT generate_series(1, 100000)", ())
            await rows.next()
            proxy.stall()
            reading = asyncio.ensure_future(rows.next())
            await asyncio.sleep(0)
            reading.cancel()
            begun = time.monotonic()
            if commit:
                with pytest.raises(Timeout):
                    await rows.close(commit=True)
            else:
                await rows.close()
            with anyio.fail_after(20):
                while len(pool):  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            assert time.monotonic() - begun > 0.1
            proxy.flow()
            assert await database.value("SELECT 2") == 2


class Standby(PostgresServer):
    """A server that follows another one."""

    def __init__(self, primary: PostgresServer) -> None:
        super().__init__(primary.password, {"max_connections": "40"}, durable=True)
        self._primary = primary

    def _initialize(self) -> None:
        """Copy what the other one has, and note where to get the rest."""
        if self.account is not None:
            shutil.chown(self.data, self.account)
        self.data.chmod(0o700)
        command = [self._program.with_name("pg_basebackup"), "-D", self.data, "-R", "-d", self._primary.url]
        account = {"user": self.account, "group": "nogroup", "extra_groups": []} if self.account else {}
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, cwd=self.folder, **account
        )  # type: ignore[call-overload]
        assert done.returncode == 0, done.stderr


async def followed(database: Database, how: str) -> None:
    """Wait until a standby follows."""
    with anyio.fail_after(20):
        while not await database.value(f"SELECT count(*) FROM pg_stat_replication WHERE {how}"):  # noqa: ASYNC110
            await asyncio.sleep(0.05)


@pytest.mark.skipif(not FAILOVERS, reason="makes five standbys of five servers: make faults, make test-all")
@pytest.mark.parametrize("number", range(1, FAILOVERS + 1) or [0])
async def test_a_failover(number: int, capsys: pytest.CaptureFixture[str]) -> None:
    """The primary dies, the standby becomes one: guests go on there, and nothing they were told is lost."""
    with (
        PostgresServer(durable=True, settings={"max_connections": "40"}) as primary,
        Standby(primary) as standby,
    ):
        async with opened(primary.url) as database:
            await followed(database, "state = 'streaming'")
            await database.batch("ALTER SYSTEM SET synchronous_standby_names = '*'")
            await database.batch("SELECT pg_reload_conf()")
            await followed(database, "sync_state = 'sync'")
        both = primary.url.replace(primary.address, f"{primary.address},{standby.address}")
        async with traffic(both, target_session_attrs="read-write") as running:
            await asyncio.to_thread(primary.kill)
            async with opened(standby.url) as database:
                assert await database.value("SELECT pg_promote()")
            await running.everybody_is_served(BACK)
            assert running.told["connection-failed"]
        async with opened(standby.url) as database:
            running.database = database
            await nothing_is_lost(running, f"failover {number}", capsys)


async def test_a_server_that_turns_read_only(postgres_server: PostgresServer) -> None:
    """After a failover the old primary takes no writes: with ``read-write`` its connections are given up."""
    async with opened(postgres_server.url, target_session_attrs="read-write", pool_size=3) as database:
        await database.batch("CREATE TABLE IF NOT EXISTS written (n int)")
        await asyncio.gather(*(database.query("SELECT pg_sleep(0.01)") for _ in range(3)))
        assert len(database.backend.pool) == 3
        with pytest.raises(PostgresError, match="25006"):
            await database.batch("SET TRANSACTION READ ONLY; INSERT INTO written VALUES (1)")
        with anyio.fail_after(20):  # those that are just being reset are given up when they are
            while len(database.backend.pool):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        assert await database.execute("INSERT INTO written VALUES (1)") == 1
