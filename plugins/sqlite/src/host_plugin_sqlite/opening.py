"""Opening the file: the checks before, the settings of each connection, and the layout."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import aiosqlite
import anyio
from wasmplex.capabilities.keyvalue import InvalidArgument, next_count
from wasmplex.plugin import BackendError

from host_plugin_sqlite.contention import STEP, patiently
from host_plugin_sqlite.statements import APPLICATION_ID, LAYOUT, LAYOUT_VERSION

__all__ = ["check_file", "connect", "connect_reader"]

_OLDEST = (3, 35, 0)  # RETURNING


def check_file(path: Path, *, create: bool) -> None:
    """Refuse what SQLite would answer with "unable to open database file"."""
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
    if not create and not path.exists():
        raise BackendError(
            f"the SQLite file {path} does not exist", why="create is false", fix="create = true"
        )


async def connect(path: Path, patience: float) -> aiosqlite.Connection:
    """Open the connection that writes, and lay the file out if it is new.

    :param patience: seconds to wait for other processes that do the same
    """
    connection = await aiosqlite.connect(path, timeout=STEP, isolation_level=None)
    try:
        _check_mode(await patiently(lambda: _value(connection, "PRAGMA journal_mode = WAL"), patience), path)
        await _value(connection, "PRAGMA synchronous = FULL")
        await _value(connection, "PRAGMA fullfsync = ON")  # macOS: fsync alone does not reach the disk
        await connection.create_function("next_count", 3, _next_count, deterministic=True)
        await patiently(lambda: _lay_out(connection, path), patience)
    except BaseException:
        await _close(connection)
        raise
    return connection


async def connect_reader(path: Path) -> aiosqlite.Connection:
    """Open a connection that only reads."""
    connection = await aiosqlite.connect(path, timeout=STEP, isolation_level=None)
    try:
        await _value(connection, "PRAGMA query_only = ON")
    except BaseException:
        await _close(connection)
        raise
    return connection


async def _close(connection: aiosqlite.Connection) -> None:
    with anyio.CancelScope(shield=True):
        await connection.close()


async def _value(connection: aiosqlite.Connection, statement: str) -> Any:
    rows = list(await connection.execute_fetchall(statement))
    return rows[0][0] if rows else None


async def _lay_out(connection: aiosqlite.Connection, path: Path) -> None:
    """Make the tables if the file has none; refuse a file that is not ours."""
    if await _value(connection, "PRAGMA application_id") == APPLICATION_ID:
        return _check_layout(await _value(connection, "PRAGMA user_version"), path)
    await connection.execute_fetchall("BEGIN IMMEDIATE")  # another process may be doing the same
    try:
        if await _value(connection, "PRAGMA application_id") != APPLICATION_ID:
            _check_empty(await _value(connection, "SELECT count(*) FROM sqlite_master"), path)
            for statement in LAYOUT:
                await connection.execute_fetchall(statement)
        await connection.execute_fetchall("COMMIT")
    except BaseException:
        with anyio.CancelScope(shield=True):
            await connection.rollback()
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
