"""How the key-value kit reaches a backend: as a guest would, through the policy that all backends get."""

# The methods of `Handle` and `Store` are those of `wasmplex.capabilities.keyvalue`, documented there.
# ruff: noqa: D102

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self
from uuid import uuid4

import anyio

from wasmplex.capabilities.keyvalue import (
    FEATURES,
    Entry,
    KeyValueBackend,
    KeyValueError,
    Page,
    Stale,
    Swapped,
)
from wasmplex.interfaces.keyvalue_policy import GuardedStore, KeyValueSettings, Scope
from wasmplex.plugins.contracts import BackendProvider, OpenContext
from wasmplex.testing.clock import FakeClock

__all__ = ["Bench", "ContractDriver", "Driver", "Handle", "Probe", "Refused", "Store", "outcome"]

TOLERANCE_MS = 50
"""How late a backend's expiry may be."""


class Refused(Exception):
    """An operation returned an error.

    :ivar case: the case of ``wasmcloud:keyvalue``'s ``error``, ``"quota-exceeded"``
    """

    def __init__(self, case: str, text: str) -> None:
        super().__init__(f"{case}: {text}")
        self.case = case
        self.text = text


async def outcome(operation: Awaitable[object]) -> str:
    """Await `operation` and return ``"ok"``, or the case of its refusal."""
    try:
        await operation
    except Refused as error:
        return error.case
    return "ok"


class Handle(Protocol):
    """An open bucket, as a guest sees it; errors are `Refused`."""

    async def get(self, key: str) -> bytes | None: ...
    async def set(
        self, key: str, value: bytes, *, ttl_ms: int | None = None, if_not_exists: bool = False
    ) -> None: ...
    async def delete(self, key: str) -> None: ...
    async def exists(self, key: str) -> bool: ...
    async def list_keys(self, prefix: str = "", cursor: str | None = None) -> Page: ...
    async def increment(self, key: str, delta: int) -> int: ...
    async def current(self, key: str) -> Entry | None: ...
    async def swap(
        self,
        key: str,
        value: bytes,
        *,
        require_version: str | None = None,
        require_value: bytes | None = None,
    ) -> Swapped | Stale: ...
    async def get_many(self, keys: Sequence[str]) -> list[tuple[str, bytes] | None]: ...
    async def set_many(self, items: Sequence[tuple[str, bytes]]) -> None: ...
    async def delete_many(self, keys: Sequence[str]) -> None: ...


class Store(Protocol):
    """One binding, as a guest sees it."""

    async def open(self, identifier: str) -> Handle: ...


class Probe(Protocol):
    """Access to the stored data past the backend. `KeyValueConformance` describes the fixture."""

    async def get(self, namespace: str, bucket: str, key: str) -> bytes | None:
        """Return what is stored under the key."""

    async def set(self, namespace: str, bucket: str, key: str, value: bytes) -> None:
        """Store a value, without expiry."""


class Driver(ABC):
    """A way to use an open backend; an asynchronous context manager.

    :cvar expresses: what its interface has words for: features, ``prefix`` of listings, ``signed`` counts,
        ``batch``, cursors that are ``text``
    :cvar requires: features that a backend must have for it to work at all
    """

    expresses: ClassVar[frozenset[str]]
    requires: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, backend: KeyValueBackend) -> None:
        self.backend = backend

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:  # noqa: B027  what holds nothing releases nothing
        """Release everything that `store` made."""

    @abstractmethod
    async def store(self, scope: Scope, settings: KeyValueSettings) -> Store:
        """Return one binding to the backend."""


class ContractDriver(Driver):
    """Straight through the Python contract."""

    expresses = FEATURES | {"prefix", "signed", "batch", "text"}

    async def store(self, scope: Scope, settings: KeyValueSettings) -> Store:
        return GuardedStore(self.backend, settings, scope, _refused)


def _refused(operation: str, error: KeyValueError) -> Refused:
    return Refused(error.case, f"{operation}: {error}")


class Bench:
    """A backend under test, open, with a namespace of its own and a clock that tests can turn.

    :ivar backend: the backend as the provider opened it
    :ivar namespace: unique, so that what earlier runs left in a server is not seen
    :ivar exact: whether `passes` is exact to the millisecond; otherwise it is real time, and late
    """

    def __init__(self, backend: KeyValueBackend, driver: Driver) -> None:
        self.backend = backend
        self.namespace = f"kit-{uuid4()}"
        self._driver = driver
        self._clock = FakeClock()
        self.exact = backend.clock is not None
        if self.exact:
            backend.clock = self._clock

    @classmethod
    @asynccontextmanager
    async def open(
        cls, provider: BackendProvider[Any], settings: Mapping[str, Any], driver: type[Driver], base: Path
    ) -> AsyncIterator[Self]:
        """Open a backend from settings as they would stand in a configuration beside `base`."""
        backend = await provider.open(provider.settings(**settings), OpenContext(base, provider.name))
        try:
            assert isinstance(backend, KeyValueBackend), f"{provider.name} opens no KeyValueBackend"
            async with driver(backend) as opened:
                yield cls(backend, opened)
        finally:
            await backend.close()

    async def store(
        self,
        label: str | None = "store",
        *,
        workload: str = "kit",
        namespace: str | None = None,
        **settings: Any,
    ) -> Store:
        """Return a binding; `settings` are those of `KeyValueSettings`."""
        scope = Scope(workload, label, self.namespace if namespace is None else namespace)
        return await self._driver.store(scope, KeyValueSettings(**settings))

    async def bucket(self, name: str = "bucket", **binding: Any) -> Handle:
        """Return an open bucket; see `store` for the other arguments."""
        return await (await self.store(**binding)).open(name)

    async def passes(self, milliseconds: int) -> None:
        """Let time pass, and with real time what a backend's expiry may be late."""
        if self.exact:
            self._clock.advance(milliseconds)
        else:
            await anyio.sleep((milliseconds + TOLERANCE_MS) / 1000)
