"""Key-value backends that misbehave on purpose, around any other backend.

They are providers like any other: ``registry.add(plugin(DelayedKeyValue(MemoryProvider(), 0.02)))``, and a
binding says ``backend = "delayed"`` with the settings of the backend inside.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeVar

import anyio

from wasmplex.capabilities.keyvalue import (
    S64_MIN,
    Bucket,
    Change,
    Entry,
    KeyValueBackend,
    Page,
    Stale,
    Swapped,
)
from wasmplex.plugins.contracts import BackendProvider, OpenContext
from wasmplex.plugins.hooks import hookimpl
from wasmplex.settings import Settings

__all__ = ["DelayedKeyValue", "FaultyKeyValue", "Hang", "plugin"]

T = TypeVar("T")
Before = Callable[[str], Awaitable[None]]
"""Called with an operation's name (``"get"``, ``"open_bucket"``) before it is passed on."""


def plugin(*providers: BackendProvider[Any]) -> object:
    """Return a plugin object that registers `providers`."""

    class Plugin:
        @hookimpl
        def wasmplex_backends(self) -> Iterable[BackendProvider[Any]]:
            return providers

    return Plugin()


class _Wrapper(BackendProvider[Settings]):
    """A provider that passes everything on to `inner`, having awaited `before`."""

    capability = "keyvalue"

    def __init__(self, inner: BackendProvider[Any], name: str) -> None:
        # Class variables of an ordinary provider; of these there may be several with one class.
        own = {"name": name, "settings": inner.settings, "features": inner.features}
        vars(self).update(own, durability=inner.durability)
        self._inner = inner

    async def before(self, operation: str) -> None:
        """Do what the double is for."""

    async def open(self, settings: Settings, context: OpenContext) -> KeyValueBackend:
        """Open the backend inside."""
        await self.before("open")
        inner = await self._inner.open(settings, context)
        if not isinstance(inner, KeyValueBackend):
            raise TypeError(f"{self._inner.name} opens no key-value backend")
        return _WrappedBackend(inner, self.before)


class DelayedKeyValue(_Wrapper):
    """Adds a delay before every operation on a bucket.

    :param inner: the provider of the backend behind it
    :param delay: seconds; may be changed at any time
    """

    def __init__(self, inner: BackendProvider[Any], delay: float = 0.02, *, name: str = "delayed") -> None:
        super().__init__(inner, name)
        self.delay = delay

    async def before(self, operation: str) -> None:
        """Wait, except when something is opened."""
        if not operation.startswith("open"):
            await anyio.sleep(self.delay)


class Hang:
    """A fault: the operation never answers; only cancelling ends it."""


class FaultyKeyValue(_Wrapper):
    """Makes chosen operations fail or hang.

    .. code-block:: python

        faulty.at("get", ConnectionResetError("gone"), times=2)
        faulty.at("set", Hang())

    :param inner: the provider of the backend behind it
    """

    def __init__(self, inner: BackendProvider[Any], *, name: str = "faulty") -> None:
        super().__init__(inner, name)
        self._faults: dict[str, list[Exception | Hang]] = {}
        self._always: dict[str, Exception | Hang] = {}

    def at(self, operation: str, fault: Exception | Hang, *, times: int | None = None) -> None:
        """Make an operation fail (``open``, ``open_bucket``, ``get``, ``set_many``, ...).

        :param times: how often, after what was planned before; None for always
        """
        if times is None:
            self._always[operation] = fault
        else:
            self._faults.setdefault(operation, []).extend([fault] * times)

    def clear(self) -> None:
        """Plan no more faults; what hangs goes on hanging."""
        self._faults.clear()
        self._always.clear()

    async def before(self, operation: str) -> None:
        """Raise or hang if that is planned."""
        planned = self._faults.get(operation)
        fault = planned.pop(0) if planned else self._always.get(operation)
        if isinstance(fault, Hang):
            await anyio.sleep_forever()
        elif fault is not None:
            raise fault


class _WrappedBackend(KeyValueBackend):
    def __init__(self, inner: KeyValueBackend, before: Before) -> None:
        self._inner = inner
        self._before = before
        self.features = inner.features

    @property
    def clock(self) -> Callable[[], int] | None:
        return self._inner.clock

    @clock.setter
    def clock(self, clock: Callable[[], int] | None) -> None:
        self._inner.clock = clock

    async def close(self) -> None:
        await self._inner.close()

    async def probe(self) -> None:
        await self._before("probe")
        await self._inner.probe()

    async def open_bucket(self, namespace: str, name: str) -> Bucket:
        await self._before("open_bucket")
        return _WrappedBucket(await self._inner.open_bucket(namespace, name), self._before)

    async def has_bucket(self, namespace: str, name: str) -> bool:
        await self._before("has_bucket")
        return await self._inner.has_bucket(namespace, name)


class _WrappedBucket(Bucket):
    def __init__(self, inner: Bucket, before: Before) -> None:
        self._inner = inner
        self._before = before

    async def get(self, key: str) -> bytes | None:
        await self._before("get")
        return await self._inner.get(key)

    async def set(
        self, key: str, value: bytes, *, ttl_ms: int | None = None, if_not_exists: bool = False
    ) -> None:
        await self._before("set")
        await self._inner.set(key, value, ttl_ms=ttl_ms, if_not_exists=if_not_exists)

    async def delete(self, key: str) -> None:
        await self._before("delete")
        await self._inner.delete(key)

    async def exists(self, key: str) -> bool:
        await self._before("exists")
        return await self._inner.exists(key)

    async def list_keys(self, prefix: str, cursor: str | None, limit: int) -> Page:
        await self._before("list_keys")
        return await self._inner.list_keys(prefix, cursor, limit)

    async def increment(self, key: str, delta: int, *, minimum: int = S64_MIN) -> int:
        await self._before("increment")
        return await self._inner.increment(key, delta, minimum=minimum)

    async def current(self, key: str) -> Entry | None:
        await self._before("current")
        return await self._inner.current(key)

    async def swap(
        self,
        key: str,
        value: bytes,
        *,
        require_version: str | None = None,
        require_value: bytes | None = None,
    ) -> Swapped | Stale:
        await self._before("swap")
        return await self._inner.swap(
            key, value, require_version=require_version, require_value=require_value
        )

    def watch(self) -> AbstractAsyncContextManager[AsyncIterator[Change]]:
        return self._inner.watch()

    async def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        await self._before("get_many")
        return await self._inner.get_many(keys)

    async def set_many(self, items: Sequence[tuple[str, bytes]]) -> None:
        await self._before("set_many")
        await self._inner.set_many(items)

    async def delete_many(self, keys: Sequence[str]) -> None:
        await self._before("delete_many")
        await self._inner.delete_many(keys)
