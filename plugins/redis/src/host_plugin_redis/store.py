"""The store: a client, and buckets that turn operations into commands."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import AbstractAsyncContextManager
from hashlib import sha1
from itertools import count
from typing import Any, TypeAlias, TypeVar

import anyio
from redis.asyncio import RedisCluster
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
    Unsupported,
)
from wasmplex.capabilities.keyvalue.listing import Windows

from host_plugin_redis import RedisSettings
from host_plugin_redis.batches import Batches, ClusterBatches, SingleBatches, run
from host_plugin_redis.failures import DRIVER_ERRORS, operation_failed
from host_plugin_redis.layout import Places
from host_plugin_redis.listing import BucketListing
from host_plugin_redis.scripts import CURRENT, INCREMENT, SET, SWAP, Script
from host_plugin_redis.urls import Target
from host_plugin_redis.watching import watch
from host_plugin_redis.wire import Wire
from host_plugin_redis.wires import Wires

__all__ = ["Client", "RedisBackend"]

Client: TypeAlias = Wires | RedisCluster

T = TypeVar("T")


class RedisBackend(KeyValueBackend):
    """One open store."""

    def __init__(
        self, client: Client, target: Target, settings: RedisSettings, features: frozenset[str]
    ) -> None:
        self.features = features
        self.client: Any = client
        self.batches: Batches = (
            ClusterBatches(client) if isinstance(client, RedisCluster) else SingleBatches(client)
        )
        self.windows = Windows()
        self.timeout = settings.timeout
        self.db = target.db
        self._target = target
        self._plain = settings.layout == "plain"
        self._closed = False
        self._token = secrets.token_hex(8)
        self._tokens = count(1)

    def __repr__(self) -> str:
        return f"redis: {self._target}, {'closed' if self._closed else self.layout}"

    @property
    def layout(self) -> str:
        """Which of the two layouts it reads and writes."""
        return f"layout {'plain' if self._plain else 'wasmplex'}"

    async def close(self) -> None:
        """Close all connections."""
        self._closed = True
        with anyio.CancelScope(shield=True):
            await self.client.aclose()

    async def probe(self) -> None:
        """Ask the server whether it answers."""
        with anyio.fail_after(self.timeout):
            await self.command("PING")

    async def open_bucket(self, namespace: str, name: str) -> RedisBucket:
        """Return the bucket; nothing is sent."""
        return RedisBucket(self, Places(namespace, name, plain=self._plain))

    async def has_bucket(self, namespace: str, name: str) -> bool:
        """Return whether the bucket holds any key. It scans the database."""
        return await self.guarded(self._any(Places(namespace, name, plain=self._plain).pattern("")))

    async def guarded(self, operation: Awaitable[T]) -> T:
        """Await what talks to the server; its errors become typed.

        :raises wasmplex.capabilities.keyvalue.KeyValueError: for everything that the driver raises
        """
        try:
            return await operation
        except DRIVER_ERRORS as error:
            if self._closed:
                raise StoreUnavailable("the store is closed") from error
            raise operation_failed(error) from error

    async def command(self, *words: Any) -> Any:
        """Send one command."""
        return await self.guarded(self.client.execute_command(*words))

    async def script(self, script: Script, places: Sequence[bytes], *arguments: Any) -> Any:
        """Run a script."""
        return await self.guarded(run(self.client, script, places, *arguments))

    async def subscribe(self, pattern: bytes) -> Wire:
        """Return a connection that receives the messages of channels that match."""
        with anyio.fail_after(self.timeout):
            wire: Wire = await self.client.subscribe(pattern)
        return wire

    def fresh(self) -> str:
        """Return a token that no version had before."""
        return f"{self._token}{next(self._tokens):x}"

    async def _any(self, pattern: bytes) -> bool:
        async for places in self.batches.scan(pattern):
            if places:
                return True
        return False


class RedisBucket(Bucket):
    """One bucket."""

    __slots__ = ("_places", "_store")

    def __init__(self, store: RedisBackend, places: Places) -> None:
        self._store = store
        self._places = places

    async def get(self, key: str) -> bytes | None:
        value: bytes | None = await self._store.command("GET", self._places.value(key))
        return value

    async def exists(self, key: str) -> bool:
        return bool(await self._store.command("EXISTS", self._places.value(key)))

    async def set(
        self, key: str, value: bytes, *, ttl_ms: int | None = None, if_not_exists: bool = False
    ) -> None:
        places = self._places.both(key)
        ttl = "" if ttl_ms is None else str(ttl_ms)
        if not await self._store.script(SET, places, value, ttl, "1" if if_not_exists else ""):
            raise PreconditionFailed("the key exists")

    async def delete(self, key: str) -> None:
        await self._store.command("DEL", *self._places.both(key))

    async def list_keys(self, prefix: str, cursor: str | None, limit: int) -> Page:
        listing = BucketListing(self._store.batches, self._places, prefix)
        return await self._store.guarded(self._store.windows.page(listing, cursor, limit))

    async def increment(self, key: str, delta: int, *, minimum: int = S64_MIN) -> int:
        low = "" if minimum <= S64_MIN else str(minimum)
        return int(await self._store.script(INCREMENT, self._places.both(key), delta, low))

    async def current(self, key: str) -> Entry | None:
        self._need_versions()
        answer = await self._store.script(CURRENT, self._places.both(key), self._store.fresh())
        return None if answer is None else _entry(answer)

    async def swap(
        self,
        key: str,
        value: bytes,
        *,
        require_version: str | None = None,
        require_value: bytes | None = None,
    ) -> Swapped | Stale:
        self._need_versions()
        token, _, digest = (require_version or "").partition(".")
        if require_version is not None and not (token and digest):
            token, digest = "none", "none"  # it cannot have come from here
        answer = await self._store.script(
            SWAP,
            self._places.both(key),
            value,
            self._store.fresh(),
            token,
            digest,
            "" if require_value is None else "1",
            require_value or b"",
        )
        if answer == 1:
            return Swapped()
        return Stale(None if answer is None else _entry(answer))

    def watch(self) -> AbstractAsyncContextManager[AsyncIterator[Change]]:
        if "watch" not in self._store.features:
            raise Unsupported("watch")
        return watch(self._store, self._places, self.get)

    async def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        if not keys:
            return []
        return await self._store.guarded(self._store.batches.get([self._places.value(key) for key in keys]))

    async def set_many(self, items: Sequence[tuple[str, bytes]]) -> None:
        if items:
            places = [self._places.both(key) for key, _ in items]
            await self._store.guarded(self._store.batches.set(places, [value for _, value in items]))

    async def delete_many(self, keys: Sequence[str]) -> None:
        if keys:
            await self._store.guarded(self._store.batches.delete([self._places.both(key) for key in keys]))

    def _need_versions(self) -> None:
        if self._places.plain:
            raise Unsupported("cas")


def _entry(answer: Sequence[bytes]) -> Entry:
    value, token = answer
    return Entry(value, f"{token.decode()}.{sha1(value, usedforsecurity=False).hexdigest()}")
