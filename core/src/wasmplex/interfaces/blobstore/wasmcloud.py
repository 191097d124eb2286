"""``wasmcloud:blobstore@0.1.0``: types, container, blobstore.

A container is one resource, with its methods in ``container``. It comes from a ``blobstore``, under whatever
label, and remembers the backend it came from; which label of ``container`` it is used through is no matter.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

from wasmplex.capabilities.blobstore import BlobStoreError
from wasmplex.interfaces.blobstore.policy import BlobStoreSettings, GuardedContainer, GuardedStore
from wasmplex.interfaces.blobstore.records import container_info, container_name, object_info, placed
from wasmplex.interfaces.blobstore.transfers import GuardedReader
from wasmplex.plugins.contracts import (
    BoundInterfaces,
    HostFunctions,
    ImportRequest,
    InterfaceProvider,
    WorkloadContext,
)
from wasmplex.plugins.hooks import hookimpl
from wasmplex.streams import ByteSource, IncomingStream
from wasmplex.values import Err, Variant
from wasmplex.wit.served import served
from wasmplex.wit.source import WitPackage

__all__ = ["WasmcloudBlobStore"]


def _refused(operation: str, error: BlobStoreError) -> Err[Variant]:
    """Return the package's ``error``; it has a case for each of ours, and a text in ``other`` only."""
    return Err(Variant(error.case, f"{operation}: {error}" if error.case == "other" else None))


# ---------------------------------------------------------------- where WIT and Python differ


class _Download(ByteSource):
    """What is returned for a stream of bytes: it closes its reader in whatever way it ends."""

    def __init__(self, reader: GuardedReader) -> None:
        self._reader = reader

    def readinto_nowait(self, buffer: memoryview) -> int:
        """See `ByteSource.readinto_nowait`."""
        return self._reader.readinto_nowait(buffer)

    def next_at_hand(self) -> asyncio.Future[Any] | None:
        """See `ByteSource.next_at_hand`."""
        return self._reader.next_at_hand()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            while piece := await self._reader.read():
                yield piece
        finally:
            await self._reader.close()

    def close(self) -> None:
        """Close the reader; for when nobody has begun to read."""
        self._reader.drop()


async def _get_data(container: GuardedContainer, name: str, start: int, end: int) -> _Download:
    return _Download(await container.read_object(name, start, end))


async def _write_data(container: GuardedContainer, name: str, data: IncomingStream[bytes]) -> None:
    try:
        writer = await container.write_object(name)
        try:
            while (chunk := await data.read()) is not None:
                await writer.write_all(chunk)
            await writer.commit()
        finally:
            await writer.close()
    finally:
        data.close()


_BY_RESOURCE: dict[str, HostFunctions] = {
    "types": {},
    "container": {
        "[method]container.name": container_name,
        "[method]container.info": container_info,
        "[method]container.get-data": _get_data,
        "[method]container.write-data": _write_data,
        "[method]container.list-objects": GuardedContainer.list_objects,
        "[method]container.delete-object": GuardedContainer.delete_object,
        "[method]container.delete-objects": GuardedContainer.delete_objects,
        "[method]container.has-object": GuardedContainer.has_object,
        "[method]container.object-info": object_info,
        "[method]container.clear": GuardedContainer.clear,
    },
}


def _store_functions(store: GuardedStore) -> HostFunctions:
    return {
        "create-container": store.create_container,
        "get-container": store.get_container,
        "delete-container": store.delete_container,
        "container-exists": store.container_exists,
        "copy-object": placed(store.copy_object),
        "move-object": placed(store.move_object),
    }


class _Bound(BoundInterfaces):
    def __init__(self, workload: str) -> None:
        self._workload = workload
        self.stores: list[GuardedStore] = []

    def serve(self, request: ImportRequest) -> HostFunctions:
        if request.name != "blobstore":
            return _BY_RESOURCE[request.name]
        store = GuardedStore.bind(request, self._workload, _refused)
        self.stores.append(store)
        return _store_functions(store)


class WasmcloudBlobStore(InterfaceProvider):
    """Serves ``wasmcloud:blobstore`` from any blob-store backend."""

    package = "wasmcloud:blobstore"
    version = "0.1.0"
    interfaces = frozenset({"types", "container", "blobstore"})
    capability = "blobstore"
    settings = BlobStoreSettings
    routes_by_resource = frozenset(_BY_RESOURCE)

    def wit(self) -> WitPackage | None:
        """Return the text that comes with the host."""
        return served(self.package)

    @asynccontextmanager
    async def bind(self, workload: WorkloadContext) -> AsyncIterator[BoundInterfaces]:
        """Bind for one workload; at its end, wait until the transfers that were left are closed."""
        bound = _Bound(workload.name)
        try:
            yield bound
        finally:
            for store in bound.stores:
                await store.closings.finish()


@hookimpl
def wasmplex_interfaces() -> Iterable[InterfaceProvider]:
    """Register the package."""
    return [WasmcloudBlobStore()]
