"""What every key-value backend gets for free: limits, grants, deadlines, cursors and typed errors.

The interfaces (`wasi:keyvalue`, `wasmcloud:keyvalue`) put a `GuardedBucket` between guest and backend.
They differ in how an error looks to the guest, which is the one thing they bring: their `Dialect`.
"""

from __future__ import annotations

from asyncio import sleep
from collections import Counter
from collections.abc import Coroutine, Mapping, Sequence
from hashlib import blake2b
from typing import Annotated, Any

from pydantic import Field

from wasmplex.capabilities.keyvalue import (
    CASES,
    S64_MAX,
    S64_MIN,
    AccessDenied,
    Bucket,
    Entry,
    InvalidArgument,
    KeyValueBackend,
    NoSuchStore,
    Page,
    PlainBucket,
    QuotaExceeded,
    Stale,
    Swapped,
    Unsupported,
)
from wasmplex.errors import PluginError
from wasmplex.interfaces.keyvalue.rules import (
    MAX_ANSWER,
    MAX_ASKED,
    MAX_PAGE,
    MAX_TTL_MS,
    MAX_VALUE,
    check_batch,
    check_name,
)
from wasmplex.plugins.contracts import ImportRequest
from wasmplex.policy import Dialect, Guard, PolicySettings, Scope, operation
from wasmplex.policy.batches import sift
from wasmplex.policy.cursors import seal, unseal
from wasmplex.settings import Size

__all__ = ["GuardedBucket", "GuardedStore", "KeyValueSettings"]


class KeyValueSettings(PolicySettings):
    """What a key-value binding may say besides the settings of its backend."""

    buckets: tuple[str, ...] | None = None
    """The buckets that may be opened; any if absent. A table has a backend for each, instead of `backend`:
    `{ cache = "memory", store = { backend = "redis", url = "redis://..." } }`."""
    max_value: Annotated[Size, Field(ge=1, le=MAX_VALUE)] = 2**20
    """The largest value in bytes, at most 64 MiB."""


class _NotGranted(AccessDenied):
    configured = True


class GuardedStore:
    """The buckets of one binding.

    :param dialect: how errors look to the guest
    :param plugin: who brought the backend, for the log
    """

    __slots__ = ("backend", "guard", "scope", "settings")

    def __init__(
        self,
        backend: KeyValueBackend,
        settings: KeyValueSettings,
        scope: Scope,
        dialect: Dialect,
        plugin: str = "",
    ) -> None:
        self.backend = backend
        self.settings = settings
        self.scope = scope
        self.guard = Guard(
            CASES,
            dialect,
            timeout=settings.timeout,
            granted=scope.granted,
            circuit=backend.circuit,
            plugin=plugin,
            label=scope.label or "",
        )

    @classmethod
    def bind(cls, request: ImportRequest, workload: str, dialect: Dialect) -> GuardedStore:
        """Return the store for one import of a ``store`` interface.

        :raises wasmplex.errors.PluginError: if the binding's backend has not the contract that it claims
        """
        backend, settings = request.backend, request.settings
        if not isinstance(backend, KeyValueBackend) or not isinstance(settings, KeyValueSettings):
            raise PluginError(f"{type(backend).__name__} is no key-value backend", where=request.interface)
        namespace = settings.namespace or request.namespace
        return cls(
            backend,
            settings,
            Scope(workload, request.label, namespace, request.granted),
            dialect,
            request.plugin,
        )

    def check_size(self, value: bytes) -> None:
        """Refuse a value that is larger than the binding allows."""
        limit = self.settings.max_value
        if len(value) > limit:
            raise QuotaExceeded(f"a value of {len(value)} bytes is over the limit of {limit}")

    @operation("open", "store")
    async def open(self, identifier: str) -> GuardedBucket:
        """Open a bucket that the binding grants.

        :raises NoSuchStore: if it is not granted and holds nothing
        :raises AccessDenied: if it is not granted and exists
        """
        check_name(identifier)
        granted, namespace = self.settings.buckets, self.scope.namespace
        if granted is None or identifier in granted:
            return GuardedBucket(self, identifier, await self.backend.open_bucket(namespace, identifier))
        if await self.backend.has_bucket(namespace, identifier):
            raise _NotGranted("the configuration does not grant this bucket")
        raise NoSuchStore("there is no such bucket among those that the configuration grants")


class GuardedBucket:
    """A bucket as guests hold it: the operations of `Bucket`, checked, timed, errors in the dialect."""

    __slots__ = ("bucket", "guard", "name", "plain", "store")
    plain: PlainBucket
    """That of `bucket`, if the backend never waits."""

    def __init__(self, store: GuardedStore, name: str, bucket: Bucket) -> None:
        self.store = store
        self.name = name
        self.bucket = bucket
        self.guard = store.guard
        if bucket.plain is not None:
            self.plain = bucket.plain

    @operation("get", "store", returns=bytes | None)
    def get(self, key: str) -> Coroutine[Any, Any, bytes | None]:
        """See `Bucket.get`."""
        check_name(key)
        return self.bucket.get(key)

    @operation("exists", "store", returns=bool)
    def exists(self, key: str) -> Coroutine[Any, Any, bool]:
        """See `Bucket.exists`."""
        check_name(key)
        return self.bucket.exists(key)

    @operation("set", "store")
    def set(
        self, key: str, value: bytes, *, ttl_ms: int | None = None, if_not_exists: bool = False
    ) -> Coroutine[Any, Any, None]:
        """See `Bucket.set`."""
        self._check_item((key, value))
        if ttl_ms is not None:
            self._need("ttl")
            if ttl_ms < 1:
                raise InvalidArgument("ttl-ms must be 1 or more")
            ttl_ms = min(ttl_ms, MAX_TTL_MS)
        if if_not_exists:
            self._need("if-not-exists")
        return self.bucket.set(key, value, ttl_ms=ttl_ms, if_not_exists=if_not_exists)

    @operation("delete", "store")
    def delete(self, key: str) -> Coroutine[Any, Any, None]:
        """See `Bucket.delete`."""
        check_name(key)
        return self.bucket.delete(key)

    @operation("list-keys", "store")
    async def list_keys(self, prefix: str = "", cursor: str | None = None) -> Page:
        """Return a page of at most `MAX_PAGE` keys, an empty one only if it is the last."""
        check_name(prefix)
        tag = self._cursor_tag(prefix)
        inner = None if cursor is None else unseal(tag, cursor)
        if cursor is not None and inner is None:
            raise InvalidArgument("the cursor is not one that this listing returned")
        page = await self.bucket.list_keys(prefix, inner, MAX_PAGE)
        while not page.keys and page.cursor is not None:
            await sleep(0)  # pages for which nothing waits would keep everybody else waiting
            page = await self.bucket.list_keys(prefix, page.cursor, MAX_PAGE)
        return page if page.cursor is None else Page(page.keys, seal(tag, page.cursor))

    @operation("increment", "atomics", returns=int)
    def increment(self, key: str, delta: int, *, minimum: int = S64_MIN) -> Coroutine[Any, Any, int]:
        """See `Bucket.increment`."""
        self._need("increment")
        check_name(key)
        if not S64_MIN <= delta <= S64_MAX:
            raise InvalidArgument("the delta is not an s64")
        return self.bucket.increment(key, delta, minimum=minimum)

    @operation("current", "cas", returns=Entry | None)
    def current(self, key: str) -> Coroutine[Any, Any, Entry | None]:
        """See `Bucket.current`."""
        self._need("cas")
        check_name(key)
        return self.bucket.current(key)

    @operation("swap", "cas", returns=Swapped | Stale)
    def swap(
        self,
        key: str,
        value: bytes,
        *,
        require_version: str | None = None,
        require_value: bytes | None = None,
    ) -> Coroutine[Any, Any, Swapped | Stale]:
        """See `Bucket.swap`."""
        self._need("cas")
        self._check_item((key, value))
        if require_version is None and require_value is None:
            raise InvalidArgument("swap needs a condition: require-version, require-value or both")
        return self.bucket.swap(key, value, require_version=require_version, require_value=require_value)

    @operation("get-many", "batch")
    async def get_many(self, keys: Sequence[str]) -> list[tuple[str, bytes] | None]:
        """Return key and value by position, None where the key does not exist."""
        check_batch(keys)
        for key in keys:
            check_name(key)
        found = await self._found(Counter(keys))
        return [None if (value := found[key]) is None else (key, value) for key in keys]

    async def _found(self, counts: Mapping[str, int]) -> dict[str, bytes | None]:
        """Return what is under some keys, asked for a part at a time: nobody knows how much it is.

        :param counts: how often each key was named
        :raises QuotaExceeded: if the values are too much together, each as often as its key was named
        """
        found: dict[str, bytes | None] = {}
        largest = self.store.settings.max_value
        left, keys = max(MAX_ANSWER, largest), list(counts)
        step = max(MAX_ASKED // largest, 1)
        for start in range(0, len(keys), step):
            part = keys[start : start + step]
            found.update(zip(part, await self.bucket.get_many(part), strict=True))
            left -= sum(len(found[key] or b"") * counts[key] for key in part)
            if left < 0:
                raise QuotaExceeded("the values of a batch are too much together; ask for fewer at once")
        return found

    @operation("set-many", "batch")
    async def set_many(self, items: Sequence[tuple[str, bytes]]) -> None:
        """See `Bucket.set_many`; an item over a limit does not keep the others from being set."""
        check_batch(items)
        good, first = sift(items, self._check_item)
        await self.bucket.set_many(good)
        if first is not None:
            raise first

    @operation("delete-many", "batch")
    async def delete_many(self, keys: Sequence[str]) -> None:
        """See `Bucket.delete_many`; a name over the limit does not keep the others from being deleted."""
        check_batch(keys)
        good, first = sift(keys, check_name)
        await self.bucket.delete_many(good)
        if first is not None:
            raise first

    def _cursor_tag(self, prefix: str) -> bytes:
        scope = self.store.scope
        owner = (scope.workload, scope.label, scope.namespace, self.name, prefix)
        return blake2b(repr(owner).encode(), digest_size=12).digest()

    def _need(self, feature: str) -> None:
        if feature not in self.store.backend.features:
            raise Unsupported(feature)

    def _check_item(self, item: tuple[str, bytes]) -> None:
        check_name(item[0])
        self.store.check_size(item[1])
