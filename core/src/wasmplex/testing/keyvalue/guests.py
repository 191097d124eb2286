"""Reaching a key-value backend through a guest of ``wasi:keyvalue``.

The components' sources are in ``tests/guests``.
"""

# The methods of a bucket are those of `wasmplex.capabilities.keyvalue`, documented there.
# ruff: noqa: D102

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from wasmplex.capabilities.keyvalue import Entry, KeyValueBackend, KeyValueError, Page, Stale, Swapped
from wasmplex.interfaces.keyvalue.policy import KeyValueSettings
from wasmplex.policy import Scope
from wasmplex.testing.keyvalue.driver import KeyValueDriver, Store
from wasmplex.testing.kit import Guest, Refused
from wasmplex.testing.kit import GuestDriver as AnyGuestDriver
from wasmplex.values import Variant

__all__ = ["GuestDriver", "GuestHandle", "LabelledGuestDriver"]


class GuestDriver(AnyGuestDriver[KeyValueBackend], KeyValueDriver):
    """Through a guest that imports store, atomics and batch without labels."""

    features = frozenset({"increment"})
    words = frozenset({"batch"})
    requires = frozenset({"increment"})  # it imports atomics, which a host binds to no lesser backend
    component = "keyvalue.wasm"
    package = "wasi:keyvalue"

    async def store(self, scope: Scope, settings: KeyValueSettings) -> Store:
        """Return a guest with one binding, in a host of its own; the same for the same binding."""
        binding = settings.model_dump(exclude_unset=True) | {"namespace": scope.namespace}
        return _GuestStore(await self.bound((scope, settings), scope.workload, binding), self.handle)

    @property
    def handle(self) -> type[GuestHandle]:
        """How a bucket of this guest is used."""
        return GuestHandle

    def refusal(self, error: Any) -> Refused:
        """Read back what the draft says in words."""
        assert isinstance(error, Variant)
        text = error.value or ""
        for kind in KeyValueError.__subclasses__():
            if text.startswith(f"{kind.summary}: "):
                return Refused(kind.case, text.removeprefix(f"{kind.summary}: "))
        return Refused(error.tag, text)


class LabelledGuestDriver(GuestDriver):
    """Through a guest that imports the store under a label; atomics and batch have buckets of their own."""

    features = frozenset()
    words = frozenset()
    requires = frozenset()
    component = "keyvalue-labelled.wasm"
    labels = ("kit",)

    @property
    def handle(self) -> type[GuestHandle]:
        """How a bucket of this guest is used."""
        return _LabelledHandle


class _GuestStore:
    """One guest, and through it one binding."""

    def __init__(self, guest: Guest, handle: type[GuestHandle]) -> None:
        self.call = guest.call
        self._handle = handle

    async def open(self, identifier: str) -> GuestHandle:
        bucket = self._handle(self, identifier)
        await self.call("forward#open", identifier)
        return bucket


class GuestHandle:
    """A bucket, which the guest opens anew for every operation."""

    def __init__(self, store: _GuestStore, name: str) -> None:
        self._store = store
        self._name = name

    async def _call(self, function: str, *args: Any) -> Any:
        return await self._store.call(function, self._name, *args)

    async def get(self, key: str) -> bytes | None:
        value: bytes | None = await self._call("forward#get", key)
        return value

    async def set(
        self, key: str, value: bytes, *, ttl_ms: int | None = None, if_not_exists: bool = False
    ) -> None:
        assert ttl_ms is None, "the draft has no words for it"
        assert not if_not_exists, "the draft has no words for it"
        await self._call("forward#set", key, value)

    async def delete(self, key: str) -> None:
        await self._call("forward#delete", key)

    async def exists(self, key: str) -> bool:
        return bool(await self._call("forward#exists", key))

    async def list_keys(self, prefix: str = "", cursor: str | None = None) -> Page:
        assert not prefix, "the draft has no words for it"
        page = await self._call("forward#list-keys", None if cursor is None else int(cursor))
        return Page(page["keys"], None if page["cursor"] is None else str(page["cursor"]))

    async def increment(self, key: str, delta: int) -> int:
        return int(await self._call("forward-more#increment", key, delta))

    async def current(self, key: str) -> Entry | None:
        raise AssertionError("the draft has no words for it")

    async def swap(
        self,
        key: str,
        value: bytes,
        *,
        require_version: str | None = None,
        require_value: bytes | None = None,
    ) -> Swapped | Stale:
        raise AssertionError("the draft has no words for it")

    async def get_many(self, keys: Sequence[str]) -> list[tuple[str, bytes] | None]:
        found: list[tuple[str, bytes] | None] = await self._call("forward-more#get-many", list(keys))
        return found

    async def set_many(self, items: Sequence[tuple[str, bytes]]) -> None:
        await self._call("forward-more#set-many", list(items))

    async def delete_many(self, keys: Sequence[str]) -> None:
        await self._call("forward-more#delete-many", list(keys))


class _LabelledHandle(GuestHandle):
    """A bucket of a guest without atomics and batch: several keys are one after the other."""

    async def get_many(self, keys: Sequence[str]) -> list[tuple[str, bytes] | None]:
        found = [(key, await self.get(key)) for key in keys]
        return [None if value is None else (key, value) for key, value in found]

    async def set_many(self, items: Sequence[tuple[str, bytes]]) -> None:
        for key, value in items:
            await self.set(key, value)

    async def delete_many(self, keys: Sequence[str]) -> None:
        for key in keys:
            await self.delete(key)
