"""Reaching a blob store through a guest, of ``wasmcloud:blobstore`` or of ``wasi:blobstore``.

The components' sources are in ``tests/guests``.
"""

# The methods of a container are those of `wasmplex.testing.blobstore.driver`, documented there.

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from wasmplex.capabilities.blobstore import BlobStoreBackend, BlobStoreError, ObjectId, ObjectInfo
from wasmplex.interfaces.blobstore.policy import U64_MAX, BlobStoreSettings
from wasmplex.policy import Scope
from wasmplex.testing.blobstore.driver import BlobStoreDriver, Store
from wasmplex.testing.kit import Guest, Refused
from wasmplex.testing.kit import GuestDriver as AnyGuestDriver
from wasmplex.values import Variant

__all__ = ["AsyncGuestDriver", "GuestDriver", "LabelledAsyncGuestDriver", "LabelledGuestDriver"]


class GuestDriver(AnyGuestDriver[BlobStoreBackend], BlobStoreDriver):
    """Through a guest that imports ``wasi:blobstore`` without labels."""

    component = "blobstore.wasm"
    package = "wasi:blobstore"

    async def store(self, scope: Scope, settings: BlobStoreSettings) -> Store:
        """Return a guest with one binding, in a host of its own; the same for the same binding."""
        binding = settings.model_dump(exclude_unset=True) | {"namespace": scope.namespace}
        return GuestStore(await self.bound((scope, settings), scope.workload, binding))

    def refusal(self, error: Any) -> Refused:
        """Read back what the draft says in words."""
        assert isinstance(error, str)
        for kind in BlobStoreError.__subclasses__():
            if error.startswith(f"{kind.summary}: "):
                return Refused(kind.case, error.removeprefix(f"{kind.summary}: "))
        raise AssertionError(f"an error without its case: {error}")


class LabelledGuestDriver(GuestDriver):
    """Through a guest that imports the store of ``wasi:blobstore`` under a label."""

    component = "blobstore-labelled.wasm"
    labels = ("kit",)


class AsyncGuestDriver(GuestDriver):
    """Through a guest that imports ``wasmcloud:blobstore`` without labels; bytes cross in its memory."""

    component = "blobstore-async.wasm"
    package = "wasmcloud:blobstore"
    transport = "memory"

    def refusal(self, error: Any) -> Refused:
        """Return the error's case."""
        assert isinstance(error, Variant)
        return Refused(error.tag, error.value or "")


class LabelledAsyncGuestDriver(AsyncGuestDriver):
    """Through a guest that imports two stores under labels; bytes cross as strings."""

    component = "blobstore-async-labelled.wasm"
    labels = ("kit", "other")
    transport = "strings"


class GuestStore:
    """One guest, and through it one binding."""

    def __init__(self, guest: Guest) -> None:
        self.call = guest.call

    async def create(self, name: str) -> GuestContainer:
        await self.call("blobs#create", name)
        return GuestContainer(self, name)

    async def container(self, name: str) -> GuestContainer:
        await self.call("blobs#open", name)
        return GuestContainer(self, name)

    async def delete(self, name: str) -> None:
        await self.call("blobs#remove", name)

    async def exists(self, name: str) -> bool:
        return bool(await self.call("blobs#there", name))

    async def copy(self, source: ObjectId, target: ObjectId) -> None:
        await self.call("blobs#copy", _record(source), _record(target))

    async def move(self, source: ObjectId, target: ObjectId) -> None:
        await self.call("blobs#move", _record(source), _record(target))


def _record(place: ObjectId) -> dict[str, str]:
    return {"container": place.container, "object": place.name}


class GuestContainer:
    """A container, which the guest finds anew for every operation."""

    def __init__(self, store: GuestStore, name: str) -> None:
        self._store = store
        self._name = name

    async def _call(self, function: str, *args: Any) -> Any:
        return await self._store.call(f"blobs#{function}", self._name, *args)

    async def name(self) -> str:
        return str(await self._call("name"))

    async def created_at(self) -> int:
        info = await self._call("info")
        assert info["name"] == self._name
        return int(info["created-at"])

    async def get(self, name: str, start: int = 0, end: int = U64_MAX) -> bytes:
        return bytes(await self._call("get", name, start, end))

    async def put(self, name: str, data: bytes) -> None:
        await self._call("put", name, data)

    async def abandon(self, name: str, data: bytes) -> None:
        await self._call("abandon", name, data)

    async def names(self) -> list[str]:
        return list(await self._call("names"))

    async def has(self, name: str) -> bool:
        return bool(await self._call("has", name))

    async def stat(self, name: str) -> ObjectInfo:
        info = await self._call("stat", name)
        assert (info["container"], info["name"]) == (self._name, name)
        return ObjectInfo(info["size"], info["created-at"])

    async def delete(self, name: str) -> None:
        await self._call("delete", name)

    async def delete_many(self, names: Sequence[str]) -> None:
        await self._call("delete-many", list(names))

    async def clear(self) -> None:
        await self._call("clear")
