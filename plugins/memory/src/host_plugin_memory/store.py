"""The store: a dictionary for each bucket, and one bounded cache that counts what is in all of them.

No operation awaits anything, so each is atomic on the event loop.

Reading asks the bucket's dictionary alone. The cache is told of each entry and its size: it knows when the
store is full and, where that is wanted, which entry was used least recently. A value that is replaced by one
of the same size changes nothing that it counts.
"""

from __future__ import annotations

import time
from asyncio import sleep
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from itertools import count, islice, takewhile
from weakref import WeakValueDictionary

from cachetools import Cache, LRUCache
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
    Swapped,
    next_count,
)

from host_plugin_memory import MemorySettings
from host_plugin_memory.content import NEVER, Content, Expiry, Item, Place, Scope
from host_plugin_memory.watching import Watcher

__all__ = ["MemoryBackend"]

ENTRY_OVERHEAD = 512
"""Bytes that an entry takes besides its key and value; measured with CPython 3.11 and rounded down."""
AT_ONCE = 256
"""Entries that have expired of which one operation removes no more: however many do at the same time, nobody
waits for it. What is left does not exist either; it takes its room until one of the next operations."""


class MemoryBackend(KeyValueBackend):
    """All buckets of one open store."""

    clock: Callable[[], int]
    never_waits = True

    def __init__(self, settings: MemorySettings, features: frozenset[str]) -> None:
        self.features = features
        self.clock = lambda: time.monotonic_ns() // 1_000_000
        self.keeps_use = settings.eviction == "lru"
        """Whether it matters which entries are used."""
        kind: type[Cache[Place, Item]] = LRUCache if self.keeps_use else Cache
        self.cache = kind(settings.max_size, getsizeof=lambda item: item.size)
        self.expiry = Expiry()
        self.versions = count(1)
        self._settings = settings
        self._filled: dict[Scope, Content] = {}
        """Buckets with a key, or with somebody who watches."""
        self._known: WeakValueDictionary[Scope, Content] = WeakValueDictionary()
        """Those, and the ones that somebody has open."""

    def __repr__(self) -> str:
        return f"memory: {len(self.cache)} keys, {self.cache.currsize} of {self._settings.max_size} bytes"

    async def close(self) -> None:
        """Forget everything."""
        self.cache.clear()
        self.expiry.clear()
        for content in self._filled.values():
            content.items.clear()
            content.order.clear()
            for watcher in content.watchers:
                watcher.end()
        self._filled.clear()

    async def open_bucket(self, namespace: str, name: str) -> MemoryBucket:
        """Return the bucket; it takes no memory until a key is written, but while it is open."""
        return MemoryBucket(self, self._content((namespace, name)))

    async def has_bucket(self, namespace: str, name: str) -> bool:
        """Return whether the bucket holds any key."""
        self.expire()
        content = self._known.get((namespace, name))
        items = [] if content is None else [*content.items.values()]
        for start in range(0, len(items), AT_ONCE):
            if any(map(self.lives, items[start : start + AT_ONCE])):
                return True
            await sleep(0)  # most have expired, and are not removed yet
        return False

    def _content(self, scope: Scope) -> Content:
        content = self._known.get(scope)
        if content is None:
            content = self._known[scope] = Content(scope)
        return content

    def find(self, content: Content, key: str) -> Item | None:
        """Return what exists under a key, which counts as using it."""
        item = content.items.get(key)
        if item is None or not self.lives(item):
            return None
        if self.keeps_use:
            self.cache[item.place]  # it is the most recently used now
        return item

    def lives(self, item: Item) -> bool:
        """Return whether an entry has not expired."""
        return item.expires is NEVER or item.expires > self.clock()

    def write(self, content: Content, key: str, value: bytes, expires: float = NEVER) -> None:
        """Put a value, with a new version.

        :raises QuotaExceeded: if there is no room for it
        """
        now = self.clock() if self.expiry else 0
        self._expire(now)
        size = len(key.encode()) + len(value) + ENTRY_OVERHEAD
        item = self.find(content, key)  # it is used: it is not evicted for its successor
        if item is None and key in content.items:
            self._remove(content.items[key])  # it has expired
        self._make_room(size, item, now)
        if item is None:
            item = content.items[key] = Item((content, key), value, next(self.versions), NEVER, size)
            content.order.add(key)
            self._filled[content.scope] = content
        else:
            item.value, item.version, item.size = value, next(self.versions), size
        self.cache[item.place] = item
        if item.expires != expires:
            item.expires = expires
            if expires is not NEVER:
                self.expiry.add(item)
        if content.watchers:
            content.tell(Change(key, value))

    def remove(self, content: Content, key: str) -> None:
        """Remove what may exist under a key."""
        self.expire()
        if (item := content.items.get(key)) is not None:
            self._remove(item)

    def expire(self) -> None:
        """Remove some of what has expired."""
        if self.expiry:
            self._expire(self.clock())

    def _expire(self, now: int) -> bool:
        """Remove some of what had expired by a moment; return whether there was any."""
        if not self.expiry or self.expiry.next > now:
            return False
        for item in self.expiry.due(now, AT_ONCE):
            self._remove(item)
        return True

    def keys(self, content: Content, prefix: str, after: str | None) -> Iterator[str]:
        """Return the keys of a bucket that start with `prefix`, in order, from the one after `after` on.

        Some may have expired.
        """
        self.expire()
        order = content.order.irange(prefix if after is None else after, inclusive=(after is None, True))
        return takewhile(lambda key: key.startswith(prefix), order)

    def _make_room(self, size: int, old: Item | None, now: int) -> None:
        """Make room for an entry in place of another, which has been found to live after `now`."""
        cache, limits = self.cache, self._settings
        if size > limits.max_size:
            raise QuotaExceeded("the entry is larger than the whole store may be")
        if old is not None:
            size -= old.size
        entries = 1 if old is None else 0
        while cache.currsize + size > limits.max_size or len(cache) + entries > limits.max_entries:
            if self._expire(now):
                continue
            if not self.keeps_use:
                raise QuotaExceeded("the store is full")
            self._forget(cache.popitem()[1])

    def _remove(self, item: Item) -> None:
        del self.cache[item.place]
        self._forget(item)

    def _forget(self, item: Item) -> None:
        content, key = item.place
        del content.items[key]
        content.order.remove(key)
        self._let_go(content)
        content.tell(Change(key, None))

    def _let_go(self, content: Content) -> None:
        if not content.items and not content.watchers:
            self._filled.pop(content.scope, None)

    @asynccontextmanager
    async def watch(self, content: Content) -> AsyncIterator[AsyncIterator[Change]]:
        """Return the changes of a bucket while the context lasts."""
        watcher = Watcher()
        content.watchers.append(watcher)
        self._filled[content.scope] = content
        try:
            yield watcher
        finally:
            content.watchers.remove(watcher)
            self._let_go(content)
            watcher.close()


class PlainMemory:
    """The operations that guests make most often. See `wasmplex.capabilities.keyvalue.PlainBucket`."""

    __slots__ = ("_content", "_items", "_store")

    def __init__(self, store: MemoryBackend, content: Content) -> None:
        self._store = store
        self._content = content
        self._items = content.items

    def get(self, key: str) -> bytes | None:
        item = self._items.get(key)
        if item is None:
            return None
        store = self._store
        if item.expires is not NEVER and item.expires <= store.clock():
            return None
        if store.keeps_use:
            store.cache[item.place]  # it is the most recently used now
        return item.value

    def exists(self, key: str) -> bool:
        item = self._items.get(key)
        return item is not None and (item.expires is NEVER or item.expires > self._store.clock())

    def set(self, key: str, value: bytes, *, ttl_ms: int | None = None, if_not_exists: bool = False) -> None:
        store = self._store
        item = self._items.get(key)
        if (
            item is not None
            and item.expires is NEVER
            and len(item.value) == len(value)
            and not self._content.watchers
            and ttl_ms is None
            and not if_not_exists
        ):
            # Nothing that is counted changes, and nobody is told.
            if store.expiry:
                store.expire()
            if store.keeps_use:
                store.cache[item.place]  # it is the most recently used now
            item.value, item.version = value, next(store.versions)
            return
        if if_not_exists and self.exists(key):
            raise PreconditionFailed("the key exists")
        store.write(self._content, key, value, NEVER if ttl_ms is None else store.clock() + ttl_ms)

    def delete(self, key: str) -> None:
        self._store.remove(self._content, key)


class MemoryBucket(Bucket):
    """One bucket."""

    plain: PlainMemory

    def __init__(self, store: MemoryBackend, content: Content) -> None:
        self._store = store
        self._content = content
        self.plain = PlainMemory(store, content)

    async def get(self, key: str) -> bytes | None:
        return self.plain.get(key)

    async def exists(self, key: str) -> bool:
        return self.plain.exists(key)

    async def set(
        self, key: str, value: bytes, *, ttl_ms: int | None = None, if_not_exists: bool = False
    ) -> None:
        self.plain.set(key, value, ttl_ms=ttl_ms, if_not_exists=if_not_exists)

    async def delete(self, key: str) -> None:
        self.plain.delete(key)

    async def list_keys(self, prefix: str, cursor: str | None, limit: int) -> Page:
        store, items = self._store, self._content.items
        keys = list(islice(store.keys(self._content, prefix, cursor), limit + 1))
        following = keys[limit - 1] if len(keys) > limit else None
        return Page([key for key in keys[:limit] if store.lives(items[key])], following)

    def watch(self) -> AbstractAsyncContextManager[AsyncIterator[Change]]:
        return self._store.watch(self._content)

    async def increment(self, key: str, delta: int, *, minimum: int = S64_MIN) -> int:
        old = self._store.find(self._content, key)
        total = next_count(old.value if old else None, delta, minimum)
        self._store.write(self._content, key, b"%d" % total, old.expires if old else NEVER)
        return total

    async def current(self, key: str) -> Entry | None:
        item = self._store.find(self._content, key)
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
        self._store.write(self._content, key, value)
        return Swapped()
