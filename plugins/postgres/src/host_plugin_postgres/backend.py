"""The database: each operation takes a connection of the pool, and gives it back clean."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeAlias, TypeVar

import anyio
from wasmplex.capabilities.postgres import (
    ROWS_AHEAD,
    ConnectionFailed,
    PgValue,
    PostgresBackend,
    PostgresError,
    Rows,
    Statement,
    ValueConversionFailed,
)

from host_plugin_postgres import PostgresSettings
from host_plugin_postgres.failures import DRIVER_ERRORS, operation_failed, sqlstate
from host_plugin_postgres.link import Link, Stale
from host_plugin_postgres.pool import Pool
from host_plugin_postgres.prepared import Prepared
from host_plugin_postgres.rows import PgRows
from host_plugin_postgres.statements import check, check_statement, is_empty
from host_plugin_postgres.tap import Collected

__all__ = ["Postgres"]

_FEW = 10_000
"""Elements of arrays that are written while everybody waits."""

T = TypeVar("T")

Execute: TypeAlias = Callable[[Link, Prepared, bytes], Awaitable[PgRows]]
"""A way to execute a statement whose parameters are bound."""


class Postgres(PostgresBackend):
    """One open database.

    :param where: what it is called in messages
    """

    def __init__(self, pool: Pool, settings: PostgresSettings, where: str) -> None:
        self.pool = pool
        self._settings = settings
        self._where = where
        self._closed = False

    def __repr__(self) -> str:
        return f"postgres: {self._where}, {'closed' if self._closed else f'{len(self.pool)} connections'}"

    async def close(self) -> None:
        """Close all connections."""
        self._closed = True
        await self.pool.close()

    async def probe(self) -> None:
        """Ask the server whether it answers."""
        with anyio.fail_after(self._settings.timeout):
            await self._session("wasmplex", lambda link: link.simple("SELECT 1"))

    async def query(self, user: str, sql: str, params: Sequence[PgValue]) -> Rows:
        """Execute a statement; see `PostgresBackend.query`."""
        return await self._rows(user, sql, params, self._read)

    async def stream(self, user: str, sql: str, params: Sequence[PgValue]) -> Rows:
        """Execute a statement; see `PostgresBackend.stream`."""
        return await self._rows(user, sql, params, self._passed)

    async def _rows(self, user: str, sql: str, params: Sequence[PgValue], way: Execute) -> Rows:
        check_statement(sql)
        return await self._taken(user, lambda link: self._query(link, way, sql, params))

    async def batch(self, user: str, sql: str) -> None:
        """Execute statements; see `PostgresBackend.batch`."""
        check(sql)
        if is_empty(sql):
            return
        if self._settings.prepared_statements:
            await self._batch(user, sql)
        else:
            await self._batch_in_a_transaction(user, sql)

    async def _batch(self, user: str, sql: str) -> None:
        """Execute, and answer when nothing is left that others would see."""

        async def use(link: Link) -> Link:
            await link.simple(sql)
            return link

        await self.pool.finish(await self._taken(user, use), commit=False)

    async def _batch_in_a_transaction(self, user: str, sql: str) -> None:
        """Keep one session of the server until it is reset, where the next message may go to another one."""

        async def use(link: Link) -> Link:
            await link.begin()
            await link.simple(sql)
            return link

        link = await self._taken(user, use)
        try:
            await self.pool.finish(link, commit=True)
        except DRIVER_ERRORS as error:
            raise self._failed(error) from error

    async def prepare(self, user: str, sql: str) -> Statement:
        """Have the server prepare a statement; see `PostgresBackend.prepare`."""
        check_statement(sql)

        async def prepare(link: Link) -> Statement:
            prepared = await link.prepare(sql)
            return Statement(sql, len(prepared))

        return await self._session(user, prepare)

    async def execute(self, user: str, statement: Statement, params: Sequence[PgValue]) -> int:
        """Execute a prepared statement; see `PostgresBackend.execute`."""
        rows = await self._taken(user, lambda link: self._query(link, self._counted, statement.sql, params))
        try:
            await rows.next()
        finally:
            await rows.close()
        return rows.count

    # ------------------------------------------------------------ one operation

    async def _session(self, user: str, use: Callable[[Link], Awaitable[T]]) -> T:
        """Use a connection and give it back."""

        async def whole(link: Link) -> T:
            result = await use(link)
            self.pool.ending(link, commit=False)  # nothing waits for it: what was done is committed
            return result

        return await self._taken(user, whole)

    async def _taken(self, user: str, use: Callable[[Link], Awaitable[T]]) -> T:
        """Use a connection, which is given back if that fails; else it is the user's."""
        try:
            link = await self.pool.take(user)
        except DRIVER_ERRORS as error:
            raise self._failed(error) from error
        try:
            return await use(link)
        except BaseException as error:
            self.give_up(link, error)
            if isinstance(error, DRIVER_ERRORS):
                raise self._failed(error) from error
            raise

    def give_up(self, link: Link, error: BaseException) -> None:
        """Take back a connection whose operation failed; what the server does for it is cancelled."""
        if not link.is_open:
            self.pool.drop(link)
        else:
            self.pool.ending(link, commit=False)
        if sqlstate(error) == "25006" and self._settings.target_session_attrs in ("primary", "read-write"):
            self.pool.forget_idle()

    def _failed(self, error: BaseException) -> PostgresError:
        if self._closed:
            return ConnectionFailed("the database is closed")
        return operation_failed(error)

    async def _query(self, link: Link, way: Execute, sql: str, params: Sequence[PgValue]) -> PgRows:
        try:
            return await self._executed(link, way, sql, params)
        except Stale:
            # Nothing was executed: another session has changed a table, or taken a statement away.
            if link.in_transaction:
                await link.simple("ROLLBACK")
            await link.forget()
        try:
            return await self._executed(link, way, sql, params)
        except Stale as error:
            raise error.why from None

    async def _executed(self, link: Link, way: Execute, sql: str, params: Sequence[PgValue]) -> PgRows:
        if not self._settings.prepared_statements:
            await link.begin()
        prepared = await link.prepare(sql)
        bound = await self.pool.threads.run(prepared.bind, params) if _many(params) else prepared.bind(params)
        self._readable(prepared)
        return await (self._whole if prepared.whole else way)(link, prepared, bound)

    async def _passed(self, link: Link, prepared: Prepared, bound: bytes) -> PgRows:
        """Execute for somebody who need not read the rows."""
        return await self._read(link, prepared, bound, packed=prepared.packs is not None and link.checks_text)

    async def _read(self, link: Link, prepared: Prepared, bound: bytes, *, packed: bool = False) -> PgRows:
        first, more = await link.first(prepared, bound, ROWS_AHEAD).rows()
        return PgRows(self.pool, self.give_up, link, prepared, first, more=more, packed=packed)

    async def _counted(self, link: Link, prepared: Prepared, bound: bytes) -> PgRows:
        """Execute to the end, for somebody who wants no rows."""
        return await self._whole(link, prepared, bound, kept=False)

    async def _whole(self, link: Link, prepared: Prepared, bound: bytes, *, kept: bool = True) -> PgRows:
        collected = Collected()
        tag, passed = await link.complete(bound, rows=collected if kept else None, reset=prepared.plain)
        rows = prepared.rows(collected)
        count = _count(tag) or passed or len(rows)
        return PgRows(self.pool, self.give_up, link, prepared, rows, more=False, count=count)

    def _readable(self, prepared: Prepared) -> None:
        """Refuse, before anything is executed, a result that guests could not be given."""
        if (text := prepared.unreadable_column()) is not None:
            raise ValueConversionFailed(text)


def _count(tag: str) -> int:
    """Return the number at the end of a tag, ``INSERT 0 5``; 0 for a command that counts nothing."""
    last = tag.rpartition(" ")[2]
    return int(last) if last.isdigit() else 0


def _many(params: Sequence[PgValue]) -> bool:
    """Say whether writing parameters takes longer than others should wait."""
    return sum(len(payload) for _, payload in params if isinstance(payload, list)) > _FEW
