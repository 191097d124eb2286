"""Orders of two teams, each in a database of its own.

    POST /TEAM/orders?customer=NAME&price=12.50   place one; answers with its number
    GET  /TEAM/orders/NUMBER                      one of them
    GET  /TEAM/report.csv                         all of them, row by row as they come from the database

TEAM is `team-a` or `team-b`: one interface imported twice. Which databases these are, and as whom to log in,
is the host's business.
"""

from urllib.parse import parse_qs, unquote

import componentize_py_async_support
import wit_world
from componentize_py_types import Err, Ok
from wit_world import exports
from wit_world.imports import team_a, team_b
from wit_world.imports.wasi_http_types import Fields, Method_Post, Request, Response
from wit_world.imports.wasmcloud_postgres_types import (
    Error_InvalidParams,
    Error_QueryFailed,
    PgValue_Int8,
    PgValue_Numeric,
    PgValue_Text,
)

TEAMS = {"team-a": team_a, "team-b": team_b}
ROWS = 64
MIGRATION = """
CREATE TABLE IF NOT EXISTS orders (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    customer text NOT NULL,
    price numeric(12, 2) NOT NULL CHECK (price >= 0),
    placed timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX IF NOT EXISTS orders_by_customer ON orders (customer);
"""
UTC = "to_char(placed AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')"
COLUMNS = f"SELECT id, customer, price, {UTC} AS placed"
migrated = set()


class Handler(exports.Handler):
    async def handle(self, request: Request) -> Response:
        try:
            return await route(request)
        except Err as error:
            return refusal(error.value)


async def route(request: Request) -> Response:
    path, _, query = (request.get_path_with_query() or "/").partition("?")
    team, _, what = unquote(path.removeprefix("/")).partition("/")
    if team not in TEAMS:
        return answer(404, "which team? there are team-a and team-b\n")
    database = TEAMS[team]
    if team not in migrated:  # by whoever comes first; doing it twice does no harm
        await database.query_batch(MIGRATION)
        migrated.add(team)
    if what == "report.csv":
        return await report(database)
    if what == "orders" and isinstance(request.get_method(), Method_Post):
        return await place(database, parse_qs(query))
    if what.startswith("orders/") and what[7:].isdigit():
        return await show(database, int(what[7:]))
    return answer(404, "there are orders, orders/NUMBER and report.csv\n")


async def place(database, words) -> Response:
    """Place an order. What the client wrote is a parameter, never a part of the SQL."""
    params = [PgValue_Text(words.get("customer", [""])[0]), PgValue_Numeric(words.get("price", [""])[0])]
    ((number,),) = await everything(
        database, "INSERT INTO orders (customer, price) VALUES ($1, $2) RETURNING id", params
    )
    return answer(201, f"{number.value}\n")


async def show(database, number: int) -> Response:
    rows = await everything(database, f"{COLUMNS} FROM orders WHERE id = $1", [PgValue_Int8(number)])
    return answer(200, line(rows[0])) if rows else answer(404, "there is no such order\n")


async def everything(database, sql, params):
    """Return all rows of a query that returns few."""
    _, rows, completion = await database.query(sql, params)
    found = []
    with rows, completion:
        while not rows.writer_dropped:
            found += await rows.read(ROWS)
        outcome = await completion.read()
    if isinstance(outcome, Err):
        raise outcome
    return found


async def report(database) -> Response:
    """Answer with all orders; no more than a few rows are in memory, however many there are."""
    columns, rows, completion = await database.query(f"{COLUMNS} FROM orders ORDER BY id", [])
    sink, body = wit_world.byte_stream()
    componentize_py_async_support.spawn(write(sink, columns, rows, completion))
    return respond(200, body, "text/csv")


async def write(sink, columns, rows, completion) -> None:
    with sink, rows, completion:
        await sink.write_all(f"{','.join(columns)}\n".encode())
        while not rows.writer_dropped:
            if some := await rows.read(ROWS):
                await sink.write_all("".join(map(line, some)).encode())
        if isinstance(await completion.read(), Err):
            await sink.write_all(b"# the report is not complete\n")


def line(row) -> str:
    return ",".join(field(str(value.value)) for value in row) + "\n"


def field(text: str) -> str:
    if any(mark in text for mark in ',"\r\n'):
        doubled = text.replace('"', '""')
        return f'"{doubled}"'
    return text


def answer(status: int, text: str) -> Response:
    sink, body = wit_world.byte_stream()
    componentize_py_async_support.spawn(say(sink, text))
    return respond(status, body, "text/plain")


async def say(sink, text: str) -> None:
    with sink:
        await sink.write_all(text.encode())


def respond(status: int, body, kind: str) -> Response:
    trailers = wit_world.result_option_wasi_http_types_fields_wasi_http_types_error_code_future(
        lambda: Ok(None)
    )[1]
    response, _ = Response.new(Fields.from_list([("content-type", kind.encode())]), body, trailers)
    response.set_status_code(status)
    return response


def refusal(error) -> Response:
    """Say what was wrong with the request, and no more than that of what was wrong with the database."""
    if isinstance(error, Error_InvalidParams):
        return answer(400, f"{error.value}\n")
    if isinstance(error, Error_QueryFailed) and error.value.code[:2] in ("22", "23"):
        return answer(400, f"{error.value.message}\n")
    return answer(503, f"{type(error).__name__.removeprefix('Error_')}\n")
