"""Watching a bucket by the server's keyspace notifications."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING

from wasmplex.capabilities.keyvalue import Change

from host_plugin_redis.failures import DRIVER_ERRORS, operation_failed
from host_plugin_redis.layout import Places, escape

if TYPE_CHECKING:
    from host_plugin_redis.store import RedisBackend
    from host_plugin_redis.wire import Wire

__all__ = ["watch"]

_GONE = {b"del", b"expired", b"evicted", b"rename_from", b"move_from"}
_SILENT = {b"expire", b"persist"}


@asynccontextmanager
async def watch(
    store: RedisBackend, places: Places, get: Callable[[str], Awaitable[bytes | None]]
) -> AsyncIterator[AsyncIterator[Change]]:
    """Return the changes of a bucket.

    The value is read when the notification comes, so of two quick writes the later one may be told twice.
    When the connection is lost the changes end with ``StoreUnavailable``: the server keeps none for later.
    """
    channel = b"__keyspace@%d__:" % store.db
    wire = await store.guarded(store.subscribe(escape(channel) + places.pattern("")))
    try:
        async with aclosing(_changes(wire, channel, places, get)) as changes:
            yield changes
    finally:
        wire.abort()


async def _changes(
    wire: Wire, channel: bytes, places: Places, get: Callable[[str], Awaitable[bytes | None]]
) -> AsyncGenerator[Change, None]:
    while True:
        try:
            _, _, name, event = await wire.pushed()
        except DRIVER_ERRORS as error:
            raise operation_failed(error) from error
        key = places.key(name[len(channel) :])
        if key is None or event in _SILENT:
            continue
        value = None if event in _GONE else await get(key)
        if value is not None or event in _GONE:  # written and gone again: the deletion is told next
            yield Change(key, value)
