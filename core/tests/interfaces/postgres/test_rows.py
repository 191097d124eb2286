"""Tokens of prepared statements, and what becomes of rows that a guest drops."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from wasmplex.capabilities.postgres import (
    DbError,
    PgValue,
    PostgresBackend,
    QueryFailed,
    Row,
    Rows,
    Statement,
    UnknownPrepared,
)
from wasmplex.interfaces.postgres.policy import GuardedDatabase, GuardedRows, PostgresPolicySettings, Tokens
from wasmplex.interfaces.postgres.rows import RowStream
from wasmplex.interfaces.postgres.wasmcloud import refused
from wasmplex.plugins.circuit import Circuit
from wasmplex.values import Err, Variant

pytestmark = pytest.mark.anyio


class Numbered(Rows):
    """Portions of one row each; None stands for an error of the server."""

    columns = ("n",)

    def __init__(self, portions: Sequence[int | None]) -> None:
        self.portions = list(portions)
        self.closed: list[bool] = []

    async def next(self) -> list[Row]:
        await asyncio.sleep(0)
        if not self.portions:
            return []
        if (number := self.portions.pop(0)) is None:
            raise QueryFailed(DbError("22012", "ERROR", "division by zero"))
        return [[("int4", number)]]

    async def close(self, *, commit: bool = False) -> None:
        self.closed.append(commit)


class Nothing(PostgresBackend):
    """A backend that is not asked for anything."""

    async def close(self) -> None:
        raise NotImplementedError

    async def query(self, user: str, sql: str, params: Sequence[PgValue]) -> Rows:
        raise NotImplementedError

    async def batch(self, user: str, sql: str) -> None:
        raise NotImplementedError

    async def prepare(self, user: str, sql: str) -> Statement:
        return Statement(sql, 0)

    async def execute(self, user: str, statement: Statement, params: Sequence[PgValue]) -> int:
        return 1


def database(tokens: Tokens, label: str = "one") -> GuardedDatabase:
    return GuardedDatabase(Nothing(), PostgresPolicySettings(), refused, tokens, workload="w", label=label)


def streamed(*portions: int | None) -> tuple[Numbered, RowStream]:
    rows = Numbered(portions)
    return rows, RowStream(GuardedRows(database(Tokens()), rows))


async def test_rows_to_their_end() -> None:
    _, stream = streamed(1, 2)
    assert [portion async for portion in stream] == [[[("int4", 1)]], [[("int4", 2)]]]
    assert stream.completion.result() is None


async def test_an_error_ends_the_rows_and_is_in_the_future() -> None:
    rows, stream = streamed(1, None)
    assert [portion async for portion in stream] == [[[("int4", 1)]]]
    with pytest.raises(Err) as caught:
        stream.completion.result()
    error: Any = caught.value.value
    assert (error.tag, error.value["code"], error.value["extras"]) == ("query-failed", "22012", [])
    assert rows.closed == [False]


@pytest.mark.parametrize("gone", [False, True])
async def test_a_stream_that_is_dropped(gone: bool) -> None:
    """With the future kept the statement is committed; without, it is undone."""
    rows, stream = streamed(1, 2)
    assert await stream.read()
    stream.close()
    if gone:
        stream.completion.cancel()
    await asyncio.wait({stream.completion})
    await asyncio.sleep(0)
    assert rows.closed == [not gone]
    assert stream.completion.cancelled() is gone


async def test_rows_are_given_back_though_the_server_is_down() -> None:
    rows, stream = streamed(1, 2)
    assert await stream.read()
    circuit = stream._rows.guard.circuit = Circuit()
    circuit.is_open = True
    stream.close()
    await stream.completion
    assert rows.closed == [True]


async def test_a_session_that_is_never_given_back_ends_the_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, stream = streamed(1, None)

    async def close(*, commit: bool = False) -> None:
        await asyncio.sleep(3600)

    monkeypatch.setattr(rows, "close", close)
    stream._rows.guard.idle = 0.5
    async with asyncio.timeout(20):
        assert [portion async for portion in stream] == [[[("int4", 1)]]]
    with pytest.raises(Err, match="division"):
        stream.completion.result()


async def test_a_stream_that_nobody_began_to_read() -> None:
    rows, stream = streamed(1)
    stream.close()
    await stream.completion
    assert rows.closed == [True]


async def test_the_token_longest_unused_is_forgotten() -> None:
    tokens = Tokens(3)
    made = [tokens.add("one", Statement(f"SELECT {number}", 0)) for number in range(3)]
    tokens.get("one", made[0])
    tokens.add("one", Statement("SELECT 3", 0))
    assert len(tokens) == 3
    assert tokens.get("one", made[0]).sql == "SELECT 0"
    with pytest.raises(UnknownPrepared):
        tokens.get("one", made[1])
    with pytest.raises(UnknownPrepared):
        tokens.get("other", made[0])


async def test_long_statements_are_forgotten_before_there_are_a_thousand() -> None:
    tokens = Tokens()
    made = [tokens.add("one", Statement("-" * 5_000_000, 0)) for _ in range(5)]
    assert len(tokens) == 3
    tokens.add("one", Statement("-" * 20_000_000, 0))
    assert len(tokens) == 1
    with pytest.raises(UnknownPrepared):
        tokens.get("one", made[-1])


async def test_a_thousand_tokens_are_kept() -> None:
    tokens = Tokens()
    one = database(tokens)
    made = [await one.prepare("SELECT 1") for _ in range(1001)]
    assert len({*made}) == 1001
    assert await one.execute(made[1], ()) == 1
    with pytest.raises(Err) as caught:
        await one.execute(made[0], ())
    assert caught.value.value == Variant("unknown-prepared-statement")
