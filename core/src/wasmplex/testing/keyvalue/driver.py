"""How the key-value kit reaches a backend: as a guest would, through the policy that all backends get."""

# The methods of `Handle` and `Store` are those of `wasmplex.capabilities.keyvalue`, documented there.
# ruff: noqa: D102

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, Protocol

from wasmplex.capabilities.keyvalue import (
    FEATURES,
    Entry,
    KeyValueBackend,
    KeyValueError,
    Page,
    Stale,
    Swapped,
)
from wasmplex.interfaces.keyvalue.policy import GuardedStore, KeyValueSettings
from wasmplex.policy import Scope
from wasmplex.testing import kit
from wasmplex.testing.kit import Driver, Refused

__all__ = ["WORDS", "Bench", "ContractDriver", "Handle", "KeyValueDriver", "Probe", "Store"]

WORDS = frozenset({"prefix", "signed", "batch", "text"})
"""What interfaces may have words for, besides features."""


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


class KeyValueDriver(Driver[KeyValueBackend]):
    """Base of the key-value drivers.

    The words are ``prefix`` of listings, ``signed`` counts, ``batch``, cursors that are ``text``.
    """

    @abstractmethod
    async def store(self, scope: Scope, settings: KeyValueSettings) -> Store:
        """Return one binding to the backend."""


class ContractDriver(KeyValueDriver):
    """Straight through the Python contract."""

    features = FEATURES
    words = WORDS

    async def store(self, scope: Scope, settings: KeyValueSettings) -> Store:
        return GuardedStore(self.backend, settings, scope, _refused)


_BATCHES = frozenset({"get-many", "set-many", "delete-many"})


def _refused(operation: str, error: KeyValueError) -> Refused:
    text = f"{operation}: {error}"
    if error.case == "timeout" and operation in _BATCHES:
        text += f"; override {operation.replace('-', '_')}: by default it does one item after the other"
    return Refused(error.case, text)


class Bench(kit.Bench[KeyValueDriver]):
    """A key-value backend under test; see `wasmplex.testing.kit.Bench`."""

    contract = KeyValueBackend

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
        return await self.driver.store(scope, KeyValueSettings(**settings))

    async def bucket(self, name: str = "bucket", **binding: Any) -> Handle:
        """Return an open bucket; see `store` for the other arguments."""
        return await (await self.store(**binding)).open(name)
