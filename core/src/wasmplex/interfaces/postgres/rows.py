"""The rows of a query as a stream and a future: what the guest drops decides what becomes of the rest."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress

from wasmplex.capabilities.postgres import Row
from wasmplex.interfaces.postgres.policy import GuardedRows
from wasmplex.streams import ChunkSource
from wasmplex.values import Err

__all__ = ["RowStream"]


class RowStream(ChunkSource[Sequence[Row]]):
    """The rows, a portion at a time, the next when the guest has taken all of the last.

    A guest that drops the stream and holds the future has what it asked for: the statement is committed as
    far as it went, and the future says so. One that drops both, or ends, has its statement cancelled.

    :ivar completion: done when the rows have ended; raises `Err` with what ended them early
    """

    def __init__(self, rows: GuardedRows) -> None:
        self._rows = rows
        self.completion: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.completion.add_done_callback(_seen)
        self._closing: asyncio.Task[None] | None = None

    def read_nowait(self) -> Sequence[Row] | None:
        """Return the next rows if they are at hand, none at the end; None if `read` is to be asked."""
        rows = self._rows.next_nowait()
        if rows is not None and not rows:
            self._end(None)
        return rows

    async def read(self) -> Sequence[Row] | None:
        """Return the next rows; none at the end, or where an error has ended them."""
        try:
            rows = await self._rows.next()
        except Err as error:
            await self._give_up()
            self._end(error)
            return None
        except asyncio.CancelledError:
            raise  # by who closes it
        except BaseException as error:
            await self._give_up()
            self._end(error)
            raise
        if not rows:
            self._end(None)
        return rows

    def close(self) -> None:
        """Give up what nobody reads any more."""
        self._closing = asyncio.ensure_future(self._stop())

    async def _give_up(self) -> None:
        """Give the session back after an error, which is told whatever becomes of this."""
        with suppress(Err):
            await self._rows.close()

    async def _stop(self) -> None:
        """Give the session back: the guest reads no more, or is gone."""
        wanted = not self.completion.cancelled()
        try:
            await self._rows.close(commit=wanted)
        except Err as error:
            self._end(error)
        else:
            self._end(None)

    def _end(self, error: BaseException | None) -> None:
        if self.completion.done():
            return
        if error is None:
            self.completion.set_result(None)
        else:
            self.completion.set_exception(error)


def _seen(completion: asyncio.Future[None]) -> None:
    """Take note of the outcome: a guest need not ask for it."""
    if not completion.cancelled():
        completion.exception()
