"""Nothing that one guest leaves behind is met by the next; no operation outlives its guest on the server."""

from __future__ import annotations

import asyncio
import select
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress

import anyio
import pytest
from databases import Database, opened
from host_plugin_postgres.rows import PgRows
from wasmplex.capabilities.postgres import ConnectionFailed, QueryFailed, Rows
from wasmplex.testing.servers import PostgresServer

pytestmark = pytest.mark.anyio


@pytest.fixture
async def one(postgres_server: PostgresServer) -> AsyncIterator[Database]:
    """A pool of one connection: whoever comes next gets what the last one had."""
    async with opened(postgres_server.url, pool_size=1, search_path="public") as database:
        yield database


LEFT = {
    "role": ("CREATE ROLE r; SET ROLE r", "SELECT current_user::text", "postgres"),
    "authorization": ("CREATE ROLE r; SET SESSION AUTHORIZATION r", "SELECT session_user::text", "postgres"),
    "search path": ("SET search_path = pg_catalog", "SHOW search_path", "public"),
    "time zone": ("SET TIME ZONE 'Asia/Tokyo'", "SHOW TimeZone", "Etc/UTC"),
    "own setting": ("SET my.secret = 'x'", "SELECT coalesce(current_setting('my.secret', true), '')", ""),
    "setting by function": ("SELECT set_config('work_mem', '1MB', false)", "SHOW work_mem", "4MB"),
    "temporary table": ("CREATE TEMP TABLE t (a int)", "SELECT to_regclass('pg_temp.t')::text", None),
    "temporary function": (
        "CREATE FUNCTION pg_temp.f() RETURNS int LANGUAGE sql RETURN 1",
        "SELECT count(*)::text FROM pg_proc WHERE proname = 'f' AND pronamespace = pg_my_temp_schema()",
        "0",
    ),
    "transaction": ("BEGIN; SET LOCAL work_mem = '1MB'", "SHOW work_mem", "4MB"),
    "failed transaction": ("BEGIN; SELECT 1/0", "SELECT 'fine'", "fine"),
    "prepared transaction mode": (
        "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY", "SHOW transaction_read_only", "off",
    ),
    "advisory lock": (
        "SELECT pg_advisory_lock(42)", "SELECT count(*)::text FROM pg_locks WHERE locktype = 'advisory'", "0",
    ),
    "listening": ("LISTEN news", "SELECT count(*)::text FROM pg_listening_channels()", "0"),
    "cursor": (
        "DECLARE c CURSOR WITH HOLD FOR SELECT 1",
        "SELECT count(*)::text FROM pg_cursors WHERE name = 'c'", "0",
    ),
    "prepared statement": (
        "PREPARE theirs AS SELECT 1",
        "SELECT count(*)::text FROM pg_prepared_statements WHERE from_sql",
        "0",
    ),
    "sequence": (
        "CREATE SEQUENCE IF NOT EXISTS s; SELECT nextval('s')",
        "DO $$BEGIN PERFORM lastval(); RAISE 'x'; EXCEPTION WHEN object_not_in_prerequisite_state THEN END$$",
        None,
    ),
}  # fmt: skip
"""What a guest leaves behind, what the next one asks, and what it has to be told."""


@pytest.mark.parametrize("what", LEFT)
async def test_what_is_left_behind(one: Database, what: str) -> None:
    await one.batch("DROP ROLE IF EXISTS r")
    leave, look, wanted = LEFT[what]
    before = await one.value("SELECT pg_backend_pid()")
    with suppress(QueryFailed):  # one of them is meant to fail
        await one.batch(leave)
    next_guest = Database(one.backend, "tests/other")
    rows = await next_guest.query(look)
    assert [row[0][1] for row in rows] == ([] if what == "sequence" else [wanted])
    assert await next_guest.value("SELECT pg_backend_pid()") == before  # it was reset, not replaced


@pytest.mark.parametrize("way", ["query", "exec"])
async def test_what_a_function_leaves_behind_whose_answer_does_not_wait(one: Database, way: str) -> None:
    await one.batch(
        "CREATE OR REPLACE FUNCTION leave() RETURNS int LANGUAGE plpgsql AS $$BEGIN"
        " PERFORM set_config('search_path', 'pg_catalog', false), pg_advisory_lock(43);"
        " CREATE TEMP TABLE l (a int); LISTEN news; RETURN 1; END$$"
    )
    look = (
        "SELECT current_setting('search_path') || (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory')"
        " || (SELECT count(*) FROM pg_listening_channels()) || coalesce(to_regclass('pg_temp.l'), 0)"
    )
    assert await one.value(look) == "public00-"
    for _ in range(20):
        await (one.query("SELECT leave()") if way == "query" else one.execute("SELECT leave()"))
        assert await Database(one.backend, "tests/other").value(look) == "public00-"


async def test_a_query_leaves_no_more_than_a_batch(one: Database) -> None:
    await one.query("SELECT set_config('work_mem', '1MB', false), pg_advisory_lock(7)")
    await one.query("BEGIN")
    await one.query("PREPARE theirs AS SELECT 1")
    assert await one.value("SHOW work_mem") == "4MB"
    assert await one.value("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == 0
    assert await one.value("SELECT count(*) FROM pg_prepared_statements WHERE from_sql") == 0


async def test_a_type_of_the_database_where_no_statement_has_a_name(postgres_server: PostgresServer) -> None:
    """Looking the type up has the server forget the statement, which is prepared once more."""
    async with opened(postgres_server.url, prepared_statements=False) as database:
        await database.batch("DROP TYPE IF EXISTS mood; CREATE TYPE mood AS ENUM ('sad', 'glad')")
        sql = "SELECT 'glad'::mood, $1::int"
        assert await database.query(sql, ("int4", 5)) == [[("text", "glad"), ("int4", 5)]]


async def test_statements_that_a_guest_takes_away_are_prepared_again(one: Database) -> None:
    assert await one.value("SELECT 5") == 5
    await one.query("DEALLOCATE ALL")
    assert await one.value("SELECT 5") == 5
    await one.batch("DEALLOCATE ALL; PREPARE wasmplex_1 AS SELECT 'evil'")
    assert await one.value("SELECT 5") == 5


async def test_a_table_that_changes_under_a_prepared_statement(one: Database) -> None:
    await one.batch(
        "DROP TABLE IF EXISTS changing; CREATE TABLE changing (a int); INSERT INTO changing VALUES (1)"
    )
    assert await one.query("SELECT * FROM changing") == [[("int4", 1)]]
    await one.batch("ALTER TABLE changing ADD b text DEFAULT 'x'")
    assert await one.query("SELECT * FROM changing") == [[("int4", 1), ("text", "x")]]


async def test_whose_session_it_is(one: Database) -> None:
    assert await one.value("SHOW application_name") == "tests/one"
    assert await Database(one.backend, "tests/o'ther").value("SHOW application_name") == "tests/o'ther"


# ---------------------------------------------------------------- the end of operations


async def running(database: Database, words: str) -> int:
    """Count the sessions of the server that are at work on something."""
    count: int = await database.value(
        "SELECT count(*) FROM pg_stat_activity WHERE state <> 'idle' AND query LIKE '%' || $1 || '%' "
        "AND pid <> pg_backend_pid()",
        ("text", words),
    )
    return count


async def eventually(ask: Callable[[], Awaitable[int]], wanted: int) -> None:
    """Wait until something is a number."""
    for _ in range(2000):
        if (found := await ask()) == wanted:
            return
        await anyio.sleep(0.01)
    raise AssertionError(f"it is {found}, not {wanted}")


async def stopped(database: Database, words: str) -> None:
    await eventually(lambda: running(database, words), 0)


async def settled(database: Database) -> None:
    """Wait until all connections are at rest."""
    pool = database.backend.pool

    async def busy() -> int:
        return len(pool) - pool.idle

    await eventually(busy, 0)


async def test_what_is_cancelled_is_cancelled_on_the_server(postgres_server: PostgresServer) -> None:
    async with opened(postgres_server.url, pool_size=2) as database:
        for operation in (database.query, database.batch, database.execute):
            task = asyncio.ensure_future(operation("SELECT pg_sleep(60) AS cancelled_one"))
            await eventually(lambda: running(database, "cancelled_one"), 1)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await stopped(database, "cancelled_one")
        await settled(database)


async def test_rows_that_nobody_wants_any_more(one: Database) -> None:
    rows = await one.backend.query(one.user, "SELECT g FROM generate_series(1, 10000000) AS g", ())
    assert len(await rows.next()) == 64
    await rows.close()
    assert await running(one, "generate_series") == 0


async def test_rows_beyond_those_that_are_being_read_stay_in_the_socket(one: Database) -> None:
    rows = await one.backend.stream(one.user, "SELECT g FROM generate_series(1, 300) AS g", ())
    assert isinstance(rows, PgRows)
    assert [len(await rows.next()) for _ in range(2)] == [64, 64]
    coming = rows._coming
    assert coming is not None
    await asyncio.sleep(0.05)
    assert not coming.came
    assert [len(await rows.next()) for _ in range(4)] == [64, 64, 44, 0]
    assert coming.came


async def test_rows_that_are_there_need_no_cancelling(one: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = await one.backend.stream(one.user, "SELECT g FROM generate_series(1, 300) AS g", ())
    assert isinstance(rows, PgRows)
    await rows.next()
    await rows.next()
    link = rows._link
    assert link is not None
    socket = link._tap._transport.get_extra_info("socket")

    async def arrived() -> int:
        return len(select.select([socket], [], [], 0)[0])

    await eventually(arrived, 1)
    monkeypatch.delattr(type(link.connection), "_cancel")
    await rows.close()
    await settled(one)
    assert await one.value("SELECT 1") == 1
    assert link in one.backend.pool._links  # it was reset, not closed


async def test_who_stops_reading_keeps_what_was_done(one: Database) -> None:
    await one.batch("DROP TABLE IF EXISTS kept; CREATE TABLE kept (a int)")
    insert = "INSERT INTO kept SELECT g FROM generate_series(1, 200) AS g RETURNING a"
    for commit, count in ((True, 200), (False, 200)):  # what is not to be kept adds nothing
        rows = await one.backend.query(one.user, insert, ())
        await rows.next()
        await rows.close(commit=commit)
        assert await one.value("SELECT count(*) FROM kept") == count


async def test_all_connections_are_held(postgres_server: PostgresServer) -> None:
    async with opened(postgres_server.url, pool_size=3) as database:
        held: list[Rows] = [
            await database.backend.query("tests/holder", "SELECT generate_series(1, 1000)", ())
            for _ in range(3)
        ]
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await database.query("SELECT 1")
        waiting = [asyncio.ensure_future(database.query("SELECT 1")) for _ in range(20)]
        await asyncio.sleep(0.05)
        assert not any(task.done() for task in waiting)
        for rows in held:
            await rows.close()
        assert await asyncio.gather(*waiting) == [[[("int4", 1)]]] * 20
        await settled(database)
        assert len(database.backend.pool) == 3


async def test_many_at_once_share_few_connections(postgres_server: PostgresServer) -> None:
    async with opened(postgres_server.url, pool_size=4) as database:
        found = await asyncio.gather(*(database.value("SELECT $1::int", ("int4", n)) for n in range(100)))
        assert found == list(range(100))
        assert len(database.backend.pool) <= 4


async def test_a_closed_database_says_so(postgres_server: PostgresServer) -> None:
    async with opened(postgres_server.url) as database:
        rows = await database.backend.query("u", "SELECT generate_series(1, 1000)", ())
    with pytest.raises(ConnectionFailed, match="closed"):
        await database.query("SELECT 1")
    await rows.next()  # what was fetched before
    with pytest.raises(ConnectionFailed):
        await rows.next()


async def test_a_commit_that_fails_is_told(one: Database) -> None:
    await one.batch(
        "DROP TABLE IF EXISTS late; CREATE TABLE late (a int UNIQUE DEFERRABLE INITIALLY DEFERRED);"
    )
    rows = await one.backend.query(one.user, "INSERT INTO late VALUES (1), (1) RETURNING a", ())
    assert len(await rows.next()) == 2
    with pytest.raises(QueryFailed) as caught:
        await rows.next()
    assert caught.value.error.code == "23505"
    assert caught.value.error.extras["constraint"] == "late_a_key"
    assert await one.value("SELECT count(*) FROM late") == 0
