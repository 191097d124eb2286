"""``wasi:blobstore@0.2.0-draft``: types, container, blobstore, over the streams of ``wasi:io``."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from wasmplex.capabilities.blobstore import BlobStoreError
from wasmplex.interfaces.blobstore.policy import BlobStoreSettings, GuardedContainer, GuardedStore
from wasmplex.interfaces.blobstore.records import container_info, container_name, object_info, placed
from wasmplex.interfaces.blobstore.values import IncomingValue, ObjectNames, OutgoingValue, Unplaced
from wasmplex.plugins.contracts import (
    BoundInterfaces,
    HostFunctions,
    ImportRequest,
    InterfaceProvider,
    WorkloadContext,
)
from wasmplex.plugins.hooks import hookimpl
from wasmplex.values import Err
from wasmplex.wit.served import served
from wasmplex.wit.source import WitPackage

__all__ = ["WasiBlobStore"]


def _refused(operation: str, error: BlobStoreError) -> Err[str]:
    """Return the draft's ``error``, which is text: the case in words, the operation, its cause."""
    cause = str(error)
    return Err(f"{error.summary}: {operation}" + ("" if cause == error.summary else f": {cause}"))


async def _get_data(container: GuardedContainer, name: str, start: int, end: int) -> IncomingValue:
    return IncomingValue(await container.read_object(name, start, end), _refused)


async def _write_data(container: GuardedContainer, name: str, value: OutgoingValue) -> None:
    await value.place(container.write_object(name))


async def _list_objects(container: GuardedContainer) -> ObjectNames:
    listing = await container.list_objects()
    return ObjectNames(listing, await listing.next())


_CONTAINER: HostFunctions = {
    "[method]container.name": container_name,
    "[method]container.info": container_info,
    "[method]container.get-data": _get_data,
    "[method]container.write-data": _write_data,
    "[method]container.list-objects": _list_objects,
    "[method]container.delete-object": GuardedContainer.delete_object,
    "[method]container.delete-objects": GuardedContainer.delete_objects,
    "[method]container.has-object": GuardedContainer.has_object,
    "[method]container.object-info": object_info,
    "[method]container.clear": GuardedContainer.clear,
    "[method]stream-object-names.read-stream-object-names": ObjectNames.read,
    "[method]stream-object-names.skip-stream-object-names": ObjectNames.skip,
}


class _Bound(BoundInterfaces):
    def __init__(self, workload: str) -> None:
        self._workload = workload
        self._unplaced = Unplaced()
        self.stores: list[GuardedStore] = []

    def serve(self, request: ImportRequest) -> HostFunctions:
        return {"types": self._types, "container": self._container, "blobstore": self._store}[request.name](
            request
        )

    def _types(self, request: ImportRequest) -> HostFunctions:
        return {
            "[static]outgoing-value.new-outgoing-value": lambda: OutgoingValue(_refused, self._unplaced),
            "[method]outgoing-value.outgoing-value-write-body": OutgoingValue.write_body,
            "[static]outgoing-value.finish": OutgoingValue.finish,
            "[static]incoming-value.incoming-value-consume-sync": IncomingValue.consume_sync,
            "[static]incoming-value.incoming-value-consume-async": IncomingValue.consume_async,
            "[method]incoming-value.size": IncomingValue.size,
        }

    def _container(self, request: ImportRequest) -> HostFunctions:
        return _CONTAINER

    def _store(self, request: ImportRequest) -> HostFunctions:
        store = GuardedStore.bind(request, self._workload, _refused)
        self.stores.append(store)
        return {
            "create-container": store.create_container,
            "get-container": store.get_container,
            "delete-container": store.delete_container,
            "container-exists": store.container_exists,
            "copy-object": placed(store.copy_object),
            "move-object": placed(store.move_object),
        }


class WasiBlobStore(InterfaceProvider):
    """Serves ``wasi:blobstore`` from any blob-store backend."""

    package = "wasi:blobstore"
    version = "0.2.0-draft"
    interfaces = frozenset({"types", "container", "blobstore"})
    capability = "blobstore"
    settings = BlobStoreSettings
    linked_directly = True  # as wasi:io is, whose streams come from here
    routes_by_resource = frozenset({"types", "container"})

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
    return [WasiBlobStore()]
