"""The store: the operations on an open file, and a task that deletes expired rows."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import anyio
from wasmplex.capabilities.keyvalue import (
    S64_MIN,
    Bucket,
    Change,
    Entry,
    KeyValueBackend,
    Page,
    PreconditionFailed,
    Stale,
    StoreUnavailable,
    Swapped,
    Timeout,
)
from wasmplex.plugin import get_logger

from host_plugin_sqlite import SqliteSettings, statements
from host_plugin_sqlite.connection import Parameters, Rows
from host_plugin_sqlite.contention import pauses
from host_plugin_sqlite.failures import is_busy, operation_failed
from host_plugin_sqlite.file import OpenFile
from host_plugin_sqlite.keeping import Keeper
from host_plugin_sqlite.seal import Broken
from host_plugin_sqlite.watching import watch

__all__ = ["SqliteBackend"]

logger = get_logger(__name__)

SWAP_ATTEMPTS = 16
"""How often a swap is tried when the value changes between the attempt and reading why it failed."""
PURGE_BATCH = 500
"""Rows that one statement of the purge deletes, so that writers never wait long for it."""


class SqliteBackend(KeyValueBackend):
    """One store, in a file."""

    clock: Callable[[], int]

    def __init__(
        self, keeper: Keeper, path: Path, settings: SqliteSettings, features: frozenset[str]
    ) -> None:
        self.features = features
        self.clock = lambda: time.time_ns() // 1_000_000
        self.watch_every = settings.watch_every
        self._path = path
        self._keeper = keeper
        self._readers = settings.readers
        self._closed = False
        # The tasks live as long as the backend, which no task group of a caller does.
        self._tasks = [
            asyncio.create_task(keeper.run()),
            asyncio.create_task(self._purge_forever(settings.purge_every)),
        ]

    def __repr__(self) -> str:
        return f"sqlite: {self._path}, {'closed' if self._closed else f'{self._readers} readers'}"

    @classmethod
    async def open(cls, settings: SqliteSettings, path: Path, features: frozenset[str]) -> SqliteBackend:
        """Open the file; everything is closed again if that fails.

        :raises wasmplex.errors.BackendError: with what to type next
        """
        return cls(await Keeper.open(path, settings), path, settings, features)

    @property
    def file(self) -> OpenFile:
        """The file that is open; another one when it had to be opened anew.

        :raises StoreUnavailable: if there is none now
        """
        if self._closed:
            raise StoreUnavailable("the store is closed")
        return self._keeper.file

    async def close(self) -> None:
        """Close all connections, the one that writes last: it folds the write-ahead log into the file."""
        if self._closed:
            return
        self._closed = True
        with anyio.CancelScope(shield=True):
            for task in self._tasks:
                task.cancel()
            await asyncio.wait(self._tasks)
            await self._keeper.close()

    async def probe(self) -> None:
        """Ask whether the file can be read."""
        await self.read("SELECT count(*) FROM sqlite_master", ())

    async def open_bucket(self, namespace: str, name: str) -> SqliteBucket:
        """Return the bucket; nothing is read or written."""
        return SqliteBucket(self, namespace, name)

    async def has_bucket(self, namespace: str, name: str) -> bool:
        """Return whether the bucket holds any key."""
        parameters = {"namespace": namespace, "bucket": name, "now": self.clock()}
        return bool(await self.read(statements.HAS_BUCKET, parameters))

    async def read(self, statement: str, parameters: Parameters) -> Rows:
        """Run a statement on one of the connections that read, beside any write that is under way."""
        file = self.file
        return await self._answered(file, file.read(statement, parameters))

    async def write(self, statement: str, parameters: Parameters) -> Rows:
        """Run a statement on the connection that writes; returns when the disk has it."""
        file = self.file
        return await self._answered(file, file.write(statement, parameters))

    async def _answered(self, file: OpenFile, operation: Coroutine[Any, Any, Rows]) -> Rows:
        """Await an operation; its errors become those of the contract."""
        try:
            return await operation
        except Broken as broken:
            self._keeper.lose(file, broken)
            raise StoreUnavailable(str(broken)) from broken
        except sqlite3.Error as error:
            if is_busy(error):
                raise Timeout("other processes keep the store locked") from error
            raise operation_failed(error) from error

    async def _purge_forever(self, every: float) -> None:
        while True:
            try:
                await self.purge()
            except StoreUnavailable:
                pass  # there is no file; the keeper has said so
            except Exception:
                logger.exception("deleting expired rows failed; trying again in %g s", every)
            await anyio.sleep(every)

    async def purge(self) -> int:
        """Delete the rows whose time to live has passed; return how many there were."""
        total = 0
        while True:
            rows = await self.write(statements.PURGE, {"now": self.clock(), "limit": PURGE_BATCH})
            total += len(rows)
            if len(rows) < PURGE_BATCH:
                return total


class SqliteBucket(Bucket):
    """One bucket."""

    def __init__(self, store: SqliteBackend, namespace: str, name: str) -> None:
        self._store = store
        self._namespace = namespace
        self._name = name

    def _at(self, key: str, **more: Any) -> dict[str, Any]:
        return {
            "namespace": self._namespace,
            "bucket": self._name,
            "key": key,
            "now": self._store.clock(),
            **more,
        }

    async def get(self, key: str) -> bytes | None:
        rows = await self._store.read(statements.GET, self._at(key))
        return rows[0][0] if rows else None

    async def exists(self, key: str) -> bool:
        return bool(await self._store.read(statements.EXISTS, self._at(key)))

    async def set(
        self, key: str, value: bytes, *, ttl_ms: int | None = None, if_not_exists: bool = False
    ) -> None:
        parameters = self._at(key, value=value)
        parameters["expires"] = None if ttl_ms is None else parameters["now"] + ttl_ms
        if not if_not_exists:
            await self._store.write(statements.SET, parameters)
        elif not await self._store.write(statements.SET_IF_ABSENT, parameters):
            raise PreconditionFailed("the key exists")

    async def delete(self, key: str) -> None:
        await self._store.write(statements.DELETE, self._at(key))

    def watch(self) -> AbstractAsyncContextManager[AsyncIterator[Change]]:
        return watch(self._store, self._namespace, self._name, self._store.watch_every)

    async def list_keys(self, prefix: str, cursor: str | None, limit: int) -> Page:
        rows = await self._store.read(
            statements.LIST,
            {
                "namespace": self._namespace,
                "bucket": self._name,
                "first": prefix if cursor is None else cursor + "\0",
                "end": _after_prefix(prefix),
                "now": self._store.clock(),
                "limit": limit + 1,
            },
        )
        keys = [key for (key,) in rows]
        return Page(keys) if len(keys) <= limit else Page(keys[:limit], keys[limit - 1])

    async def increment(self, key: str, delta: int, *, minimum: int = S64_MIN) -> int:
        rows = await self._store.write(statements.INCREMENT, self._at(key, delta=delta, minimum=minimum))
        return int(rows[0][0])

    async def current(self, key: str) -> Entry | None:
        rows = await self._store.read(statements.CURRENT, self._at(key))
        return Entry(*rows[0]) if rows else None

    async def swap(
        self,
        key: str,
        value: bytes,
        *,
        require_version: str | None = None,
        require_value: bytes | None = None,
    ) -> Swapped | Stale:
        for _, pause in zip(range(SWAP_ATTEMPTS), pauses(), strict=False):
            conditions = {"require_version": require_version, "require_value": require_value}
            if await self._store.write(statements.SWAP, self._at(key, value=value, **conditions)):
                return Swapped()
            entry = await self.current(key)
            if entry is None or require_version not in (None, entry.version):
                return Stale(entry)
            if require_value not in (None, entry.value):
                return Stale(entry)
            await anyio.sleep(pause)  # it changed back between the two statements
        raise Timeout("the key is written all the time")

    async def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        if not keys:
            return []
        parameters = [self._namespace, self._name, self._store.clock(), *keys]
        rows = await self._store.read(statements.get_many(len(keys)), parameters)
        found = {row[0]: row[1] for row in rows}
        return [found.get(key) for key in keys]

    async def set_many(self, items: Sequence[tuple[str, bytes]]) -> None:
        if items:
            parameters = [part for item in items for part in (self._namespace, self._name, *item)]
            await self._store.write(statements.set_many(len(items)), parameters)

    async def delete_many(self, keys: Sequence[str]) -> None:
        if keys:
            parameters = [self._namespace, self._name, *keys]
            await self._store.write(statements.delete_many(len(keys)), parameters)


def _after_prefix(prefix: str) -> str | bytes:
    """Return what sorts after every key with `prefix` and before every other that sorts after those.

    SQLite compares text as UTF-8, which sorts by code point; a blob sorts after any text.
    """
    stem = prefix.rstrip("\U0010ffff")
    if not stem:
        return b""
    following = ord(stem[-1]) + 1
    return stem[:-1] + chr(0xE000 if following == 0xD800 else following)
