"""One connection to a SQLite file, in a thread of its own, so that the event loop never waits for a disk."""

from __future__ import annotations

import sqlite3
from asyncio import CancelledError
from collections.abc import Callable
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

import aiosqlite
import anyio
from wasmplex.capabilities.keyvalue import StoreUnavailable

from host_plugin_sqlite.contention import STEP

__all__ = ["Connection", "Parameters", "Rows", "fetch", "value"]

P = ParamSpec("P")
T = TypeVar("T")
Parameters = dict[str, Any] | list[Any] | tuple[Any, ...]
Rows = list[tuple[Any, ...]]


class Connection:
    """Runs functions that take a `sqlite3.Connection`, one after the other, in aiosqlite's thread.

    What belongs together, as looking at the file and committing do, is one function: aiosqlite's own methods
    are one statement each. A function that was begun goes on when whoever waits for it is cancelled; one that
    was not never begins. Make one with `open`.
    """

    def __init__(self, inner: aiosqlite.Connection) -> None:
        self._inner = inner
        self._closed = False

    @classmethod
    async def open(cls, path: Path, *, create: bool = False) -> Self:
        """Open the file, without a transaction around statements.

        :param create: whether to make it if it is missing
        :raises sqlite3.Error: if it cannot be opened
        """
        with anyio.CancelScope(shield=True):  # it takes no lock; and a connection that is made is closed
            name = _name(path, "rwc" if create else "rw")
            inner = aiosqlite.connect(name, timeout=STEP, isolation_level=None, uri=True)
            try:
                await inner
            except BaseException:
                await _ended(inner)
                raise
        return cls(inner)

    async def run(
        self, function: Callable[Concatenate[sqlite3.Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run ``function(connection, ...)`` in the thread and return its result.

        :raises StoreUnavailable: if this was closed
        """
        if self._closed:
            raise StoreUnavailable("the store is closed")
        wanted, connection = True, self._inner._conn  # noqa: SLF001  see pyproject.toml

        def begin() -> T:
            if not wanted:
                raise CancelledError
            return function(connection, *args, **kwargs)

        try:
            result: T = await self._inner._execute(begin)  # type: ignore[no-untyped-call]  # noqa: SLF001
        except CancelledError:
            wanted = False
            raise
        return result

    async def close(self) -> None:
        """Close the connection once what was asked before is done. May be called again.

        :raises sqlite3.Error: what SQLite says to it
        """
        if not self._closed:
            self._closed = True
            with anyio.CancelScope(shield=True):
                try:
                    await self._inner.close()
                finally:
                    await _ended(self._inner)


def _name(path: Path, mode: str) -> str:
    return f"{path.absolute().as_uri()}?mode={mode}"


async def _ended(inner: aiosqlite.Connection) -> None:
    """Wait for the thread: what it has to say when the event loop is closed would be a traceback."""
    while inner._thread.is_alive():  # noqa: ASYNC110, SLF001
        await anyio.sleep(0.001)


def fetch(connection: sqlite3.Connection, statement: str, parameters: Parameters = ()) -> Rows:
    """Run one statement and return its rows."""
    return connection.execute(statement, parameters).fetchall()


def value(connection: sqlite3.Connection, statement: str) -> Any:
    """Run one statement and return the first column of its first row, None if there is none."""
    row = connection.execute(statement).fetchone()
    return None if row is None else row[0]
