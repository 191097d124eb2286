"""The rows of one query, fetched a portion at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from wasmplex.capabilities.postgres import ROWS_AHEAD, PackedRows, PostgresError, Row, Rows, Timeout

from host_plugin_postgres.failures import DRIVER_ERRORS, operation_failed, sqlstate
from host_plugin_postgres.link import Link, Portion
from host_plugin_postgres.pool import Pool
from host_plugin_postgres.prepared import Prepared
from host_plugin_postgres.tap import Answer

__all__ = ["PgRows"]

MAX_PORTION = 2**20
"""Bytes that the rows of one portion should not exceed together: large rows come in smaller ones."""
SMALL = 2**15
"""Bytes of a portion that the socket surely has room for: the server need not wait for whoever reads it."""
QUICK = 2**17
"""Bytes of rows that Python reads while everybody waits: arrays of more may take it half a second."""
GRACE = 0.05
"""Seconds that a portion under way may take when nobody wants it any more, for the rest to be committed."""
_CANCELLED = "57014"


class PgRows(Rows):
    """The rows of one query.

    :param give_up: takes back a connection whose operation failed
    :param rows: the first of them
    :param more: whether there may be others; if not, the session is at its end already
    :param packed: pass rows on as they came
    :ivar count: how many rows there were at first, or what the statement counted
    """

    def __init__(
        self,
        pool: Pool,
        give_up: Callable[[Link, BaseException], None],
        link: Link,
        prepared: Prepared,
        rows: PackedRows,
        *,
        more: bool,
        packed: bool = False,
        count: int = 0,
    ) -> None:
        self.columns = prepared.columns
        self.count = count or len(rows)
        self._pool = pool
        self._give_up = give_up
        self._link: Link | None = link
        self._prepared = prepared
        self._rows: PackedRows | None = rows
        self._more = more
        self._portion = ROWS_AHEAD
        self._packed = packed
        self._coming: Portion | None = None
        """The next ones: asked for, and still in the socket."""
        self._ending: asyncio.Future[Any] | None = None
        self._watch: Callable[[asyncio.Future[Any]], None] = _nothing
        if not more:
            self._end()

    def _end(self) -> None:
        """Commit, while the guest reads what there is."""
        if (link := self._link) is not None:
            self._ending = self._pool.ending(link, commit=True, plain=self._prepared.plain)
            self._link = None
            if isinstance(self._ending, Answer):  # a task needs the event loop
                self._watch = link.watch

    async def next(self) -> Sequence[Row]:
        """Return the next rows; see `Rows.next`."""
        if not self._rows and not await self._fetch():
            return []
        rows, self._rows = self._rows, None
        if self._packed or rows is None:
            return rows or []
        try:
            return list(rows) if rows.size <= QUICK else await self._pool.threads.run(list, rows)
        except PostgresError:
            await self.close()
            raise

    def next_nowait(self) -> Sequence[Row] | None:
        """Return the next rows if they are at hand, and need not be read; see `Rows.next_nowait`."""
        if not self._rows and not self._take_coming():
            return [] if self._is_over() else None
        if not self._packed:
            return None
        rows, self._rows = self._rows, None
        return rows

    def _take_coming(self) -> bool:
        """Take the next portion if it is there; say whether there are rows now."""
        link, coming = self._link, self._coming
        if link is None or coming is None or (found := coming.rows_nowait()) is None:
            return False
        self._coming = None
        self._came(link, *found)
        return bool(self._rows)

    def _is_over(self) -> bool:
        """Say whether all has been read, and is known to be committed."""
        if self._link is not None or (ending := self._ending) is None:
            return False
        if not ending.done():
            self._watch(ending)  # it was asked for when the rows came
        return ending.done() and not ending.cancelled() and ending.exception() is None

    async def _fetch(self) -> bool:
        """Fetch a portion; return whether there was one."""
        while self._link is not None and self._more:
            await self._fetch_from(self._link)
            if self._rows:
                return True
        self._end()
        await self._ended()
        return False

    async def _fetch_from(self, link: Link) -> None:
        portion, self._coming = self._coming or link.more(self._prepared, self._portion), None
        try:
            rows, more = await portion.rows()
        except DRIVER_ERRORS as error:
            self._link = None
            self._give_up(link, error)
            raise operation_failed(error) from error
        self._came(link, rows, more)

    def _came(self, link: Link, rows: PackedRows, more: bool) -> None:
        self._rows, self._more = rows, more
        self._portion = max(1, min(ROWS_AHEAD, MAX_PORTION * len(rows) // (rows.size + 1)))
        if not more:
            self._end()
        elif rows.size <= SMALL:
            self._coming = link.more(self._prepared, self._portion)

    async def _ended(self) -> None:
        if self._ending is None:
            return
        try:
            if not self._ending.done():
                self._watch(self._ending)
            if not self._ending.done():
                await asyncio.shield(self._ending)
            self._ending.result()
        except DRIVER_ERRORS as error:
            raise operation_failed(error) from error

    async def close(self, *, commit: bool = False) -> None:
        """Give the connection back; see `Rows.close`."""
        link, self._link = self._link, None
        self._rows = None
        if link is not None and link.is_busy:
            self._ending = self._pool.spawn(self._stop(link, commit=commit))
        elif link is not None:
            self._ending = self._pool.ending(link, commit=commit, plain=self._prepared.plain)
        if commit:
            await self._ended()

    async def _stop(self, link: Link, *, commit: bool) -> None:
        """End what is under way, then the session; in a task, for whoever waits for that may be cancelled."""
        grace, plain = GRACE if commit else 0, self._prepared.plain
        try:
            await self._pool.stop(link, commit=commit, plain=plain, grace=grace)
        except DRIVER_ERRORS as error:
            if sqlstate(error) != _CANCELLED:
                raise operation_failed(error) from error
            raise Timeout("the statement was cancelled: nobody wanted its rows any more") from error


def _nothing(_: object) -> None:
    pass
