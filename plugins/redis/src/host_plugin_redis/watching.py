"""Watching a bucket by the server's keyspace notifications."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio
from wasmplex.capabilities.keyvalue import Change

from host_plugin_redis.failures import DRIVER_ERRORS, operation_failed
from host_plugin_redis.layout import Places, escape

if TYPE_CHECKING:
    from host_plugin_redis.store import RedisBackend

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
    subscription: Any = store.client.pubsub()
    try:
        with anyio.fail_after(store.timeout):
            await store.guarded(subscription.psubscribe(escape(channel) + places.pattern("")))
            await store.guarded(subscription.get_message(timeout=None))  # that it is in force
        yield _changes(subscription, channel, places, get)
    finally:
        with anyio.CancelScope(shield=True):
            await subscription.aclose()


async def _changes(
    subscription: Any, channel: bytes, places: Places, get: Callable[[str], Awaitable[bytes | None]]
) -> AsyncIterator[Change]:
    while True:
        try:
            message = await subscription.get_message(ignore_subscribe_messages=True, timeout=None)
        except DRIVER_ERRORS as error:
            raise operation_failed(error) from error
        if message is None or message["type"] != "pmessage":
            continue
        key = places.key(message["channel"][len(channel) :])
        event = message["data"]
        if key is None or event in _SILENT:
            continue
        value = None if event in _GONE else await get(key)
        if value is not None or event in _GONE:  # written and gone again: the deletion is told next
            yield Change(key, value)
