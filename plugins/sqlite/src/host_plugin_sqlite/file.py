"""An open file: one connection that writes, a few that read, and the seal that says whether it counts."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from itertools import cycle
from pathlib import Path
from typing import Self

import anyio
import anyio.to_thread

from host_plugin_sqlite import SqliteSettings
from host_plugin_sqlite.connection import Connection, Parameters, Rows, fetch, value
from host_plugin_sqlite.contention import patiently
from host_plugin_sqlite.failures import opening_failed
from host_plugin_sqlite.opening import check_file, connect, connect_reader
from host_plugin_sqlite.seal import Broken, File, Reason, Seal
from host_plugin_sqlite.writer import Writer

__all__ = ["OpenFile"]


class OpenFile:
    """A file that is open. Make one with `open`."""

    def __init__(
        self, path: Path, writer: Connection, readers: Sequence[Connection], seal: Seal, patience: float
    ) -> None:
        self.path = path
        self.seal = seal
        self._connection = writer
        self._readers = readers
        self._next_reader = cycle(readers)
        self._patience = patience
        self._writer = Writer(writer, seal, patience)
        _OPEN.add(self)

    @classmethod
    async def open(cls, path: Path, settings: SqliteSettings, *, create: bool) -> Self:
        """Open the file; everything is closed again if that fails.

        :raises wasmplex.errors.BackendError: with what to type next
        :raises Broken: if it is removed or replaced meanwhile
        """
        before = await anyio.to_thread.run_sync(lambda: _check(path, create=create))
        connections: list[Connection] = []
        try:
            connections.append(await connect(path, settings.busy_timeout, create=create))
            seal = await connections[0].run(lambda _: Seal(path))
            for _ in range(settings.readers):
                connections.append(await connect_reader(path, settings.busy_timeout))  # noqa: PERF401  known
            await connections[-1].run(seal.check)  # else it is not known which of them has which file
            if before not in (None, seal.database):
                raise Broken(Reason.REPLACED)  # noqa: TRY301  it is caught like what `check` raises
        except BaseException as error:
            await _close_all(connections)
            if isinstance(error, sqlite3.Error):
                raise opening_failed(error, path) from error
            raise
        return cls(path, connections[0], connections[1:], seal, settings.busy_timeout)

    @property
    def readers(self) -> int:
        """How many connections read."""
        return len(self._readers)

    async def read(self, statement: str, parameters: Parameters) -> Rows:
        """Run a statement on one of the connections that read, beside any write that is under way.

        :raises sqlite3.Error: what SQLite says, busy included
        :raises Broken: if that may not be the file any more that the path leads to
        """
        connection = next(self._next_reader)
        return await patiently(
            lambda: connection.run(_read, self.seal, statement, parameters), self._patience
        )

    async def write(self, statement: str, parameters: Parameters) -> Rows:
        """Run a statement on the connection that writes; returns when the disk has it. Raises like `read`."""
        return await self._writer.run(statement, parameters)

    async def look(self) -> None:
        """Find out whether the path still leads to what is open.

        :raises Broken: if it does not
        """
        await self._readers[0].run(self.seal.check)

    async def is_whole(self) -> bool:
        """Return whether SQLite finds no fault with the file. Takes as long as reading all of it."""
        try:
            connection = await Connection.open(self.path)  # without pages that are in memory
            try:
                return bool(await connection.run(value, "PRAGMA quick_check(1)") == "ok")
            finally:
                await connection.close()
        except sqlite3.Error:
            return False

    async def fold(self) -> bool:
        """Write what is in the log to the database that was opened, whatever its name is now.

        Nobody who has the same log can write to it meanwhile, nor later: the log has no name any more, which
        writers look at once they hold the lock.

        :returns: whether all of it was written
        """
        try:
            await patiently(lambda: self._connection.run(_begin), 1.0)
        except sqlite3.Error:
            return False
        try:
            return await self._readers[0].run(_fold, self.seal)
        finally:
            await self._connection.run(sqlite3.Connection.rollback)

    async def drop_logs(self) -> None:
        """Take the log's name away, so that it is not taken for that of the file that is there now."""
        await self._connection.run(lambda _: self.seal.remove_logs())

    async def close(self) -> None:
        """Close all connections, the one that writes last: it folds the log into the file, and removes it."""
        with anyio.CancelScope(shield=True):
            await self._writer.close()
            await _close_all([self._connection, *self._readers])
        _OPEN.discard(self)


_OPEN: set[OpenFile] = set()
"""What is open in this process."""


def _check(path: Path, *, create: bool) -> File | None:
    """Refuse what cannot be opened, or not now; return which file it is, if there is one.

    Within a process SQLite has one index for all connections to a file: one that was opened while others
    still had a log that has lost its name would read that index and the new log.
    """
    found = check_file(path, create=create)
    if any(file.seal.database == found and not file.seal.has_its_logs() for file in [*_OPEN]):
        raise Broken(Reason.LOG)
    return found


def _begin(connection: sqlite3.Connection) -> None:
    connection.execute("BEGIN IMMEDIATE")


def _read(connection: sqlite3.Connection, seal: Seal, statement: str, parameters: Parameters) -> Rows:
    try:
        rows = fetch(connection, statement, parameters)
    except sqlite3.Error:
        seal.check(connection)  # what became of the file may be the reason
        raise
    seal.look()
    return rows


def _fold(connection: sqlite3.Connection, seal: Seal) -> bool:
    if seal.is_in_place() and seal.is_log_of_others():
        return True  # they have read the database as it is, and it must not change under them
    try:
        [(busy, pages, folded)] = fetch(connection, "PRAGMA wal_checkpoint(PASSIVE)")
    except sqlite3.Error:
        return False
    if busy or folded < pages:
        return False
    seal.remove_logs()
    return True


async def _close_all(connections: Sequence[Connection]) -> None:
    with anyio.CancelScope(shield=True):
        for connection in reversed(connections):
            await connection.close()
