"""How the Postgres kit reaches a backend: as a guest would, through the policy that all backends get."""

# The methods of `Database` are those of `wasmplex.capabilities.postgres`, documented there.
# ruff: noqa: D102

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from wasmplex.capabilities.postgres import PgValue, PostgresBackend, PostgresError, QueryFailed, Row
from wasmplex.interfaces.postgres.policy import (
    GuardedDatabase,
    GuardedRows,
    PostgresPolicySettings,
    Tokens,
)
from wasmplex.testing import kit
from wasmplex.testing.kit import Driver, Refused

__all__ = ["WORDS", "Bench", "ContractDriver", "Database", "Found", "PostgresDriver"]

WORDS = frozenset({"streams", "cases", "labels"})
"""What interfaces may have words for: rows that stream, all cases of errors, several labels."""


@dataclass(frozen=True)
class Found:
    """What a query returned."""

    columns: Sequence[str]
    rows: list[Row]


class Database(Protocol):
    """One binding, as a guest sees it; errors are `Refused`, with the SQLSTATE in the text."""

    async def query(self, sql: str, *params: PgValue, most: int | None = None) -> Found:
        """Execute, and read all rows, or at least `most` of them and then no more."""

    async def batch(self, sql: str) -> None: ...
    async def prepare(self, sql: str) -> str: ...
    async def execute(self, token: str, *params: PgValue) -> int: ...
    async def execute_elsewhere(self, token: str) -> int:
        """Execute under another label than the token was made under."""


class PostgresDriver(Driver[PostgresBackend]):
    """Base of the Postgres drivers. The words are those of `WORDS`."""

    @abstractmethod
    async def database(self, workload: str, settings: PostgresPolicySettings) -> Database:
        """Return one binding to the backend."""


class ContractDriver(PostgresDriver):
    """Straight through the Python contract."""

    words = WORDS

    def __init__(self, backend: PostgresBackend) -> None:
        super().__init__(backend)
        self._tokens: dict[str, Tokens] = {}

    async def database(self, workload: str, settings: PostgresPolicySettings) -> Database:
        tokens = self._tokens.setdefault(workload, Tokens())
        one, other = (
            GuardedDatabase(self.backend, settings, _refused, tokens, workload=workload, label=label)
            for label in ("kit", "others")
        )
        return _Direct(one, other)


def _refused(operation: str, error: PostgresError) -> Refused:
    if isinstance(error, QueryFailed):
        return Refused(error.case, f"{operation}: {error.error.code} {error.error.message}")
    return Refused(error.case, f"{operation}: {error}")


class _Direct:
    def __init__(self, one: GuardedDatabase, other: GuardedDatabase) -> None:
        self._one = one
        self._other = other
        self.batch = one.batch
        self.prepare = one.prepare

    async def query(self, sql: str, *params: PgValue, most: int | None = None) -> Found:
        rows = await self._one.query(sql, params)
        guarded, found = GuardedRows(self._one, rows), list[Row]()
        try:
            while most is None or len(found) < most:
                if not (more := await guarded.next()):
                    return Found(rows.columns, found)
                found += more
            await guarded.close(commit=True)
        finally:
            await rows.close()
        return Found(rows.columns, found)

    async def execute(self, token: str, *params: PgValue) -> int:
        return await self._one.execute(token, params)

    async def execute_elsewhere(self, token: str) -> int:
        return await self._other.execute(token, ())


class Bench(kit.Bench[PostgresDriver]):
    """A Postgres backend under test; see `wasmplex.testing.kit.Bench`."""

    contract = PostgresBackend

    async def database(self, workload: str = "kit", **settings: Any) -> Database:
        """Return a binding; `settings` are those of `PostgresPolicySettings`."""
        return await self.driver.database(workload, PostgresPolicySettings(**settings))

    @property
    def table(self) -> str:
        """The name of a table of the test's own."""
        return f"t{self.namespace.rpartition('-')[2]}"
