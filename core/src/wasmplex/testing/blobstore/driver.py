"""How the blob-store kit reaches a backend: as a guest would, through the policy that all backends get."""

# The methods of `Handle` and `Store` are those of `wasmplex.capabilities.blobstore`, documented there.
# ruff: noqa: D102

from __future__ import annotations

from abc import abstractmethod
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Protocol

from wasmplex.capabilities.blobstore import (
    FEATURES,
    BlobStoreBackend,
    BlobStoreError,
    ObjectId,
    ObjectInfo,
)
from wasmplex.interfaces.blobstore.policy import U64_MAX, BlobStoreSettings, GuardedContainer, GuardedStore
from wasmplex.interfaces.blobstore.transfers import GuardedReader, GuardedWriter
from wasmplex.policy import Scope
from wasmplex.testing import kit
from wasmplex.testing.kit import Driver, Refused, outcome

__all__ = ["WORDS", "Bench", "BlobStoreDriver", "ContractDriver", "ContractHandle", "Handle", "Store", "rest"]

WORDS = frozenset({"pieces"})
"""What drivers may have words for, besides features."""


class Handle(Protocol):
    """A container, as a guest sees it; errors are `Refused`."""

    async def name(self) -> str: ...
    async def created_at(self) -> int: ...
    async def get(self, name: str, start: int = 0, end: int = U64_MAX) -> bytes: ...
    async def put(self, name: str, data: bytes) -> None: ...
    async def abandon(self, name: str, data: bytes) -> None:
        """Write an object, and stop before it is at its end."""

    async def names(self) -> list[str]: ...
    async def has(self, name: str) -> bool: ...
    async def stat(self, name: str) -> ObjectInfo: ...
    async def delete(self, name: str) -> None: ...
    async def delete_many(self, names: Sequence[str]) -> None: ...
    async def clear(self) -> None: ...


class Store(Protocol):
    """One binding, as a guest sees it."""

    async def create(self, name: str) -> Handle: ...
    async def container(self, name: str) -> Handle: ...
    async def delete(self, name: str) -> None: ...
    async def exists(self, name: str) -> bool: ...
    async def copy(self, source: ObjectId, target: ObjectId) -> None: ...
    async def move(self, source: ObjectId, target: ObjectId) -> None: ...


class BlobStoreDriver(Driver[BlobStoreBackend]):
    """Base of the blob-store drivers.

    The word is ``pieces``: readers and writers are at hand, a piece at a time.
    """

    features = FEATURES

    @abstractmethod
    async def store(self, scope: Scope, settings: BlobStoreSettings) -> Store:
        """Return one binding to the backend."""


class ContractDriver(BlobStoreDriver):
    """Straight through the Python contract."""

    words = WORDS

    async def store(self, scope: Scope, settings: BlobStoreSettings) -> ContractStore:
        return ContractStore(GuardedStore(self.backend, settings, scope, _refused))


def _refused(operation: str, error: BlobStoreError) -> Refused:
    return Refused(error.case, f"{operation}: {error}")


class ContractStore:
    """One binding."""

    def __init__(self, store: GuardedStore) -> None:
        self.guarded = store
        self.delete = store.delete_container
        self.exists = store.container_exists
        self.copy = store.copy_object
        self.move = store.move_object

    async def create(self, name: str) -> ContractHandle:
        return ContractHandle(await self.guarded.create_container(name))

    async def container(self, name: str) -> ContractHandle:
        return ContractHandle(await self.guarded.get_container(name))


class ContractHandle:
    """One container."""

    def __init__(self, container: GuardedContainer) -> None:
        self._container = container
        self.has = container.has_object
        self.stat = container.object_info
        self.delete = container.delete_object
        self.delete_many = container.delete_objects
        self.clear = container.clear

    async def name(self) -> str:
        return self._container.name

    async def created_at(self) -> int:
        return (await self._container.info()).created_at

    async def get(self, name: str, start: int = 0, end: int = U64_MAX) -> bytes:
        async with self.reader(name, start, end) as reader:
            return await rest(reader)

    async def put(self, name: str, data: bytes) -> None:
        async with self.writer(name) as writer:
            await writer.write_all(data)
            await writer.commit()

    async def abandon(self, name: str, data: bytes) -> None:
        async with self.writer(name) as writer:
            await writer.write_all(data)

    async def names(self) -> list[str]:
        return [name async for page in await self._container.list_objects() for name in page]

    @asynccontextmanager
    async def reader(self, name: str, start: int = 0, end: int = U64_MAX) -> AsyncIterator[GuardedReader]:
        reader = await self._container.read_object(name, start, end)
        try:
            yield reader
        finally:
            await reader.close()

    @asynccontextmanager
    async def writer(self, name: str) -> AsyncIterator[GuardedWriter]:
        writer = await self._container.write_object(name)
        try:
            yield writer
        finally:
            await writer.close()


async def rest(reader: GuardedReader) -> bytes:
    """Return all that is left to be read."""
    found = bytearray()
    while piece := await reader.read():
        found += piece
    return bytes(found)


class Bench(kit.Bench[BlobStoreDriver]):
    """A blob-store backend under test; see `wasmplex.testing.kit.Bench`."""

    contract = BlobStoreBackend

    async def store(
        self,
        label: str | None = "store",
        *,
        workload: str = "kit",
        namespace: str | None = None,
        **settings: Any,
    ) -> Store:
        """Return a binding; `settings` are those of `BlobStoreSettings`."""
        scope = Scope(workload, label, self.namespace if namespace is None else namespace)
        return await self.driver.store(scope, BlobStoreSettings(**settings))

    async def container(self, name: str = "container", **binding: Any) -> Handle:
        """Return a container, created unless it is there; see `store` for the other arguments."""
        await outcome((await self.store(namespace=binding.get("namespace"))).create(name))
        return await (await self.store(**binding)).container(name)
