"""The store: one bounded cache for all buckets, and the order of each bucket's keys.

No operation awaits anything, so each is atomic on the event loop. Inside a mutation the cache's clock stands
still (``with self.cache.timer``): what expires is then removed by `Store.expire` alone, which tells the
order of keys, and never by the cache on the side.
"""

from __future__ import annotations

import math
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from itertools import count, islice, takewhile
from typing import NamedTuple, TypeAlias

import anyio
from cachetools import Cache, TLRUCache
from sortedcontainers import SortedList
from wasmplex.capabilities.keyvalue import (
    S64_MIN,
    Bucket,
    Change,
    Entry,
    KeyValueBackend,
    Page,
    PreconditionFailed,
    QuotaExceeded,
    Stale,
    StoreUnavailable,
    Swapped,
    next_count,
)

from host_plugin_memory import MemorySettings

__all__ = ["MemoryBackend"]

ENTRY_OVERHEAD = 512
"""Bytes that an entry takes besides its key and value; measured with CPython 3.11 and rounded down."""

MAX_UNTOLD = 10_000
"""Changes that wait for a watcher."""

Scope: TypeAlias = tuple[str, str]
"""Namespace and name of a bucket."""
Place: TypeAlias = tuple[Scope, str]
"""A bucket and a key in it."""


class Item(NamedTuple):
    """What is kept under a key; `expires` is the millisecond from which on it does not exist."""

    value: bytes
    version: int
    expires: float
    size: int


class Entries(TLRUCache[Place, Item]):
    """The cache. Its size and length count what has expired until `MemoryBackend.expire` removes it.

    Those of `TLRUCache` look for expired entries each time, which here has been done already.
    """

    currsize = Cache.currsize
    __len__ = Cache.__len__


class MemoryBackend(KeyValueBackend):
    """All buckets of one open store."""

    clock: Callable[[], int]

    def __init__(self, settings: MemorySettings, features: frozenset[str]) -> None:
        self.features = features
        self.clock = lambda: time.monotonic_ns() // 1_000_000
        self.cache = Entries(
            settings.max_size,
            ttu=lambda place, item, now: item.expires,
            timer=lambda: self.clock(),
            getsizeof=lambda item: item.size,
        )
        self._settings = settings
        self._order: dict[Scope, SortedList] = {}
        self._watchers: dict[Scope, list[Watcher]] = {}
        self._versions = count(1)

    def __repr__(self) -> str:
        return f"memory: {len(self.cache)} keys, {self.cache.currsize} of {self._settings.max_size} bytes"

    async def close(self) -> None:
        """Forget everything."""
        self.cache.clear()
        self._order.clear()
        for watchers in self._watchers.values():
            for watcher in watchers:
                watcher.end()

    async def open_bucket(self, namespace: str, name: str) -> MemoryBucket:
        """Return the bucket; it takes no memory until a key is written."""
        return MemoryBucket(self, (namespace, name))

    async def has_bucket(self, namespace: str, name: str) -> bool:
        """Return whether the bucket holds any key."""
        self.expire()
        return (namespace, name) in self._order

    def find(self, place: Place) -> Item | None:
        """Return what exists at `place`."""
        try:
            return self.cache[place]
        except KeyError:
            return None

    def write(self, place: Place, value: bytes, expires: float = math.inf) -> None:
        """Put a value, with a new version.

        :raises QuotaExceeded: if there is no room for it
        """
        with self.cache.timer:
            self.expire()
            size = len(place[1].encode()) + len(value) + ENTRY_OVERHEAD
            old = self.find(place)  # makes it the most recently used: it is not evicted for its successor
            self._make_room(size, old)
            if old is None:
                self._order.setdefault(place[0], SortedList()).add(place[1])
            self.cache[place] = Item(value, next(self._versions), expires, size)
            self._tell(place[0], Change(place[1], value))

    def remove(self, place: Place) -> None:
        """Remove what may exist at `place`."""
        with self.cache.timer:
            self.expire()
            if self.cache.pop(place, None) is not None:
                self._forget(place)

    def expire(self) -> None:
        """Remove what has expired."""
        for place, _ in self.cache.expire():
            self._forget(place)

    def keys(self, scope: Scope, prefix: str, after: str | None) -> Iterator[str]:
        """Return the keys of a bucket that start with `prefix`, in order, from the one after `after` on."""
        self.expire()
        order = self._order.get(scope, ())
        if order:
            order = order.irange(prefix if after is None else after, inclusive=(after is None, True))
        return takewhile(lambda key: key.startswith(prefix), order)

    def _make_room(self, size: int, old: Item | None) -> None:
        cache, limits = self.cache, self._settings
        if size > limits.max_size:
            raise QuotaExceeded("the entry is larger than the whole store may be")
        if old is not None:
            size -= old.size
        entries = 1 if old is None else 0
        while cache.currsize + size > limits.max_size or len(cache) + entries > limits.max_entries:
            if limits.eviction == "none":
                raise QuotaExceeded("the store is full")
            self._forget(cache.popitem()[0])

    def _forget(self, place: Place) -> None:
        scope, key = place
        order = self._order[scope]
        order.remove(key)
        if not order:
            del self._order[scope]
        self._tell(scope, Change(key, None))

    def _tell(self, scope: Scope, change: Change) -> None:
        for watcher in self._watchers.get(scope, ()):
            watcher.tell(change)

    @asynccontextmanager
    async def watch(self, scope: Scope) -> AsyncIterator[AsyncIterator[Change]]:
        """Return the changes of a bucket while the context lasts."""
        watcher = Watcher()
        self._watchers.setdefault(scope, []).append(watcher)
        try:
            yield watcher
        finally:
            self._watchers[scope].remove(watcher)
            if not self._watchers[scope]:
                del self._watchers[scope]
            watcher.close()


class Watcher(AsyncIterator[Change]):
    """The changes of a bucket, for somebody who watches it."""

    def __init__(self) -> None:
        self._send, self._receive = anyio.create_memory_object_stream[Change](MAX_UNTOLD)

    async def __anext__(self) -> Change:
        try:
            return await self._receive.receive()
        except anyio.EndOfStream:
            reason = f"the store was closed, or the watcher was {MAX_UNTOLD} changes late"
            raise StoreUnavailable(reason) from None

    def tell(self, change: Change) -> None:
        """Hand over a change; who is too slow for so many is told no more."""
        try:
            self._send.send_nowait(change)
        except (anyio.WouldBlock, anyio.ClosedResourceError):
            self.end()

    def end(self) -> None:
        """End the changes, once those handed over are told."""
        self._send.close()

    def close(self) -> None:
        """Release everything."""
        self._send.close()
        self._receive.close()


class MemoryBucket(Bucket):
    """One bucket."""

    __slots__ = ("_scope", "_store")

    def __init__(self, store: MemoryBackend, scope: Scope) -> None:
        self._store = store
        self._scope = scope

    async def get(self, key: str) -> bytes | None:
        try:
            return self._store.cache[self._scope, key].value
        except KeyError:
            return None

    async def exists(self, key: str) -> bool:
        return (self._scope, key) in self._store.cache

    async def set(
        self, key: str, value: bytes, *, ttl_ms: int | None = None, if_not_exists: bool = False
    ) -> None:
        place = self._scope, key
        if if_not_exists and place in self._store.cache:
            raise PreconditionFailed("the key exists")
        self._store.write(place, value, math.inf if ttl_ms is None else self._store.clock() + ttl_ms)

    async def delete(self, key: str) -> None:
        self._store.remove((self._scope, key))

    async def list_keys(self, prefix: str, cursor: str | None, limit: int) -> Page:
        keys = list(islice(self._store.keys(self._scope, prefix, cursor), limit + 1))
        return Page(keys) if len(keys) <= limit else Page(keys[:limit], keys[limit - 1])

    def watch(self) -> AbstractAsyncContextManager[AsyncIterator[Change]]:
        return self._store.watch(self._scope)

    async def increment(self, key: str, delta: int, *, minimum: int = S64_MIN) -> int:
        old = self._store.find((self._scope, key))
        total = next_count(old.value if old else None, delta, minimum)
        self._store.write((self._scope, key), b"%d" % total, old.expires if old else math.inf)
        return total

    async def current(self, key: str) -> Entry | None:
        item = self._store.find((self._scope, key))
        return None if item is None else Entry(item.value, str(item.version))

    async def swap(
        self,
        key: str,
        value: bytes,
        *,
        require_version: str | None = None,
        require_value: bytes | None = None,
    ) -> Swapped | Stale:
        entry = await self.current(key)
        if entry is None or require_version not in (None, entry.version):
            return Stale(entry)
        if require_value not in (None, entry.value):
            return Stale(entry)
        self._store.write((self._scope, key), value)
        return Swapped()
