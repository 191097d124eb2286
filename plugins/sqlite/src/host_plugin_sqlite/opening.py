"""Opening the file: the checks before, the settings of each connection, and the layout."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from wasmplex.capabilities.keyvalue import InvalidArgument, next_count
from wasmplex.plugin import BackendError

from host_plugin_sqlite.connection import Connection, value
from host_plugin_sqlite.contention import patiently
from host_plugin_sqlite.seal import File, identity
from host_plugin_sqlite.statements import APPLICATION_ID, LAYOUT, LAYOUT_VERSION

__all__ = ["check_file", "connect", "connect_reader"]

_OLDEST = (3, 35, 0)  # RETURNING


def check_file(path: Path, *, create: bool) -> File | None:
    """Refuse what SQLite would answer with "unable to open database file"; return which file there is."""
    if sqlite3.sqlite_version_info < _OLDEST:
        raise BackendError(
            f"SQLite {sqlite3.sqlite_version} is too old",
            why="this plugin needs 3.35 or newer; Python brings the one it was built with",
            fix="use a newer Python build",
        )
    if not path.parent.is_dir():
        raise BackendError(
            f"cannot open the SQLite file {path}",
            why=f"the directory {path.parent} does not exist",
            fix=f'mkdir -p "{path.parent}"',
        )
    if path.is_dir():
        raise BackendError(
            f"cannot open the SQLite file {path}", why="it is a directory", fix=f'path = "{path / "kv.db"}"'
        )
    try:
        return identity(path.stat())
    except FileNotFoundError:
        if create:
            return None
    except OSError:
        return None  # SQLite says what is wrong with it
    raise BackendError(f"the SQLite file {path} does not exist", why="create is false", fix="create = true")


async def connect(path: Path, patience: float, *, create: bool) -> Connection:
    """Open the connection that writes, and lay the file out if it is new.

    :param create: whether to make the file if it is missing
    :param patience: seconds to wait for other processes that do the same
    """
    connection = await Connection.open(path, create=create)
    try:
        _check_mode(
            await patiently(lambda: connection.run(value, "PRAGMA journal_mode = WAL"), patience), path
        )
        await connection.run(_prepare)
        await patiently(lambda: connection.run(_lay_out, path), patience)
    except BaseException:
        await connection.close()
        raise
    return connection


async def connect_reader(path: Path, patience: float) -> Connection:
    """Open a connection that only reads."""
    connection = await Connection.open(path)
    try:
        await patiently(lambda: connection.run(_prepare_reader), patience)
    except BaseException:
        await connection.close()
        raise
    return connection


def _prepare(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA fullfsync = ON")  # macOS: fsync alone does not reach the disk
    connection.create_function("next_count", 3, _next_count, deterministic=True)


def _prepare_reader(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA query_only = ON")
    value(connection, "PRAGMA application_id")  # opens the file, which SQLite does no earlier


def _lay_out(connection: sqlite3.Connection, path: Path) -> None:
    """Make the tables if the file has none; refuse a file that is not ours."""
    if value(connection, "PRAGMA application_id") == APPLICATION_ID:
        return _check_layout(value(connection, "PRAGMA user_version"), path)
    connection.execute("BEGIN IMMEDIATE")  # another process may be doing the same
    try:
        if value(connection, "PRAGMA application_id") != APPLICATION_ID:
            _check_empty(value(connection, "SELECT count(*) FROM sqlite_master"), path)
            for statement in LAYOUT:
                connection.execute(statement)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.rollback()
        raise
    return None


def _check_mode(mode: str, path: Path) -> None:
    if mode != "wal":
        raise BackendError(
            f"cannot open the SQLite file {path}",
            why="its file system does not support write-ahead logging",
            fix="keep the file on a local disk",
        )


def _check_empty(tables: int, path: Path) -> None:
    if tables:
        raise BackendError(
            f"{path} is a SQLite database of another program",
            why="it has tables, and they are not a key-value store of this plugin",
            fix="name another file; this one is left as it is",
        )


def _check_layout(version: int, path: Path) -> None:
    if version != LAYOUT_VERSION:
        raise BackendError(
            f"the SQLite file {path} has layout {version}",
            why=f"this version of the plugin reads and writes layout {LAYOUT_VERSION}",
            fix="pip install --upgrade host-plugin-sqlite",
        )


def _next_count(value: bytes | None, delta: int, minimum: int) -> bytes | None:
    """Compute `next_count` inside a statement; None, which the column does not take, where it refuses."""
    try:
        return b"%d" % next_count(value, delta, minimum)
    except InvalidArgument:
        return None
