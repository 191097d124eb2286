"""Using a database in tests without an interface in between."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from host_plugin_postgres import PostgresProvider, PostgresSettings
from host_plugin_postgres.backend import Postgres
from wasmplex.capabilities.postgres import PgValue, Row
from wasmplex.plugin import OpenContext


class Database:
    """A backend, used as one guest would."""

    def __init__(self, backend: Postgres, user: str = "tests/one") -> None:
        self.backend = backend
        self.user = user

    async def query(self, sql: str, *params: PgValue) -> list[Row]:
        """Execute and return all rows."""
        rows = await self.backend.query(self.user, sql, params)
        found: list[Row] = []
        while more := await rows.next():
            assert len(more) <= 64
            found += more
        await rows.close()
        return found

    async def value(self, sql: str, *params: PgValue) -> Any:
        """Execute and return the payload of the only value."""
        ((found,),) = await self.query(sql, *params)
        return found[1]

    async def batch(self, sql: str) -> None:
        """Execute several statements."""
        await self.backend.batch(self.user, sql)

    async def execute(self, sql: str, *params: PgValue) -> int:
        """Prepare and execute."""
        return await self.backend.execute(self.user, await self.backend.prepare(self.user, sql), params)


@asynccontextmanager
async def opened(url: str | None = None, base: Path = Path(), **settings: Any) -> AsyncIterator[Database]:
    """Open a database."""
    given = {"url": url, **settings} if url else settings
    backend = await PostgresProvider().open(PostgresSettings(**given), OpenContext(base))
    try:
        yield Database(backend)
    finally:
        await backend.close()


def texts(values: Sequence[str]) -> PgValue:
    """Return an array of text."""
    return "text-array", list(values)
