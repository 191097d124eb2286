"""Queries, batches, prepared statements, and what goes wrong with them."""

from __future__ import annotations

import asyncio

from wasmplex.testing.kit import Conformance, expressible, refused
from wasmplex.testing.postgres.driver import Bench

__all__ = ["ErrorTests", "QueryTests"]


class QueryTests(Conformance):
    """What comes back when all is well."""

    async def test_parameters_are_bound(self, bench: Bench) -> None:
        """query: parameters bound, never spliced."""
        database = await bench.database()
        hostile = "'; DROP TABLE t; --"
        found = await database.query("SELECT $1::text AS a, $2::int AS b", ("text", hostile), ("int4", 5))
        assert list(found.columns) == ["a", "b"]
        assert found.rows == [[("text", hostile), ("int4", 5)]]

    async def test_null(self, bench: Bench) -> None:
        """values: NULL goes in and comes out as null, whatever the type."""
        database = await bench.database()
        found = await database.query("SELECT $1::int, $2::text, NULL::date", ("null", None), ("null", None))
        assert found.rows == [[("null", None)] * 3]

    async def test_more_rows_than_are_ahead(self, bench: Bench) -> None:
        """query: rows beyond the 64 that are ahead of the guest come as well, in order."""
        database = await bench.database()
        for count in (0, 1, 63, 64, 65, 128, 1000):
            found = await database.query("SELECT generate_series(1, $1::int)", ("int4", count))
            assert found.rows == [[("int4", n)] for n in range(1, count + 1)]

    async def test_columns_of_one_name(self, bench: Bench) -> None:
        """query: columns are told by their places."""
        database = await bench.database()
        found = await database.query("SELECT 1 AS a, 'x'::text AS a")
        assert list(found.columns) == ["a", "a"]
        assert found.rows == [[("int4", 1), ("text", "x")]]

    async def test_a_statement_without_rows(self, bench: Bench) -> None:
        """query: what returns no rows is executed and committed."""
        database = await bench.database()
        assert (await database.query(f"CREATE TABLE {bench.table} (a int)")).rows == []
        assert (await database.query(f"INSERT INTO {bench.table} VALUES (1)")).rows == []
        assert (await database.query(f"SELECT a FROM {bench.table}")).rows == [[("int4", 1)]]

    @expressible("streams")
    async def test_reading_no_further(self, bench: Bench) -> None:
        """query: dropping the row stream releases the connection, and keeps what was done."""
        database = await bench.database()
        await database.batch(f"CREATE TABLE {bench.table} (a int)")
        insert = f"INSERT INTO {bench.table} SELECT generate_series(1, 200) RETURNING a"
        found = await database.query(insert, most=10)
        assert 10 <= len(found.rows) < 200
        assert (await database.query(f"SELECT count(*) FROM {bench.table}")).rows == [[("int8", 200)]]
        for _ in range(20):
            await database.query("SELECT generate_series(1, 100000000)", most=1)

    async def test_a_batch_is_one_transaction(self, bench: Bench) -> None:
        """query-batch: all in one implicit transaction."""
        database = await bench.database()
        await database.batch(f"CREATE TABLE {bench.table} (a int UNIQUE); ; -- nothing")
        await database.batch(f"INSERT INTO {bench.table} VALUES (1); INSERT INTO {bench.table} VALUES (2)")
        error = await refused(
            "query-failed",
            database.batch(f"INSERT INTO {bench.table} VALUES (3); INSERT INTO {bench.table} VALUES (1)"),
        )
        assert "23505" in error.text
        assert (await database.query(f"SELECT count(*) FROM {bench.table}")).rows == [[("int8", 2)]]

    async def test_preparing_and_executing(self, bench: Bench) -> None:
        """prepared: exec returns how many rows were changed or returned."""
        database = await bench.database()
        await database.batch(f"CREATE TABLE {bench.table} (a int)")
        insert = await database.prepare(f"INSERT INTO {bench.table} SELECT generate_series(1, $1::int)")
        assert await database.execute(insert, ("int4", 5)) == 5
        assert await database.execute(insert, ("int4", 0)) == 0
        update = await database.prepare(f"UPDATE {bench.table} SET a = a + 1 WHERE a > $1")
        assert await database.execute(update, ("int4", 3)) == 2
        select = await database.prepare(f"SELECT a FROM {bench.table}, generate_series(1, 100)")
        assert await database.execute(select) == 500

    async def test_tokens_belong_to_their_workload(self, bench: Bench) -> None:
        """prepared: another's token, and one that is none, is an unknown-prepared-statement."""
        one, other = await bench.database("one"), await bench.database("other")
        token = await one.prepare("SELECT 1")
        assert await one.execute(token) == 1
        await refused("unknown-prepared-statement", other.execute(token))
        await refused("unknown-prepared-statement", one.execute("x"))
        await refused("unknown-prepared-statement", one.execute(""))

    @expressible("labels")
    async def test_tokens_belong_to_their_label(self, bench: Bench) -> None:
        """prepared: a token is good for the label that made it."""
        database = await bench.database()
        token = await database.prepare("SELECT 1")
        await refused("unknown-prepared-statement", database.execute_elsewhere(token))
        assert await database.execute(token) == 1

    async def test_many_at_once(self, bench: Bench) -> None:
        """Queries beyond the connections that there are wait for one."""
        database = await bench.database()
        found = await asyncio.gather(
            *(database.query("SELECT $1::int", ("int4", number)) for number in range(30))
        )
        assert [one.rows for one in found] == [[[("int4", number)]] for number in range(30)]


class ErrorTests(Conformance):
    """What goes wrong is told in its case, and leaves all as it was."""

    async def test_parameters_that_do_not_fit(self, bench: Bench) -> None:
        """errors: wrong count or unencodable value: invalid-params."""
        database = await bench.database()
        await refused("invalid-params", database.query("SELECT $1::int"))
        await refused("invalid-params", database.query("SELECT 1", ("int4", 1)))
        await refused("invalid-params", database.query("SELECT $1::int", ("text", "5")))
        await refused("invalid-params", database.query("SELECT $1::int2", ("int8", 70000)))
        await refused("invalid-params", database.query("SELECT $1::text", ("text", "a\0")))
        token = await database.prepare("SELECT $1::int")
        await refused("invalid-params", database.execute(token))

    async def test_what_the_server_refuses(self, bench: Bench) -> None:
        """errors: server error: query-failed with SQLSTATE."""
        database = await bench.database()
        codes = {
            "selct": "42601",
            "SELECT 1; SELECT 2": "42601",
            "SELECT 1/0": "22012",
            "TABLE nowhere": "42P01",
        }
        for sql, code in codes.items():
            error = await refused("query-failed", database.query(sql))
            assert code in error.text
        error = await refused("query-failed", database.batch("SELECT 1; selct"))
        assert "42601" in error.text

    @expressible("cases")
    async def test_an_error_after_some_rows(self, bench: Bench) -> None:
        """Completion future: the error that ended the rows; nothing of the statement is kept."""
        database = await bench.database()
        error = await refused("query-failed", database.query("SELECT 1 / (500 - generate_series(1, 1000))"))
        assert "22012" in error.text

    @expressible("cases")
    async def test_a_column_without_a_case(self, bench: Bench) -> None:
        """errors: undecodable column: value-conversion-failed naming the column and type."""
        database = await bench.database()
        error = await refused("value-conversion-failed", database.query("SELECT 1, row(1, 2) AS odd"))
        assert "odd" in error.text
        error = await refused("value-conversion-failed", database.query("SELECT ARRAY[1, NULL] AS holes"))
        assert "element 1" in error.text

    async def test_what_is_not_sent(self, bench: Bench) -> None:
        """errors: COPY, NUL and nothing at all: invalid-query."""
        database = await bench.database()
        for sql in ("COPY t FROM STDIN", "SELECT '\0'", "", "-- nothing"):
            await refused("invalid-query", database.query(sql))

    @expressible("cases")
    async def test_a_deadline(self, bench: Bench) -> None:
        """errors: deadline: timeout; the statement is ended on the server."""
        database = await bench.database(timeout=0.3)
        await refused("timeout", database.query("SELECT pg_sleep(60) AS too_late"))
        await refused("timeout", database.batch("SELECT pg_sleep(60) AS too_late"))
        count = (
            "SELECT count(*) FROM pg_stat_activity "
            "WHERE query LIKE '%too_late%' AND state <> 'idle' AND pid <> pg_backend_pid()"
        )
        patient = await bench.database("patient")
        for _ in range(100):
            if (found := await patient.query(count)).rows == [[("int8", 0)]]:
                return
            await asyncio.sleep(0.02)
        raise AssertionError(f"{found.rows} are still at work")
