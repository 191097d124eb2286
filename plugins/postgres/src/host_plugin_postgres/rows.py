"""The rows of one query, fetched a portion at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from wasmplex.capabilities.postgres import ROWS_AHEAD, PackedRows, PostgresError, Row, Rows, Timeout

from host_plugin_postgres.failures import DRIVER_ERRORS, operation_failed
from host_plugin_postgres.link import Link
from host_plugin_postgres.pool import Pool
from host_plugin_postgres.prepared import Prepared

__all__ = ["PgRows"]

MAX_PORTION = 4 * 2**20
"""Bytes that the rows of one portion should not exceed together: large rows come in smaller ones."""
MOST_PACKED = 512
"""Rows of one portion at most that nobody reads here: the more a guest has read, the more come at once."""
PACKED_PORTION = 256 * 2**10
"""Bytes that these should not exceed together."""
QUICK = 0.01
"""Seconds that a portion may have taken for the next one to be fetched while it is read."""
GRACE = 0.05
"""Seconds that a portion under way may take when nobody wants it any more, for the rest to be committed."""


class PgRows(Rows):
    """The rows of one query.

    :param give_up: takes back a connection whose operation failed
    :param rows: the first of them
    :param more: whether there may be others; if not, the session is at its end already
    :ivar count: how many rows there were until now, or what the statement counted
    """

    def __init__(
        self,
        pool: Pool,
        give_up: Callable[[Link, BaseException], None],
        link: Link,
        prepared: Prepared,
        rows: Sequence[Any],
        *,
        more: bool,
        count: int = 0,
    ) -> None:
        self.columns = prepared.columns
        self.count = count or len(rows)
        self._pool = pool
        self._give_up = give_up
        self._link: Link | None = link
        self._prepared = prepared
        self._rows = rows
        self._more = more
        self._portion = ROWS_AHEAD
        self._quick = False
        self._packed = isinstance(rows, PackedRows)
        self._fetching: asyncio.Task[tuple[Sequence[Any], bool]] | None = None
        self._ending: asyncio.Future[Any] | None = None
        if not more:
            self._end()

    def _end(self) -> None:
        """Commit, while the guest reads what there is."""
        if self._link is not None:
            self._ending = self._pool.ending(self._link, commit=True, plain=self._prepared.plain)
            self._link = None

    async def next(self) -> Sequence[Row]:
        """Return the next rows; see `Rows.next`."""
        if not self._rows and not await self._fetch():
            return []
        rows, self._rows = self._rows, []
        if self._packed:
            if self._link is not None and self._quick:
                self._begin(self._link)
            return rows
        try:
            return [self._prepared.row(record) for record in rows]
        except PostgresError:
            await self.close()
            raise

    async def skip(self) -> None:
        """Go to the end, keeping nothing."""
        self._rows = []
        while await self._fetch():
            self._rows = []

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
        fetching = self._fetching or self._begin(link)
        try:
            # Whoever waits may be cancelled: what becomes of the portion is for `close` to decide.
            self._rows, self._more = await asyncio.shield(fetching)
        except DRIVER_ERRORS as error:
            self._link = self._fetching = None
            self._give_up(link, error)
            raise operation_failed(error) from error
        self._fetching = None
        self.count += len(self._rows)
        if isinstance(self._rows, PackedRows) and self._rows:
            fitting = PACKED_PORTION * len(self._rows) // (self._rows.size + 1)
            self._portion = max(1, min(2 * self._portion, MOST_PACKED, fitting))
        elif self._rows:
            size = sum(len(value) for value in self._rows[0] if isinstance(value, (bytes, str)))
            self._portion = max(1, min(ROWS_AHEAD, MAX_PORTION // (size + 1)))
        if not self._more:
            self._end()

    def _begin(self, link: Link) -> asyncio.Task[tuple[Sequence[Any], bool]]:
        self._fetching = self._pool.spawn(self._timed(link))
        return self._fetching

    async def _timed(self, link: Link) -> tuple[Sequence[Any], bool]:
        now = asyncio.get_running_loop().time
        begun = now()
        found = await link.more(self._prepared, self._portion, packed=self._packed)
        self._quick = now() - begun < QUICK
        return found

    async def _ended(self) -> None:
        if self._ending is None:
            return
        try:
            await asyncio.shield(self._ending)
        except DRIVER_ERRORS as error:
            raise operation_failed(error) from error

    async def close(self, *, commit: bool = False) -> None:
        """Give the connection back; see `Rows.close`."""
        link, self._link = self._link, None
        self._rows = []
        if link is not None:
            error = await self._interrupt(patient=commit)
            if error is not None:
                self._give_up(link, error)
                if commit:
                    raise operation_failed(error) from error
                return
            self._ending = self._pool.ending(link, commit=commit, plain=self._prepared.plain)
        if commit:
            await self._ended()

    async def _interrupt(self, *, patient: bool) -> BaseException | None:
        """Have nothing under way any more; return what is to be said if that ended the statement."""
        fetching, self._fetching = self._fetching, None
        if fetching is None:
            return None
        if patient:
            await asyncio.wait({fetching}, timeout=GRACE)
        if fetching.done():
            return fetching.exception()
        fetching.cancel()
        await asyncio.wait({fetching})
        return Timeout("the statement was cancelled: it was at work when nobody wanted its rows any more")
