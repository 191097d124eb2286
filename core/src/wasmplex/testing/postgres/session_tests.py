"""Nothing that one call leaves behind is met by the next, of whichever guest."""

from __future__ import annotations

from wasmplex.testing.kit import Conformance, refused
from wasmplex.testing.postgres.driver import Bench

__all__ = ["SessionTests"]

_LEFT = (
    ("BEGIN; SET LOCAL work_mem = '1MB'", "SHOW work_mem", None),
    ("SET search_path = pg_catalog", "SHOW search_path", None),
    ("SET TIME ZONE 'Asia/Tokyo'", "SHOW TimeZone", None),
    ("SELECT set_config('work_mem', '1MB', false)", "SHOW work_mem", None),
    ("CREATE TEMP TABLE left_behind (a int)", "SELECT to_regclass('left_behind')::text", None),
    ("SELECT pg_advisory_lock(42)", "SELECT count(*)::text FROM pg_locks WHERE locktype = 'advisory'", "0"),
    ("LISTEN news", "SELECT count(*)::text FROM pg_listening_channels()", "0"),
    (
        "DECLARE left_behind CURSOR WITH HOLD FOR SELECT 1",
        "SELECT count(*)::text FROM pg_cursors WHERE name = 'left_behind'",
        "0",
    ),
    ("PREPARE own AS SELECT 1", "SELECT count(*)::text FROM pg_prepared_statements WHERE from_sql", "0"),
    ("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY", "SHOW transaction_read_only", "off"),
)
"""What a call leaves behind, what the next one asks, what it has to be told; None for what was before."""


class SessionTests(Conformance):
    """Sessions begin as if they were the first."""

    async def test_what_is_left_behind(self, bench: Bench) -> None:
        """sessions: no open transaction, SET, temp table, advisory lock or LISTEN leaks."""
        one, other = await bench.database("one"), await bench.database("other")
        for leave, look, told in _LEFT:
            wanted = (await other.query(look)).rows if told is None else [[("text", told)]]
            for _ in range(3):  # of several connections, the next call may get another one
                await one.batch(leave)
            for database in (one, other):
                assert (await database.query(look)).rows == wanted, leave

    async def test_a_role_is_left_behind(self, bench: Bench) -> None:
        """sessions: the role is what it was."""
        database = await bench.database()
        role = f"r{bench.table}"
        await database.batch(f"CREATE ROLE {role}")
        try:
            before = (await database.query("SELECT current_user::text, session_user::text")).rows
            await database.batch(f"SET ROLE {role}")
            await database.query(f"SET SESSION AUTHORIZATION {role}")
            assert (await database.query("SELECT current_user::text, session_user::text")).rows == before
        finally:
            await database.batch(f"DROP ROLE {role}")

    async def test_an_open_transaction_is_undone(self, bench: Bench) -> None:
        """sessions: a transaction that a call leaves open is rolled back."""
        database = await bench.database()
        await database.batch(f"CREATE TABLE {bench.table} (a int)")
        await database.batch(f"BEGIN; INSERT INTO {bench.table} VALUES (1)")
        await refused(
            "query-failed", database.batch(f"BEGIN; INSERT INTO {bench.table} VALUES (2); SELECT 1/0")
        )
        assert (await database.query(f"SELECT a FROM {bench.table}")).rows == []

    async def test_statements_are_taken_away(self, bench: Bench) -> None:
        """prepared: what one guest does to prepared statements harms no other."""
        one, other = await bench.database("one"), await bench.database("other")
        token = await other.prepare("SELECT 5")
        for _ in range(3):
            await one.batch("DEALLOCATE ALL")
            assert await other.execute(token) == 1
            assert (await other.query("SELECT 5")).rows == [[("int4", 5)]]
