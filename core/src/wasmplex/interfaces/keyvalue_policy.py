"""What every key-value backend gets for free: limits, grants, deadlines, cursors and typed errors.

The interfaces (`wasi:keyvalue`, `wasmcloud:keyvalue`) put a `GuardedBucket` between guest and backend.
They differ in how an error looks to the guest, which is the one thing they bring: their `Dialect`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from types import UnionType
from typing import Annotated, Any, Concatenate, ParamSpec, Protocol, TypeAlias, TypeVar

from pydantic import Field

from wasmplex.capabilities.keyvalue import (
    S64_MAX,
    S64_MIN,
    AccessDenied,
    Bucket,
    Entry,
    InvalidArgument,
    KeyValueBackend,
    KeyValueError,
    NoSuchStore,
    Page,
    QuotaExceeded,
    Stale,
    StoreUnavailable,
    Swapped,
    Unsupported,
)
from wasmplex.errors import PluginError
from wasmplex.interfaces.deadline import within
from wasmplex.interfaces.keyvalue_rules import (
    MAX_PAGE,
    MAX_TTL_MS,
    MAX_VALUE,
    check_batch,
    check_name,
    seal_cursor,
    sift,
    typed,
    unseal_cursor,
)
from wasmplex.plugins.circuit import UNAVAILABLE, Circuit
from wasmplex.plugins.contracts import ImportRequest
from wasmplex.settings import Duration, Settings, Size

__all__ = ["Dialect", "GuardedBucket", "GuardedStore", "KeyValueSettings", "Scope"]

P = ParamSpec("P")
T = TypeVar("T")

Dialect: TypeAlias = Callable[[str, KeyValueError], Exception]
"""Turns the error of a named operation into what the interface raises for it."""


class KeyValueSettings(Settings):
    """What a key-value binding may say besides the settings of its backend."""

    buckets: tuple[str, ...] | None = None
    """The buckets that may be opened; any if absent."""
    max_value: Annotated[Size, Field(ge=1, le=MAX_VALUE)] = 2**20
    """The largest value in bytes, at most 64 MiB."""
    timeout: Annotated[Duration, Field(gt=0)] = 5.0
    """How long one operation may take."""
    namespace: str | None = None
    """Bindings with one backend and one namespace share buckets; ``<workload>/<label>`` if absent."""


@dataclass(frozen=True, slots=True)
class Scope:
    """Whom a binding belongs to; a cursor is good within the scope it came from.

    :ivar namespace: where its buckets are kept
    :ivar granted: the interfaces that its buckets may be used through, None for all
    """

    workload: str
    label: str | None
    namespace: str
    granted: frozenset[str] | None = None


class _Guarded(Protocol):
    @property
    def timeout(self) -> float: ...
    @property
    def granted(self) -> frozenset[str] | None: ...
    @property
    def refusal(self) -> Callable[[str, Exception], Exception]: ...
    @property
    def circuit(self) -> Circuit | None: ...


G = TypeVar("G", bound=_Guarded)


def _guarded(
    operation: str, interface: str = "store", *, returns: type | UnionType = object
) -> Callable[
    [Callable[Concatenate[G, P], Coroutine[Any, Any, T]]], Callable[Concatenate[G, P], Coroutine[Any, Any, T]]
]:
    """Make a method that checks its arguments and returns what is to be awaited into an operation.

    The operation runs under the deadline, and whatever is raised on the way is refused in the dialect.
    A bucket is handed to other interfaces than the one it came from; those have to be granted as well.

    :param returns: what the backend has to return; anything else is its mistake, and refused like one
    """

    def decorate(
        checked: Callable[Concatenate[G, P], Coroutine[Any, Any, T]],
    ) -> Callable[Concatenate[G, P], Coroutine[Any, Any, T]]:
        @functools.wraps(checked)
        async def guarded(self: G, /, *args: P.args, **kwargs: P.kwargs) -> T:
            if self.granted is not None and interface not in self.granted:
                denied = AccessDenied(f"the configuration does not grant {interface} for this bucket")
                raise self.refusal(operation, denied)
            if self.circuit is not None and self.circuit.is_open:
                raise self.refusal(operation, StoreUnavailable("the server is known to be down"))
            try:
                result = await within(self.timeout, checked(self, *args, **kwargs))
            except Exception as error:
                raise self.refusal(operation, error) from error
            if not isinstance(result, returns):
                wrong = TypeError(f"{operation} returned a value of type {type(result).__name__}")
                raise self.refusal(operation, wrong)
            return result

        return guarded

    return decorate


class GuardedStore:
    """The buckets of one binding.

    :param dialect: how errors look to the guest
    :param plugin: who brought the backend, for the log
    """

    __slots__ = ("backend", "circuit", "dialect", "granted", "plugin", "scope", "settings", "timeout")

    def __init__(
        self,
        backend: KeyValueBackend,
        settings: KeyValueSettings,
        scope: Scope,
        dialect: Dialect,
        plugin: str = "",
    ) -> None:
        self.backend = backend
        self.circuit = backend.circuit
        self.settings = settings
        self.scope = scope
        self.dialect = dialect
        self.plugin = plugin
        self.granted = scope.granted
        self.timeout = settings.timeout

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

    @_guarded("open")
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
            raise AccessDenied("the configuration does not grant this bucket")
        raise NoSuchStore("there is no such bucket among those that the configuration grants")

    def refusal(self, operation: str, error: Exception) -> Exception:
        """Return what to raise to the guest for `error`, whatever it is."""
        if not isinstance(error, KeyValueError):
            error = typed(operation, error, self.plugin)
        if self.circuit is not None and error.case in UNAVAILABLE:
            self.circuit.suspect()
        return self.dialect(operation, error)


class GuardedBucket:
    """A bucket as guests hold it: the operations of `Bucket`, checked, timed, errors in the dialect."""

    __slots__ = ("bucket", "circuit", "granted", "name", "refusal", "store", "timeout")

    def __init__(self, store: GuardedStore, name: str, bucket: Bucket) -> None:
        self.store = store
        self.name = name
        self.bucket = bucket
        self.circuit = store.circuit
        self.granted = store.granted
        self.timeout = store.timeout
        self.refusal = store.refusal

    @_guarded("get", returns=bytes | None)
    def get(self, key: str) -> Coroutine[Any, Any, bytes | None]:
        """See `Bucket.get`."""
        check_name(key)
        return self.bucket.get(key)

    @_guarded("exists", returns=bool)
    def exists(self, key: str) -> Coroutine[Any, Any, bool]:
        """See `Bucket.exists`."""
        check_name(key)
        return self.bucket.exists(key)

    @_guarded("set")
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

    @_guarded("delete")
    def delete(self, key: str) -> Coroutine[Any, Any, None]:
        """See `Bucket.delete`."""
        check_name(key)
        return self.bucket.delete(key)

    @_guarded("list-keys")
    async def list_keys(self, prefix: str = "", cursor: str | None = None) -> Page:
        """Return a page of at most `MAX_PAGE` keys, an empty one only if it is the last."""
        check_name(prefix)
        tag = self._cursor_tag(prefix)
        inner = None if cursor is None else unseal_cursor(tag, cursor)
        page = await self.bucket.list_keys(prefix, inner, MAX_PAGE)
        while not page.keys and page.cursor is not None:
            page = await self.bucket.list_keys(prefix, page.cursor, MAX_PAGE)
        return page if page.cursor is None else Page(page.keys, seal_cursor(tag, page.cursor))

    @_guarded("increment", "atomics", returns=int)
    def increment(self, key: str, delta: int, *, minimum: int = S64_MIN) -> Coroutine[Any, Any, int]:
        """See `Bucket.increment`."""
        self._need("increment")
        check_name(key)
        if not S64_MIN <= delta <= S64_MAX:
            raise InvalidArgument("the delta is not an s64")
        return self.bucket.increment(key, delta, minimum=minimum)

    @_guarded("current", "cas", returns=Entry | None)
    def current(self, key: str) -> Coroutine[Any, Any, Entry | None]:
        """See `Bucket.current`."""
        self._need("cas")
        check_name(key)
        return self.bucket.current(key)

    @_guarded("swap", "cas", returns=Swapped | Stale)
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

    @_guarded("get-many", "batch")
    async def get_many(self, keys: Sequence[str]) -> list[tuple[str, bytes] | None]:
        """Return key and value by position, None where the key does not exist."""
        check_batch(keys)
        for key in keys:
            check_name(key)
        pairs = zip(keys, await self.bucket.get_many(keys), strict=True)
        return [None if value is None else (key, value) for key, value in pairs]

    @_guarded("set-many", "batch")
    async def set_many(self, items: Sequence[tuple[str, bytes]]) -> None:
        """See `Bucket.set_many`; an item over a limit does not keep the others from being set."""
        check_batch(items)
        good, first = sift(items, self._check_item)
        await self.bucket.set_many(good)
        if first is not None:
            raise first

    @_guarded("delete-many", "batch")
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
        limit = self.store.settings.max_value
        if len(item[1]) > limit:
            raise QuotaExceeded(f"a value of {len(item[1])} bytes is over the limit of {limit}")
