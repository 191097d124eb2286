"""The store of a binding: one backend, or one for each bucket."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wasmplex.capabilities.keyvalue import CASES, NoSuchStore
from wasmplex.interfaces.keyvalue.plain import plain_methods
from wasmplex.interfaces.keyvalue.policy import GuardedBucket, GuardedStore, KeyValueSettings
from wasmplex.interfaces.keyvalue.rules import check_name
from wasmplex.plugins.contracts import HostFunctions, ImportRequest
from wasmplex.policy import Dialect, Guard, operation

__all__ = ["PartedStore", "bind_store", "plain"]


class PartedStore:
    """The buckets of a binding that has a backend for each; others there are none.

    A bucket leads to its own store, with that one's deadline, limits and circuit.

    :param stores: the store of each bucket
    """

    __slots__ = ("guard", "stores")

    def __init__(self, stores: Mapping[str, GuardedStore], guard: Guard) -> None:
        self.stores = stores
        self.guard = guard

    async def open(self, identifier: str) -> GuardedBucket:
        """Open a bucket that the binding names.

        :raises NoSuchStore: if it names no such bucket
        """
        store = await self._store(identifier)
        return await store.open(identifier)

    @operation("open", "store", returns=GuardedStore)
    async def _store(self, identifier: str) -> GuardedStore:
        check_name(identifier)
        store = self.stores.get(identifier)
        if store is None:
            raise NoSuchStore("the configuration names no backend for this bucket")
        return store


def bind_store(request: ImportRequest, workload: str, dialect: Dialect) -> GuardedStore | PartedStore:
    """Return the store for one import of a ``store`` interface.

    :raises wasmplex.errors.PluginError: if a backend has not the contract that it claims
    """
    if not request.parts:
        return GuardedStore.bind(request, workload, dialect)
    stores = {name: GuardedStore.bind(part, workload, dialect) for name, part in request.of_parts().items()}
    assert isinstance(request.settings, KeyValueSettings)  # noqa: S101  those of this package
    label, timeout = request.label or "", request.settings.timeout
    return PartedStore(stores, Guard(CASES, dialect, timeout=timeout, granted=request.granted, label=label))


def plain(store: GuardedStore | PartedStore) -> HostFunctions:
    """Return the bucket's methods that can be plain functions; none if a backend may wait."""
    if isinstance(store, GuardedStore):
        return plain_methods(store)
    methods = {one: plain_methods(one) for one in store.stores.values()}
    if not all(methods.values()):
        return {}
    names = next(iter(methods.values()))
    return {name: _by_store({one: methods[one][name] for one in methods}) for name in names}


def _by_store(methods: Mapping[GuardedStore, Any]) -> Any:
    def method(bucket: GuardedBucket, *args: Any) -> Any:
        return methods[bucket.store](bucket, *args)

    return method
