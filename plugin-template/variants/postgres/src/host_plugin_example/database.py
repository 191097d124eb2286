"""The database: whatever a guest asks for goes through here, to a backend that talks to the server."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Sequence
from typing import TypeVar

from wasmplex.capabilities.postgres import PgValue, PostgresBackend, Rows, Statement
from wasmplex.plugin import get_logger

T = TypeVar("T")
logger = get_logger("host_plugin_example")


class ExampleBackend(PostgresBackend):
    """Another backend, whose slow operations are noted. The log has whose they were, never their SQL."""

    def __init__(self, inner: PostgresBackend, slow: float) -> None:
        self._inner = inner
        self._slow = slow

    def __repr__(self) -> str:
        return f"example: {self._inner!r}"

    async def close(self) -> None:
        await self._inner.close()

    async def probe(self) -> None:
        await self._inner.probe()

    async def query(self, user: str, sql: str, params: Sequence[PgValue]) -> Rows:
        return await self._timed("query", user, self._inner.query(user, sql, params))

    async def batch(self, user: str, sql: str) -> None:
        await self._timed("batch", user, self._inner.batch(user, sql))

    async def prepare(self, user: str, sql: str) -> Statement:
        return await self._timed("prepare", user, self._inner.prepare(user, sql))

    async def execute(self, user: str, statement: Statement, params: Sequence[PgValue]) -> int:
        return await self._timed("exec", user, self._inner.execute(user, statement, params))

    async def _timed(self, what: str, user: str, operation: Awaitable[T]) -> T:
        begun = time.monotonic()
        try:
            return await operation
        finally:
            if (taken := time.monotonic() - begun) > self._slow:
                logger.warning("%s of %s took %.3f s", what, user, taken)
