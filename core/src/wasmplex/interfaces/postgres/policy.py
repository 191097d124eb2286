"""What every Postgres backend gets for free: grants, deadlines, typed errors, tokens of statements."""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import Coroutine, Sequence
from typing import Any

from wasmplex.capabilities.postgres import (
    CASES,
    PackedRows,
    PgValue,
    PostgresBackend,
    Row,
    Rows,
    Statement,
    TooMuch,
    UnknownPrepared,
)
from wasmplex.errors import PluginError
from wasmplex.plugins.contracts import ImportRequest
from wasmplex.policy import Dialect, Guard, PolicySettings, operation
from wasmplex.policy.deadline import within
from wasmplex.settings import Count

__all__ = ["GuardedDatabase", "GuardedRows", "PostgresPolicySettings", "Tokens"]

MAX_STATEMENTS = 1000
"""Prepared statements of one workload; the one longest unused is forgotten."""
MAX_TEXT = 16 << 20
"""Characters that their texts may have together: a guest chooses how long they are."""


class PostgresPolicySettings(PolicySettings):
    """What a Postgres binding may say besides the settings of its backend."""

    max_rows: Count = 10_000
    """Rows that a query may return through an interface that has no streams."""


class Tokens:
    """The prepared statements of one workload, each by a text that cannot be guessed."""

    def __init__(self, limit: int = MAX_STATEMENTS) -> None:
        self._statements: OrderedDict[tuple[str | None, str], Statement] = OrderedDict()
        self._limit = limit
        self._text = 0

    def __len__(self) -> int:
        return len(self._statements)

    def add(self, label: str | None, statement: Statement) -> str:
        """Return a token for a statement, good under this label alone."""
        token = secrets.token_hex(16)
        self._statements[label, token] = statement
        self._text += len(statement.sql)
        while len(self._statements) > self._limit or (self._text > MAX_TEXT and len(self._statements) > 1):
            self._text -= len(self._statements.popitem(last=False)[1].sql)
        return token

    def get(self, label: str | None, token: str) -> Statement:
        """Return the statement.

        :raises UnknownPrepared: if the label was not given the token, or it was forgotten
        """
        try:
            self._statements.move_to_end((label, token))
        except KeyError:
            raise UnknownPrepared("the token is not one that this import was given, or is too old") from None
        return self._statements[label, token]


class GuardedDatabase:
    """The database of one import, as guests hold it.

    :param user: workload and label
    :param dialect: how errors look to the guest
    :param tokens: those of the workload
    """

    __slots__ = ("backend", "guard", "label", "settings", "tokens", "user")

    def __init__(
        self,
        backend: PostgresBackend,
        settings: PostgresPolicySettings,
        dialect: Dialect,
        tokens: Tokens,
        *,
        workload: str,
        label: str | None = None,
        granted: frozenset[str] | None = None,
        plugin: str = "",
    ) -> None:
        self.backend = backend
        self.settings = settings
        self.tokens = tokens
        self.label = label
        self.user = f"{workload}/{label}" if label else workload
        self.guard = Guard(
            CASES,
            dialect,
            timeout=settings.timeout,
            granted=granted,
            circuit=backend.circuit,
            plugin=plugin,
            label=label or "",
        )

    @classmethod
    def bind(cls, request: ImportRequest, workload: str, dialect: Dialect, tokens: Tokens) -> GuardedDatabase:
        """Return the database for one import.

        :raises wasmplex.errors.PluginError: if the binding's backend has not the contract that it claims
        """
        backend, settings = request.backend, request.settings
        if not isinstance(backend, PostgresBackend) or not isinstance(settings, PostgresPolicySettings):
            raise PluginError(f"{type(backend).__name__} is no Postgres backend", where=request.interface)
        return cls(
            backend,
            settings,
            dialect,
            tokens,
            workload=workload,
            label=request.label,
            granted=request.granted,
            plugin=request.plugin,
        )

    @operation("query", "query", returns=Rows)
    def query(self, sql: str, params: Sequence[PgValue]) -> Coroutine[Any, Any, Rows]:
        """See `PostgresBackend.stream`."""
        return self.backend.stream(self.user, sql, params)

    @operation("query", "query", returns=list)
    async def query_all(self, sql: str, params: Sequence[PgValue]) -> list[tuple[Sequence[str], Row]]:
        """Return all rows, each with the names of its columns.

        :raises TooMuch: if there are more than ``max_rows``; nothing is committed
        """
        rows = await self.backend.query(self.user, sql, params)
        found: list[tuple[Sequence[str], Row]] = []
        try:
            while more := await rows.next():
                found += ((rows.columns, row) for row in more)
                if len(found) > self.settings.max_rows:
                    raise TooMuch(
                        f"the query returns more than {self.settings.max_rows} rows, the limit of max_rows"
                    )
        finally:
            await rows.close()
        return found

    @operation("query-batch", "query")
    def batch(self, sql: str) -> Coroutine[Any, Any, None]:
        """See `PostgresBackend.batch`."""
        return self.backend.batch(self.user, sql)

    @operation("prepare", "prepared", returns=str)
    async def prepare(self, sql: str) -> str:
        """Return a token for a statement that the server has prepared."""
        return self.tokens.add(self.label, await self.backend.prepare(self.user, sql))

    @operation("exec", "prepared", returns=int)
    def execute(self, token: str, params: Sequence[PgValue]) -> Coroutine[Any, Any, int]:
        """See `PostgresBackend.execute`."""
        return self.backend.execute(self.user, self.tokens.get(self.label, token), params)


class GuardedRows:
    """The rows of one query: each portion has a deadline, and errors are in the dialect."""

    __slots__ = ("guard", "rows")

    def __init__(self, database: GuardedDatabase, rows: Rows) -> None:
        self.guard = database.guard
        self.rows = rows

    @operation("query", "query", returns=list | PackedRows, transfer=True)
    def next(self) -> Coroutine[Any, Any, Sequence[Row]]:
        """See `Rows.next`."""
        return self.rows.next()

    def next_nowait(self) -> Sequence[Row] | None:
        """See `Rows.next_nowait`. What is refused is not at hand: `next` says why."""
        return self.rows.next_nowait() if self.guard.admits("query") else None

    async def close(self, *, commit: bool = False) -> None:
        """See `Rows.close`. Rows hold a session: they are closed though the backend is known to be down."""
        try:
            await within(self.guard.idle, self.rows.close(commit=commit))
        except Exception as error:
            raise self.guard.refusal("query", error) from error
