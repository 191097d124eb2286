"""What is wrong is told in the case it has, and the connection is as good as before."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from databases import Database, opened
from wasmplex.capabilities.postgres import (
    InvalidParams,
    InvalidQuery,
    PgValue,
    PostgresError,
    QueryFailed,
    Timeout,
    ValueConversionFailed,
)
from wasmplex.plugin import Threads
from wasmplex.testing.servers import PostgresServer

pytestmark = pytest.mark.anyio


@pytest.fixture
async def one(postgres_server: PostgresServer) -> AsyncIterator[Database]:
    """A pool of one connection, which has to be the same and usable afterwards."""
    async with opened(postgres_server.url, pool_size=1) as database:
        pid = await database.value("SELECT pg_backend_pid()")
        yield database
        assert await database.value("SELECT pg_backend_pid()") == pid
        assert len(database.backend.pool) == 1


DATE: Any = ("ymd", (2023, 2, 29))
PARAMS: list[tuple[str, list[PgValue], str]] = [
    ("SELECT 1", [("int4", 1)], "has 0 parameters, not 1"),
    ("SELECT $1::int", [], "has 1 parameter, not 0"),
    ("SELECT $1::int, $2::int", [("int4", 1)], "has 2 parameters, not 1"),
    ("SELECT $1::int4", [("text", "1")], "parameter 1 is text; its type int4 takes .*int4"),
    ("SELECT $1::int4", [("int8", 2**31)], "parameter 1, int8 for int4: the number is out of the range"),
    ("SELECT $1::int2", [("serial", 40000)], "out of the range"),
    ("SELECT $1::float4", [("float8", (2**53 - 1, 0, 1))], "no float of this size"),
    ("SELECT $1::text", [("text", "a\0b")], "NUL"),
    ("SELECT $1::text", [("varchar", (None, b"\xff"))], "not UTF-8"),
    ("SELECT $1::varchar", [("varchar", (2, b"abc"))], "3 characters, more than the 2"),
    ("SELECT $1::name", [("name", "x" * 64)], "at most 63 bytes"),
    ("SELECT $1::numeric", [("numeric", "1,5")], "not a number"),
    ("SELECT $1::numeric", [("numeric", "1e999999")], "more digits"),
    ("SELECT $1::numeric", [("numeric", "")], "not a number"),
    ("SELECT $1::money", [("money", "1.234")], "2 digits after the point"),
    ("SELECT $1::uuid", [("uuid", "x")], "not a UUID"),
    ("SELECT $1::date", [("date", DATE)], "no such date"),
    ("SELECT $1::date", [("date", ("ymd", (6000000, 1, 1)))], "out of PostgreSQL's range"),
    ("SELECT $1::time", [("time", {"hour": 24, "min": 0, "sec": 0, "micro": 1})], "no such time"),
    ("SELECT $1::time", [("time", {"hour": 1, "min": 60, "sec": 0, "micro": 0})], "no such time"),
    ("SELECT $1::inet", [("inet", "1.2.3")], "not an IP address"),
    ("SELECT $1::inet", [("inet", "fe80::1%eth0")], "not an IP address"),
    ("SELECT $1::cidr", [("cidr", "10.0.0.1/8")], "right of its mask"),
    ("SELECT $1::varbit", [("varbit", (9, b"\0"))], "9 bits are not 1 bytes"),
    ("SELECT $1::varbit", [("varbit", (1, b"\xff"))], "after the last one is set"),
    ("SELECT $1::polygon", [("polygon", [])], "at least one point"),
    ("SELECT $1::hstore", [("hstore", [("a", None), ("a", "b")])], "there twice"),
    ("SELECT $1::int4[]", [("int4-array", [1, 2**31])], "element 1: the number is out of the range"),
    ("SELECT $1::int4[]", [("int8-array", [1])], "int8-array; its type int4.. takes int4-array"),
    ("SELECT $1::tsvector", [("ts-vector", [{"position": 0, "weight": None, "data": "a"}])], "position"),
    ("SELECT $1::int4range", [("text", "[1,2)")], "has no case: cast it in the SQL"),
    ("SELECT $1::interval", [("text", "1 day")], "has no case"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("sql", "params", "told"), PARAMS, ids=[f"{n}-{sql[7:]}" for n, (sql, _, _) in enumerate(PARAMS)]
)
async def test_a_parameter_that_has_no_place(
    one: Database, sql: str, params: list[PgValue], told: str
) -> None:
    await one.batch("CREATE EXTENSION IF NOT EXISTS hstore")
    with pytest.raises(InvalidParams, match=told):
        await one.query(sql, *params)
    with pytest.raises(InvalidParams, match=told):
        await one.execute(sql, *params)


COLUMNS = {
    "'1 day'::interval": "interval", "'[1,2)'::int4range": "int4range", "row(1, 2)": "record",
    "'(0,1)'::tid": "tid", "'1'::xid": "xid", "'$.a'::jsonpath": "jsonpath",
    "ARRAY['1 day'::interval]": "interval",
    "ARRAY[1, NULL]": "element 1 is NULL", "ARRAY[ARRAY[1], ARRAY[2]]": "2 dimensions",
    "daterange(NULL, '2020-01-01')": "without a bound", "'empty'::daterange": "empty",
    "'[(0,0),(1,1),(0,0)]'::path": "open path",
}  # fmt: skip


@pytest.mark.parametrize("expression", COLUMNS)
async def test_a_column_without_a_case(one: Database, expression: str) -> None:
    told = f'column 2, "strange", .*{COLUMNS[expression]}.*cast it'
    with pytest.raises(ValueConversionFailed, match=told):
        await one.query(f"SELECT 1, {expression} AS strange")
    assert await one.query(f"SELECT ({expression})::text IS NOT NULL") == [[("bool", True)]]


async def test_a_composite_type_of_ones_own_is_named(one: Database) -> None:
    await one.batch("DROP TYPE IF EXISTS pair; CREATE TYPE pair AS (a int, b int)")
    with pytest.raises(ValueConversionFailed, match='"row", of type pair'):
        await one.query("SELECT row(1, 2)::pair")


REFUSED = {
    "COPY t FROM STDIN": "COPY", "copy t to stdout": "COPY", "/* x /* y */ */ COPY t FROM STDIN": "COPY",
    "-- x\n COPY t FROM STDIN": "COPY", "SELECT '\0'": "NUL", "": "no statement", " ; -- x": "no statement",
}  # fmt: skip


@pytest.mark.parametrize("sql", REFUSED)
async def test_what_is_not_sent(one: Database, sql: str) -> None:
    with pytest.raises(InvalidQuery, match=REFUSED[sql]):
        await one.query(sql)
    with pytest.raises(InvalidQuery, match=REFUSED[sql]):
        await one.execute(sql)


async def test_copy_within_a_batch(one: Database) -> None:
    for sql in (
        "SELECT 1; COPY t FROM STDIN",
        "DO $x$ BEGIN END $x$; copy t from stdin",
        "select ';'; copy t to stdout",
    ):
        with pytest.raises(InvalidQuery, match="COPY"):
            await one.batch(sql)
    await one.batch(
        "SELECT 'COPY'; SELECT $$; COPY $$; SELECT 1 AS \"; copy\"; -- ; COPY\n SELECT E'\\'; COPY'"
    )
    await one.batch(" ; ; /* nothing */")


SERVER = {
    "selct": "42601", "SELECT 1; SELECT 2": "42601", "SELECT * FROM nowhere": "42P01", "SELECT 1/0": "22012",
    "SELECT 'x'::int": "22P02", "SELECT nofunction()": "42883", "ROLLBACK TO x": "25P01",
}  # fmt: skip


@pytest.mark.parametrize("sql", SERVER)
async def test_an_error_of_the_server(one: Database, sql: str) -> None:
    with pytest.raises(QueryFailed) as caught:
        await one.query(sql)
    error = caught.value.error
    assert (error.code, error.severity) == (SERVER[sql], "ERROR")
    assert error.message
    assert error.message not in str(caught.value)  # what a log may get


async def test_all_that_the_server_says_of_an_error(one: Database) -> None:
    await one.batch(
        "DROP TABLE IF EXISTS u; CREATE TABLE u (a int CONSTRAINT once UNIQUE, b int NOT NULL DEFAULT 1)"
    )
    await one.execute("INSERT INTO u VALUES (1)")
    with pytest.raises(QueryFailed) as caught:
        await one.execute("INSERT INTO u VALUES (1)")
    error = caught.value.error
    assert error.detail == "Key (a)=(1) already exists."
    assert {"schema": "public", "table": "u", "constraint": "once"}.items() <= error.extras.items()
    with pytest.raises(QueryFailed) as caught:
        await one.execute("INSERT INTO u VALUES (2, NULL)")
    assert caught.value.error.extras["column"] == "b"
    with pytest.raises(QueryFailed) as caught:
        await one.query("SELECT pg_sleepy(1)")
    assert {"hint", "position"} <= caught.value.error.extras.keys()


async def test_a_statement_that_takes_too_long_for_the_server(postgres_server: PostgresServer) -> None:
    async with opened(postgres_server.url, statement_timeout=0.05) as database:
        for use in (database.query, database.batch, database.execute):
            with pytest.raises(Timeout):
                await use("SELECT pg_sleep(5)")
    async with opened(postgres_server.url) as database:
        with pytest.raises(QueryFailed):  # somebody else cancels it
            await database.query("SELECT pg_cancel_backend(pg_backend_pid()), pg_sleep(1)")


async def test_as_many_columns_as_there_can_be(one: Database) -> None:
    columns = ", ".join(f"{number} AS c{number}" for number in range(1600))
    (row,) = await one.query(f"SELECT {columns}")
    assert [value for _, value in row] == list(range(1600))
    with pytest.raises(QueryFailed):
        await one.query(f"SELECT {columns}, " + ", ".join("1" for _ in range(100)))


async def test_a_value_that_is_too_large(one: Database) -> None:
    with pytest.raises(PostgresError):
        await one.query("SELECT repeat('x', 1 << 30)")
    assert len(await one.value("SELECT repeat('x', 10000000)")) == 10_000_000


async def test_large_arrays_are_read_and_written_in_a_thread(
    one: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A million numbers held everybody up for a quarter of a second."""
    where: list[str] = []

    class Noted(Threads):
        async def run(self, function: Callable[..., Any], *args: Any) -> Any:
            where.append(getattr(function, "__name__", ""))
            return await super().run(function, *args)

    monkeypatch.setattr(one.backend.pool, "threads", Noted("test", 1))
    try:
        array = "SELECT array_agg(i) FROM generate_series(1, $1) i"
        assert len(await one.value(array, ("int4", 50_000))) == 50_000
        assert where == ["list"]
        assert await one.value("SELECT cardinality($1::int[])", ("int4-array", [1] * 50_000)) == 50_000
        assert where == ["list", "bind"]
        assert len(await one.value(array, ("int4", 100))) == 100
        assert where == ["list", "bind"]
    finally:
        one.backend.pool.threads.close()


def hostile() -> list[str]:
    """Return 200 texts that break what does not bind its parameters."""
    known = [
        "'; DROP TABLE t; --", '"; DROP TABLE t; --', "\\'; DROP TABLE t; --", "$$; DROP TABLE t; $$",
        "%s%n%x",
        "$1",
        "\\x00", "\u202e", "\ufeff", "a\r\nb", "\x1b[2J", "' OR 1=1 --", "\\", "''", "NULL",
        "\U0001f4a9", "{1,2}", "é" * 500,
    ]  # fmt: skip
    parts = [
        "'",
        '"',
        "\\",
        ";",
        "--",
        "/*",
        "*/",
        "$$",
        "DROP TABLE t",
        "\n",
        "\x01",
        "é",
        "\U0001f600",
        "%",
        "{",
        "}",
    ]
    return known + [
        "".join(parts[(seed * 7 + step * (seed % 11 + 1)) % len(parts)] for step in range(seed % 9 + 1))
        for seed in range(200 - len(known))
    ]


async def test_hostile_texts_come_back_byte_for_byte(one: Database) -> None:
    await one.batch(
        "DROP TABLE IF EXISTS t; CREATE TABLE t (n int, a text, b varchar, c json, d name, e text[])"
    )
    for number, text in enumerate(hostile()):
        quoted = text.encode("unicode_escape").decode().replace("\\", "\\\\").replace('"', '\\"')
        values: list[PgValue] = [
            ("int4", number), ("text", text), ("varchar", (None, text.encode())), ("json", f'"{quoted}"'),
            ("name", text[:15]), ("text-array", [text, text]),
        ]  # fmt: skip
        await one.execute("INSERT INTO t VALUES ($1, $2, $3, $4, $5, $6)", *values)
        assert await one.query("SELECT * FROM t WHERE n = $1 AND a = $2", values[0], values[1]) == [values]
    assert await one.value("SELECT count(*) FROM t") == 200
