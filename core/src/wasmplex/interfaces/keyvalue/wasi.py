"""``wasi:keyvalue@0.2.0-draft``: store, atomics, batch; and watcher, which components export."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

from wasmplex.capabilities.keyvalue import KeyValueError
from wasmplex.component.shape import InstanceType
from wasmplex.interfaces.keyvalue.parted import bind_store, plain
from wasmplex.interfaces.keyvalue.policy import GuardedBucket, KeyValueSettings
from wasmplex.interfaces.keyvalue.watch import Watcher
from wasmplex.plugins.contracts import (
    BoundInterfaces,
    HostFunctions,
    ImportRequest,
    InterfaceProvider,
    WorkloadContext,
)
from wasmplex.plugins.hooks import hookimpl
from wasmplex.plugins.triggers import ExportAdapter
from wasmplex.values import Err, Variant
from wasmplex.wit.served import served
from wasmplex.wit.source import WitPackage

__all__ = ["WasiKeyValue"]

MAX_CURSORS = 10_000
"""Listings of one workload that may be under way; the one longest unused is forgotten."""

_CASES = {"no-such-store", "access-denied"}


def refused(operation: str, error: KeyValueError) -> Err[Variant]:
    """Return the draft's ``error``, which has three cases: the others become text."""
    if error.case in _CASES:
        return Err(Variant(error.case))
    cause = f"{operation}: {error}"
    return Err(Variant("other", cause if type(error).case == "other" else f"{error.summary}: {cause}"))


class Cursors:
    """Numbers that stand for cursors: the draft has room for a u64 where a backend has a text."""

    def __init__(self, limit: int = MAX_CURSORS) -> None:
        self._texts: OrderedDict[int, str] = OrderedDict()
        self._last = 0
        self._limit = limit

    def number(self, text: str) -> int:
        """Return a new number for a cursor."""
        self._last += 1
        self._texts[self._last] = text
        if len(self._texts) > self._limit:
            self._texts.popitem(last=False)
        return self._last

    def text(self, number: int) -> str:
        """Return the cursor for a number, ``""`` for an unknown one, which no listing accepts."""
        if number not in self._texts:
            return ""
        self._texts.move_to_end(number)
        return self._texts[number]


class _Bound(BoundInterfaces):
    def __init__(self, workload: str) -> None:
        self._workload = workload
        self._cursors = Cursors()

    def serve(self, request: ImportRequest) -> HostFunctions:
        return {"store": self._store, "atomics": self._atomics, "batch": self._batch}[request.name](request)

    def _store(self, request: ImportRequest) -> HostFunctions:
        store = bind_store(request, self._workload, refused)
        return {
            "open": store.open,
            "[method]bucket.get": GuardedBucket.get,
            "[method]bucket.set": GuardedBucket.set,
            "[method]bucket.delete": GuardedBucket.delete,
            "[method]bucket.exists": GuardedBucket.exists,
            "[method]bucket.list-keys": self._list_keys,
            # A bucket of this import comes from this store: the draft gives each import a type of its own.
            **plain(store),
        }

    def _atomics(self, request: ImportRequest) -> HostFunctions:
        return {"increment": _increment}

    def _batch(self, request: ImportRequest) -> HostFunctions:
        return {
            "get-many": GuardedBucket.get_many,
            "set-many": GuardedBucket.set_many,
            "delete-many": GuardedBucket.delete_many,
        }

    async def _list_keys(self, bucket: GuardedBucket, cursor: int | None) -> dict[str, Any]:
        page = await bucket.list_keys("", None if cursor is None else self._cursors.text(cursor))
        number = None if page.cursor is None else self._cursors.number(page.cursor)
        return {"keys": page.keys, "cursor": number}


async def _increment(bucket: GuardedBucket, key: str, delta: int) -> int:
    # The draft counts in u64, stores keep s64: the range is what both can hold.
    return await bucket.increment(key, delta, minimum=0)


class WasiKeyValue(InterfaceProvider):
    """Serves ``wasi:keyvalue`` from any key-value backend."""

    package = "wasi:keyvalue"
    version = "0.2.0-draft"
    interfaces = frozenset({"store", "atomics", "batch"})
    capability = "keyvalue"
    settings = KeyValueSettings
    routes_by_resource = frozenset({"atomics", "batch"})
    backends_in = "buckets"

    def features(self, interface: str, type: InstanceType) -> frozenset[str]:
        """Return ``increment`` for atomics; the rest is in every backend."""
        return frozenset({"increment"}) if interface == "atomics" else frozenset()

    def wit(self) -> WitPackage | None:
        """Return the text that comes with the host."""
        return served(self.package, self.version)

    @asynccontextmanager
    async def bind(self, workload: WorkloadContext) -> AsyncIterator[BoundInterfaces]:
        """Bind for one workload; listings under way are kept with it."""
        yield _Bound(workload.name)


class WasiWatcher(Watcher):
    """Calls ``wasi:keyvalue/watcher``."""

    interface = "wasi:keyvalue/watcher@0.2.0-draft"


@hookimpl
def wasmplex_export_adapters() -> Iterable[ExportAdapter]:
    """Register what the trigger ``watch`` calls."""
    return [WasiWatcher()]


@hookimpl
def wasmplex_interfaces() -> Iterable[InterfaceProvider]:
    """Register the package."""
    return [WasiKeyValue()]
