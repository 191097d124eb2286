"""Writing: what waits together is committed together, with one sync of the disk for all.

A write alone is a statement outside of any transaction. While it is being synced others arrive; they are the
next transaction. None is acknowledged before the commit, and one that fails does not take the others along,
unless SQLite rolls back all of them (a full disk), which then all of them are told.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import aiosqlite
import anyio
from wasmplex.capabilities.keyvalue import StoreUnavailable

from host_plugin_sqlite.contention import patiently

__all__ = ["Parameters", "Rows", "Writer", "fetch"]

TOGETHER = 128
"""Writes in one transaction, so that readers and other processes never wait long for it."""

Parameters: TypeAlias = Mapping[str, Any] | Sequence[Any]
Rows: TypeAlias = list[tuple[Any, ...]]


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

    :param patience: seconds to wait for other processes that write
    """

    def __init__(self, connection: aiosqlite.Connection, patience: float) -> None:
        self._connection = connection
        self._patience = patience
        self._waiting: deque[_Write] = deque()
        self._arrived = anyio.Event()
        # The task lives as long as the connection, which no task group of a caller does.
        self._task = asyncio.create_task(self._run_forever())

    async def run(self, statement: str, parameters: Parameters) -> Rows:
        """Run one statement and return its rows when the disk has what it wrote.

        :raises sqlite3.Error: what SQLite says, busy included
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

    async def _write(self, batch: list[_Write]) -> None:
        if len(batch) == 1:
            await patiently(lambda: self._execute(batch[0]), self._patience)
        elif batch:
            await patiently(self._begin, self._patience)
            try:
                await self._write_together(batch)
            except BaseException:
                with anyio.CancelScope(shield=True):
                    await self._connection.rollback()
                raise

    async def _write_together(self, batch: list[_Write]) -> None:
        for write in batch:
            try:
                await self._execute(write)
            except sqlite3.Error as error:
                if not self._connection.in_transaction:
                    raise
                write.error = error
        await self._connection.execute_fetchall("COMMIT")

    async def _begin(self) -> None:
        await self._connection.execute_fetchall("BEGIN IMMEDIATE")

    async def _execute(self, write: _Write) -> None:
        write.rows = await fetch(self._connection, write.statement, write.parameters)


async def fetch(connection: aiosqlite.Connection, statement: str, parameters: Parameters) -> Rows:
    """Run one statement in the connection's thread and return its rows."""
    return [tuple(row) for row in await connection.execute_fetchall(statement, parameters)]


def _fail(writes: Iterable[_Write], error: Exception) -> None:
    for write in writes:
        write.error = error
        write.done.set()
