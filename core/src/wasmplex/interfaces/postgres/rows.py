"""The rows of a query as a stream and a future: what the guest drops decides what becomes of the rest."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from functools import partial
from typing import TypeAlias

from wasmplex.capabilities.postgres import Row
from wasmplex.interfaces.postgres.policy import GuardedRows
from wasmplex.values import Err

__all__ = ["Completion", "RowStream", "streamed"]

Completion: TypeAlias = asyncio.Future[None]
"""Done when the rows have ended and all is committed; raises `Err` with what ended them early."""


def streamed(rows: GuardedRows) -> tuple[RowStream | Sequence[Row], Completion]:
    """Return the rows for a guest, and their completion.

    If all are there already, they are the stream: nobody has to wait for more, or to close anything.
    """
    completion: Completion = asyncio.get_running_loop().create_future()
    completion.add_done_callback(_seen)

    whole = rows.whole(partial(_end, completion))
    return RowStream(rows, completion) if whole is None else whole, completion


class RowStream:
    """The rows, a portion at a time, the next when the guest has taken all of the last.

    A guest that drops the stream and holds the future has what it asked for: the statement is committed as
    far as it went, and the future says so. One that drops both, or ends, has its statement cancelled.
    """

    def __init__(self, rows: GuardedRows, completion: Completion) -> None:
        self._rows = rows
        self.completion = completion
        self._closing: asyncio.Task[None] | None = None

    async def __aiter__(self) -> AsyncIterator[Sequence[Row]]:
        try:
            while portion := await self._rows.next():
                yield portion
        except Err as error:
            await self._give_up()
            _end(self.completion, error)
        except (GeneratorExit, asyncio.CancelledError):
            await self._stop()
            raise
        except BaseException as error:
            await self._give_up()
            _end(self.completion, error)
            raise
        _end(self.completion, None)

    def close(self) -> None:
        """Give up what nobody has begun to read."""
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
            _end(self.completion, error)
        else:
            _end(self.completion, None)


def _end(completion: Completion, error: BaseException | None) -> None:
    if completion.done():
        return
    if error is None:
        completion.set_result(None)
    else:
        completion.set_exception(error)


def _seen(completion: Completion) -> None:
    """Take note of the outcome: a guest need not ask for it."""
    if not completion.cancelled():
        completion.exception()
