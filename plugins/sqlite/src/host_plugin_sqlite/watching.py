"""Watching a bucket, whichever process writes to it: triggers in the file keep a log of changes.

The tables and triggers are made when somebody watches for the first time. A row of ``watcher`` is a lease:
while there is one for a bucket its changes are logged, and each watcher asks the log again and again. What
every watcher has seen is deleted, and so is the lease of a watcher that has not been heard of for long.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import Any, Protocol
from uuid import uuid4

import anyio
from wasmplex.capabilities.keyvalue import Change, KeyValueError, StoreUnavailable

from host_plugin_sqlite.connection import Parameters, Rows

__all__ = ["Store", "watch"]

LEASE = 60.0
"""Seconds after which a watcher counts as gone."""
HEARTBEAT = 15.0
"""Seconds after which a watcher is heard of again, at the latest."""
PAGE = 16
"""Changes that are read at once: few, for each may have a large value."""
TRIM_AFTER = 500
"""Changes after which the log is trimmed."""

_LAYOUT = (
    """
    CREATE TABLE IF NOT EXISTS watcher (
        id        TEXT PRIMARY KEY,
        namespace TEXT NOT NULL,
        bucket    TEXT NOT NULL,
        seen      INTEGER NOT NULL,  -- the last change it was told of
        alive     REAL NOT NULL      -- seconds since the epoch when it was last heard of
    )
    """,
    "CREATE INDEX IF NOT EXISTS watcher_bucket ON watcher (namespace, bucket)",
    """
    CREATE TABLE IF NOT EXISTS change (
        seq       INTEGER PRIMARY KEY AUTOINCREMENT,
        namespace TEXT NOT NULL,
        bucket    TEXT NOT NULL,
        key       TEXT NOT NULL,
        value     BLOB               -- null for a key that was deleted
    )
    """,
    "CREATE INDEX IF NOT EXISTS change_bucket ON change (namespace, bucket, seq)",
    # Rows are replaced, never updated; what is replaced fires no trigger of deleting.
    """
    CREATE TRIGGER IF NOT EXISTS change_insert AFTER INSERT ON entry
    WHEN EXISTS (SELECT 1 FROM watcher WHERE namespace = new.namespace AND bucket = new.bucket)
    BEGIN
        INSERT INTO change (namespace, bucket, key, value)
        VALUES (new.namespace, new.bucket, new.key, new.value);
    END
    """,
    """
    CREATE TRIGGER IF NOT EXISTS change_delete AFTER DELETE ON entry
    WHEN EXISTS (SELECT 1 FROM watcher WHERE namespace = old.namespace AND bucket = old.bucket)
    BEGIN
        INSERT INTO change (namespace, bucket, key) VALUES (old.namespace, old.bucket, old.key);
    END
    """,
)

_BEGIN = """
    INSERT INTO watcher SELECT :id, :namespace, :bucket,
    coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'change'), 0), :now
    RETURNING seen
"""
_NEXT = """
    SELECT seq, key, value FROM change WHERE namespace = :namespace AND bucket = :bucket AND seq > :seen
    ORDER BY seq LIMIT :limit
"""
_ALIVE = "UPDATE watcher SET seen = :seen, alive = :now WHERE id = :id RETURNING id"
_END = "DELETE FROM watcher WHERE id = :id"
_FORGET = "DELETE FROM watcher WHERE alive < :before"
_TRIM = """
    DELETE FROM change WHERE NOT EXISTS (
        SELECT 1 FROM watcher WHERE watcher.namespace = change.namespace AND watcher.bucket = change.bucket
        AND watcher.seen < change.seq
    )
"""


class Store(Protocol):
    """What is needed of the store."""

    @property
    def file(self) -> object:
        """The file that is open."""

    def read(self, statement: str, parameters: Parameters) -> Awaitable[Rows]:
        """Run a statement that reads."""

    def write(self, statement: str, parameters: Parameters) -> Awaitable[Rows]:
        """Run a statement that writes."""


@asynccontextmanager
async def watch(
    store: Store, namespace: str, bucket: str, every: float
) -> AsyncIterator[AsyncIterator[Change]]:
    """Return the changes of a bucket while the context lasts.

    :param every: seconds between two looks at the log while nothing happens
    """
    file = store.file
    for statement in _LAYOUT:
        await store.write(statement, ())
    lease: dict[str, Any] = {"id": str(uuid4()), "namespace": namespace, "bucket": bucket}
    [(seen,)] = await store.write(_BEGIN, {**lease, "now": time.time()})
    try:
        yield _changes(store, file, lease, seen, every)
    finally:
        with anyio.move_on_after(HEARTBEAT, shield=True):
            await _end(store, file, lease)


async def _end(store: Store, file: object, lease: dict[str, Any]) -> None:
    try:
        if store.file is file:
            await store.write(_END, lease)
            await _trim(store)
    except KeyValueError:
        pass  # the store is closed or out of reach: the lease runs out


async def _trim(store: Store) -> None:
    await store.write(_FORGET, {"before": time.time() - LEASE})
    await store.write(_TRIM, ())


async def _changes(
    store: Store, file: object, lease: dict[str, Any], seen: int, every: float
) -> AsyncIterator[Change]:
    heard, told = time.monotonic(), 0
    while True:
        if store.file is not file:
            raise StoreUnavailable("the file was opened anew: what changed meanwhile is not known")
        where = {**lease, "seen": seen, "limit": PAGE}
        rows = await store.read(_NEXT, where)
        for seen, key, value in rows:  # noqa: B007  the last one counts
            yield Change(key, value)
        told += len(rows)
        if told >= TRIM_AFTER or time.monotonic() - heard > HEARTBEAT:
            if not await store.write(_ALIVE, {**lease, "seen": seen, "now": time.time()}):
                raise StoreUnavailable(f"the watch lapsed: it was not heard of for {LEASE:g} s")
            await _trim(store)
            heard, told = time.monotonic(), 0
        if not rows:
            await anyio.sleep(every)
