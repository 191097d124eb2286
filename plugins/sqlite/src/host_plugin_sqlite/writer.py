"""Writing: what waits together is committed together, with one sync of the disk for all.

While a transaction is being synced others arrive; they are the next one. None is acknowledged before the
commit, and one that fails does not take the others along, unless SQLite rolls back all of them (a full disk),
which then all of them are told.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import anyio
from wasmplex.capabilities.keyvalue import StoreUnavailable

from host_plugin_sqlite.connection import Connection, Parameters, Rows, fetch
from host_plugin_sqlite.contention import patiently
from host_plugin_sqlite.failures import refuse_read_only
from host_plugin_sqlite.seal import Seal

__all__ = ["Writer"]

TOGETHER = 128
"""Writes in one transaction, so that readers and other processes never wait long for it."""


@dataclass(slots=True, eq=False)
class _Write:
    statement: str
    parameters: Parameters
    done: anyio.Event = field(default_factory=anyio.Event)
    rows: Rows = field(default_factory=list)
    error: Exception | None = None
    abandoned: bool = False


class Writer:
    """Runs the writes of one connection, in order.

    :param seal: of the file, which is looked at before a transaction begins and before it is acknowledged
    :param patience: seconds to wait for other processes that write
    """

    def __init__(self, connection: Connection, seal: Seal, patience: float) -> None:
        self._connection = connection
        self._seal = seal
        self._patience = patience
        self._waiting: deque[_Write] = deque()
        self._arrived = anyio.Event()
        # The task lives as long as the connection, which no task group of a caller does.
        self._task = asyncio.create_task(self._run_forever())

    async def run(self, statement: str, parameters: Parameters) -> Rows:
        """Run one statement and return its rows when the disk has what it wrote.

        :raises sqlite3.Error: what SQLite says, busy included
        :raises Broken: if that may not be the file any more that the path leads to
        """
        write = _Write(statement, parameters)
        self._waiting.append(write)
        self._arrived.set()
        try:
            await write.done.wait()
        except BaseException:
            write.abandoned = True  # if it has not begun it never will
            raise
        if write.error is not None:
            raise write.error
        return write.rows

    async def close(self) -> None:
        """Stop. What still waits is unavailable; what is under way may or may not be written."""
        self._task.cancel()
        await asyncio.wait([self._task])
        _fail(self._waiting, StoreUnavailable("the store is closed"))

    async def _run_forever(self) -> None:
        while True:
            await self._arrived.wait()
            batch = self._take()
            try:
                await self._write(batch)
            except Exception as error:  # noqa: BLE001  whatever it is, nobody is left waiting
                _fail(batch, error)
            except BaseException:
                _fail(batch, StoreUnavailable("the store was closed"))
                raise
            for write in batch:
                write.done.set()

    def _take(self) -> list[_Write]:
        """Return the writes that wait, without those that nobody waits for any more."""
        batch: list[_Write] = []
        while self._waiting and len(batch) < TOGETHER:
            write = self._waiting.popleft()
            if not write.abandoned:
                batch.append(write)
        if not self._waiting:
            self._arrived = anyio.Event()
        return batch

    async def _write(self, batch: Sequence[_Write]) -> None:
        if batch:
            await patiently(lambda: self._connection.run(_commit, self._seal, batch), self._patience)


def _commit(connection: sqlite3.Connection, seal: Seal, batch: Sequence[_Write]) -> None:
    """Execute all and commit them; in the connection's thread.

    The seal is looked at while the lock for writing is held: nobody who folds the log, which takes the lock,
    can have done so between the look and the commit.
    """
    try:
        connection.execute("BEGIN IMMEDIATE")
        try:
            seal.check(connection)
            for write in batch:
                write.error = _attempt(connection, write)
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.rollback()
            raise
    except sqlite3.Error as error:
        seal.check(connection)  # what became of the file may be the reason
        refuse_read_only(error, seal.path)
        raise
    seal.check(connection)


def _attempt(connection: sqlite3.Connection, write: _Write) -> sqlite3.Error | None:
    """Execute one; its error is its own unless it has undone the others."""
    try:
        write.rows = fetch(connection, write.statement, write.parameters)
    except sqlite3.Error as error:
        if not connection.in_transaction:
            raise
        return error
    return None


def _fail(writes: Iterable[_Write], error: Exception) -> None:
    for write in writes:
        write.error = error
        write.done.set()
