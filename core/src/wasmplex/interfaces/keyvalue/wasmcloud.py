"""``wasmcloud:keyvalue@0.2.0``: types, store, atomics, cas, batch; and watcher, which components export.

A bucket is one resource in all of them, with its methods in ``types``. It comes from a ``store``, under
whatever label, and remembers the backend it was opened through; everything else goes where its bucket leads.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

from wasmplex.capabilities.keyvalue import Entry, KeyValueError, Swapped
from wasmplex.component.shape import InstanceType
from wasmplex.interfaces.keyvalue.parted import bind_store
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

__all__ = ["WasmcloudKeyValue"]


def _refused(operation: str, error: KeyValueError) -> Err[Variant]:
    """Return the package's ``error``; it has a case for each of ours, and a text in ``other`` only."""
    return Err(Variant(error.case, f"{operation}: {error}" if error.case == "other" else None))


# ---------------------------------------------------------------- where WIT and Python differ


async def _set(bucket: GuardedBucket, key: str, value: bytes, options: dict[str, Any] | None) -> None:
    if options is None:
        await bucket.set(key, value)
    else:
        await bucket.set(key, value, ttl_ms=options["ttl-ms"], if_not_exists=options["if-not-exists"])


async def _list_keys(bucket: GuardedBucket, prefix: str | None, cursor: str | None) -> dict[str, Any]:
    page = await bucket.list_keys(prefix or "", cursor)
    return {"keys": page.keys, "cursor": page.cursor}


async def _current(bucket: GuardedBucket, key: str) -> dict[str, Any] | None:
    return _entry(await bucket.current(key))


async def _swap(bucket: GuardedBucket, key: str, value: bytes, options: dict[str, Any]) -> Variant:
    result = await bucket.swap(
        key, value, require_version=options["require-version"], require_value=options["require-value"]
    )
    return Variant("swapped") if isinstance(result, Swapped) else Variant("stale", _entry(result.current))


def _entry(entry: Entry | None) -> dict[str, Any] | None:
    return None if entry is None else {"value": entry.value, "version": entry.version}


_BY_RESOURCE: dict[str, HostFunctions] = {
    "types": {
        "[method]bucket.get": GuardedBucket.get,
        "[method]bucket.set": _set,
        "[method]bucket.delete": GuardedBucket.delete,
        "[method]bucket.exists": GuardedBucket.exists,
        "[method]bucket.list-keys": _list_keys,
    },
    "atomics": {"increment": GuardedBucket.increment},
    "cas": {"current": _current, "swap": _swap},
    "batch": {
        "get-many": GuardedBucket.get_many,
        "set-many": GuardedBucket.set_many,
        "delete-many": GuardedBucket.delete_many,
    },
}


class _Bound(BoundInterfaces):
    def __init__(self, workload: str) -> None:
        self._workload = workload

    def serve(self, request: ImportRequest) -> HostFunctions:
        if request.name != "store":
            return _BY_RESOURCE[request.name]
        return {"open": bind_store(request, self._workload, _refused).open}


class WasmcloudKeyValue(InterfaceProvider):
    """Serves ``wasmcloud:keyvalue`` from any key-value backend."""

    package = "wasmcloud:keyvalue"
    version = "0.2.0"
    interfaces = frozenset({"types", "store", "atomics", "cas", "batch"})
    capability = "keyvalue"
    settings = KeyValueSettings
    routes_by_resource = frozenset(_BY_RESOURCE)
    backends_in = "buckets"

    def features(self, interface: str, type: InstanceType) -> frozenset[str]:
        """Return what atomics and cas stand for; the options of ``set`` are looked at when it is called."""
        return {"atomics": frozenset({"increment"}), "cas": frozenset({"cas"})}.get(interface, frozenset())

    def wit(self) -> WitPackage | None:
        """Return the text that comes with the host."""
        return served(self.package, self.version)

    @asynccontextmanager
    async def bind(self, workload: WorkloadContext) -> AsyncIterator[BoundInterfaces]:
        """Bind for one workload."""
        yield _Bound(workload.name)


class WasmcloudWatcher(Watcher):
    """Calls ``wasmcloud:keyvalue/watcher``."""

    interface = "wasmcloud:keyvalue/watcher@0.2.0"


@hookimpl
def wasmplex_export_adapters() -> Iterable[ExportAdapter]:
    """Register what the trigger ``watch`` calls."""
    return [WasmcloudWatcher()]


@hookimpl
def wasmplex_interfaces() -> Iterable[InterfaceProvider]:
    """Register the package."""
    return [WasmcloudKeyValue()]
