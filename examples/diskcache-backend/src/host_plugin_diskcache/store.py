"""The store. diskcache is synchronous and has a connection for each thread, so there is one thread for it."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice
from typing import Any, TypeVar

import diskcache
from wasmplex.capabilities.keyvalue import (
    S64_MIN,
    Bucket,
    KeyValueBackend,
    Page,
    PreconditionFailed,
    next_count,
)
from wasmplex.plugin import BackendError

T = TypeVar("T")


class DiskCacheBackend(KeyValueBackend):
    features = frozenset({"ttl", "if-not-exists", "increment"})

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "diskcache")
        self.cache: Any = None

    @classmethod
    async def open(cls, directory: str, size_limit: int) -> DiskCacheBackend:
        backend = cls()
        try:
            make = partial(diskcache.Cache, directory, size_limit=size_limit)
            backend.cache = await backend.run(make)
        except Exception as error:
            backend._thread.shutdown(wait=False)
            raise BackendError("the diskcache directory cannot be opened", why=str(error)) from error
        return backend

    async def run(self, function: Callable[..., T], *args: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, function, *args)

    async def close(self) -> None:
        await self.run(self.cache.close)
        self._thread.shutdown(wait=False)

    async def open_bucket(self, namespace: str, name: str) -> DiskCacheBucket:
        return DiskCacheBucket(self, json.dumps([namespace, name]))

    async def has_bucket(self, namespace: str, name: str) -> bool:
        bucket = await self.open_bucket(namespace, name)
        return bool((await bucket.list_keys("", None, 1)).keys)


class DiskCacheBucket(Bucket):
    def __init__(self, backend: DiskCacheBackend, scope: str) -> None:
        self._run, self._cache, self._scope = backend.run, backend.cache, scope

    async def get(self, key: str) -> bytes | None:
        value: bytes | None = await self._run(self._cache.get, self._scope + key)
        return value

    async def set(
        self, key: str, value: bytes, *, ttl_ms: int | None = None, if_not_exists: bool = False
    ) -> None:
        seconds = None if ttl_ms is None else ttl_ms / 1000
        write = self._cache.add if if_not_exists else self._cache.set
        if not await self._run(partial(write, self._scope + key, value, expire=seconds, retry=True)):
            raise PreconditionFailed("the key exists")

    async def delete(self, key: str) -> None:
        await self._run(partial(self._cache.delete, self._scope + key, retry=True))

    async def list_keys(self, prefix: str, cursor: str | None, limit: int) -> Page:
        return await self._run(self._list, prefix, cursor, limit)

    def _list(self, prefix: str, cursor: str | None, limit: int) -> Page:
        start, cut = self._scope + prefix, len(self._scope)
        keys = (key[cut:] for key in self._cache.iterkeys() if key.startswith(start) and key in self._cache)
        found = list(islice((key for key in keys if cursor is None or key > cursor), limit + 1))
        return Page(found[:limit], found[limit - 1] if len(found) > limit else None)

    async def increment(self, key: str, delta: int, *, minimum: int = S64_MIN) -> int:
        return await self._run(self._increment, self._scope + key, delta, minimum)

    def _increment(self, key: str, delta: int, minimum: int) -> int:
        with self._cache.transact(retry=True):
            value, expires = self._cache.get(key, expire_time=True)
            total = next_count(value, delta, minimum)
            self._cache.set(key, b"%d" % total)
            if expires is not None:
                self._cache.touch(key, expire=expires - time.time())
        return total
