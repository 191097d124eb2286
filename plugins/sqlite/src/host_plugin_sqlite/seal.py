"""Whether the files that a store has open are still those that its path leads to.

SQLite opens a file once. What happens to the name afterwards it does not see: a removed or renamed file goes
on being read and written, and so do a write-ahead log and its index. So what it would acknowledge might be
in a file that nobody finds again. A `Seal` knows the files by device and inode, and compares.
"""

from __future__ import annotations

import os
import sqlite3
import sys
from enum import Enum
from pathlib import Path
from threading import Lock
from typing import TypeAlias

from host_plugin_sqlite.connection import value

__all__ = ["Broken", "File", "Reason", "Seal", "identity"]


class Reason(Enum):
    """What has become of the files; in words that a guest may see."""

    GONE = "the file is gone"
    REPLACED = "another file is in its place"
    LOG = "its write-ahead log is gone, or another one"
    CUT = "it was cut short"


class Broken(Exception):
    """The path leads no longer to what is open.

    :ivar reason: what has become of it
    """

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason.value)
        self.reason = reason


File: TypeAlias = tuple[int, int]
"""Device and inode."""


class Seal:
    """The files behind a path, as they are when this is made: the database, its log and the log's index.

    :param path: of the database. A symbolic link is followed each time, and the log is beside its target
    :ivar path: of the database, as it was given
    :ivar database: device and inode of the database
    :raises Broken: if the database is missing
    """

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        target = os.path.realpath(path)
        self._logs = (f"{target}-wal", f"{target}-shm")
        database = _stat(self.path)
        if database is None:
            raise Broken(Reason.GONE)
        log, index = (_stat(name) for name in self._logs)
        self.database = identity(database)
        self._log = log and identity(log)
        self._index = index and identity(index)
        self._lock = Lock()  # each connection has a thread, and sizes are compared with what was seen last
        self._size = database.st_size
        self._log_size = 0 if log is None else log.st_size

    def look(self) -> None:
        """Compare the names of database and log: enough for reading, which does not add to what may be lost.

        :raises Broken: if they lead to other files
        """
        self._compare(_stat(self.path), _stat(self._logs[0]))

    def check(self, connection: sqlite3.Connection) -> None:
        """Compare everything; called where the transaction, if one is open, has written nothing.

        :param connection: to the database, for what SQLite thinks of its size
        :raises Broken: if anything is not what it was
        """
        with self._lock:
            database, log, index = _stat(self.path), _stat(self._logs[0]), _stat(self._logs[1])
            self._compare(database, log)
            if (index and identity(index)) != self._index:
                raise Broken(Reason.LOG)
            size, log_size = database.st_size if database else 0, log.st_size if log else 0
            # A log that begins anew keeps its size. A database gets smaller when it is vacuumed.
            if log_size < self._log_size or (size < self._size and size < _size(connection)):
                raise Broken(Reason.CUT)
            self._size, self._log_size = size, log_size

    def _compare(self, database: os.stat_result | None, log: os.stat_result | None) -> None:
        if database is None:
            raise Broken(Reason.GONE)
        if identity(database) != self.database:
            raise Broken(Reason.REPLACED)
        if (log and identity(log)) != self._log:
            raise Broken(Reason.LOG)

    def is_in_place(self) -> bool:
        """Return whether the path leads to the database that is open, whatever has become of its log."""
        database = _stat(self.path)
        return database is not None and identity(database) == self.database

    def has_its_logs(self) -> bool:
        """Return whether the log and its index are under their names."""
        log, index = _stat(self._logs[0]), _stat(self._logs[1])
        return (log and identity(log)) == self._log and (index and identity(index)) == self._index

    def is_log_of_others(self) -> bool:
        """Return whether somebody else has begun a log where ours was, and written to it."""
        log = _stat(self._logs[0])
        return log is not None and log.st_size > 0 and identity(log) != self._log

    def remove_logs(self) -> None:
        """Remove the names of log and index where they still are those of the open database."""
        for name, own in zip(self._logs, (self._log, self._index), strict=True):
            found = _stat(name)
            if found is not None and identity(found) == own:
                Path(name).unlink(missing_ok=True)


def _stat(name: str) -> os.stat_result | None:
    """Return what is under a name; None if it cannot be reached."""
    try:
        return os.stat(name)  # noqa: PTH116  three of these are a good part of what an operation costs
    except OSError:
        return None


def identity(found: os.stat_result) -> File:
    """Return what tells a file from all others while it exists."""
    return found.st_dev, found.st_ino


def _size(connection: sqlite3.Connection) -> int:
    """Return the bytes that the database has, those in the log included; without end if damaged."""
    try:
        return int(value(connection, "PRAGMA page_count")) * int(value(connection, "PRAGMA page_size"))
    except sqlite3.Error:
        return sys.maxsize
