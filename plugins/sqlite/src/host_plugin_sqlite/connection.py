"""One connection to a SQLite file, in a thread of its own, so that the event loop never waits for a disk."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Any, Concatenate, ParamSpec, Self, TypeAlias, TypeVar

import anyio
from wasmplex.capabilities.keyvalue import StoreUnavailable

from host_plugin_sqlite.contention import STEP

__all__ = ["Connection", "Parameters", "Rows", "fetch", "value"]

P = ParamSpec("P")
T = TypeVar("T")
Parameters = dict[str, Any] | list[Any] | tuple[Any, ...]
Rows = list[tuple[Any, ...]]


_Work: TypeAlias = "tuple[asyncio.Future[Any], Callable[[], Any]]"


class Connection:
    """Runs functions that take a `sqlite3.Connection`, one after the other, all in one thread.

    A function that was begun goes on when whoever waits for it is cancelled; one that was not never begins.
    Make one with `open`.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._work: SimpleQueue[_Work | None] = SimpleQueue()
        self._connection: sqlite3.Connection
        self._closed = False
        Thread(target=_work_off, args=(self._work, self._loop), name="sqlite").start()

    @classmethod
    async def open(cls, path: Path, *, create: bool = False) -> Self:
        """Open the file, without a transaction around statements.

        :param create: whether to make it if it is missing
        :raises sqlite3.Error: if it cannot be opened
        """
        made = cls()
        try:
            with anyio.CancelScope(shield=True):  # it takes no lock; and a connection that is made is closed
                made._connection = await made._submit(lambda: _connect(path, "rwc" if create else "rw"))
        except BaseException:
            made._end()
            raise
        return made

    async def run(
        self, function: Callable[Concatenate[sqlite3.Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run ``function(connection, ...)`` in the thread and return its result.

        :raises StoreUnavailable: if this was closed
        """
        connection = self._connection
        return await self._submit(lambda: function(connection, *args, **kwargs))

    def _submit(self, work: Callable[[], T]) -> asyncio.Future[T]:
        if self._closed:
            raise StoreUnavailable("the store is closed")
        future: asyncio.Future[T] = self._loop.create_future()
        self._work.put((future, work))
        return future

    async def close(self) -> None:
        """Close the connection once what was asked before is done. May be called again.

        :raises sqlite3.Error: what SQLite says to it
        """
        if not self._closed:
            closing = self._submit(self._connection.close)
            self._end()
            with anyio.CancelScope(shield=True):
                await closing

    def _end(self) -> None:
        self._closed = True
        self._work.put(None)


def _work_off(queue: SimpleQueue[_Work | None], loop: asyncio.AbstractEventLoop) -> None:
    """Do what is asked until nothing will be; in the thread."""
    while (asked := queue.get()) is not None:
        future, work = asked
        if future.cancelled():
            continue
        result: Any = None
        error: BaseException | None = None
        try:
            result = work()
        except BaseException as raised:  # noqa: BLE001  it belongs to whoever waits
            error = raised
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(_answer, future, result, error)
        del asked, future, work, result, error  # or they live until the next


def _answer(future: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    name = f"{path.absolute().as_uri()}?mode={mode}"
    return sqlite3.connect(name, timeout=STEP, isolation_level=None, uri=True)


def fetch(connection: sqlite3.Connection, statement: str, parameters: Parameters = ()) -> Rows:
    """Run one statement and return its rows."""
    return connection.execute(statement, parameters).fetchall()


def value(connection: sqlite3.Connection, statement: str) -> Any:
    """Run one statement and return the first column of its first row, None if there is none."""
    row = connection.execute(statement).fetchone()
    return None if row is None else row[0]
