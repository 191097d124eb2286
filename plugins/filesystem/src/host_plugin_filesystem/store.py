"""The store: its operations as the contract has them, each a call in one of the store's threads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import anyio
from wasmplex.capabilities.blobstore import (
    BlobStoreBackend,
    Container,
    ContainerInfo,
    ObjectId,
    ObjectInfo,
    Page,
    Steps,
    StoreUnavailable,
)
from wasmplex.plugin import Threads

from host_plugin_filesystem import FilesystemSettings, operations
from host_plugin_filesystem.disk import Disk
from host_plugin_filesystem.files import Staged
from host_plugin_filesystem.places import Place, container
from host_plugin_filesystem.root import Root
from host_plugin_filesystem.transfers import FileReader, FileWriter

__all__ = ["FilesystemBackend"]

_CLOSING = 5.0

T = TypeVar("T")


class FilesystemBackend(BlobStoreBackend):
    """One open store."""

    def __init__(self, path: Path, root: Root, threads: Threads, features: frozenset[str]) -> None:
        self.features = features
        self._path = path
        self._threads = threads
        self._disk = Disk(root, threads)

    def __repr__(self) -> str:
        return f"filesystem: {self._path}"

    @classmethod
    async def open(
        cls, settings: FilesystemSettings, path: Path, features: frozenset[str]
    ) -> FilesystemBackend:
        """Open the directory."""
        threads = Threads(f"filesystem {path.name}", settings.threads)
        try:
            root = await threads.run(lambda: Root(path, create=settings.create))
        except BaseException:
            threads.close()
            raise
        return cls(path, root, threads, features)

    async def close(self) -> None:
        """Close everything, and remove what was being written."""
        try:
            with anyio.CancelScope(shield=True), anyio.move_on_after(_CLOSING):
                await self._threads.run(self._disk.root.close)
        finally:
            self._threads.close()

    async def probe(self) -> None:
        """Look whether the directory is still there."""
        if not await self._disk.run(self._disk.root.is_there):
            raise StoreUnavailable("the directory of the store was removed or replaced")

    async def create_container(self, namespace: str, name: str) -> Directory:
        """See `BlobStoreBackend.create_container`."""
        place = container(namespace, name)
        await self._disk.run(operations.create, self._disk.root, place)
        return Directory(self._disk, place)

    async def get_container(self, namespace: str, name: str) -> Directory:
        """See `BlobStoreBackend.get_container`."""
        place = container(namespace, name)
        await self._disk.run(operations.check, self._disk.root, place)
        return Directory(self._disk, place)

    def delete_container(self, namespace: str, name: str) -> Steps:
        """See `BlobStoreBackend.delete_container`."""
        place = container(namespace, name)
        return self._disk.steps(operations.delete_container(self._disk.root, place))

    async def move_object(self, namespace: str, source: ObjectId, target: ObjectId) -> Steps:
        """See `BlobStoreBackend.move_object`."""
        origin, destination = (container(namespace, one.container) for one in (source, target))
        places = origin, Place.of(source.name), destination, Place.of(target.name)
        await self._disk.run(operations.move, self._disk.root, *places)
        yield 1

    async def copy_object(self, namespace: str, source: ObjectId, target: ObjectId) -> Steps:
        """See `BlobStoreBackend.copy_object`."""
        origin = await self.get_container(namespace, source.container)
        destination = await self.get_container(namespace, target.container)
        reader = await origin.read_object(source.name, 0, None)
        try:
            writer = await destination.write_object(target.name)
            try:
                async for count in writer.copy(reader):
                    yield count
                await writer.commit()
            finally:
                await writer.close()
        finally:
            await reader.close()


class Directory(Container):
    """One container."""

    def __init__(self, disk: Disk, place: Place) -> None:
        self._disk = disk
        self._place = place

    async def _run(self, function: Callable[..., T], *args: Any) -> T:
        return await self._disk.run(function, self._disk.root, self._place, *args)

    async def info(self) -> ContainerInfo:
        """See `Container.info`."""
        return await self._run(operations.state)

    async def read_object(self, name: str, offset: int, length: int | None) -> FileReader:
        """See `Container.read_object`."""
        source = await self._run(operations.read, Place.of(name))
        left = max(source.size - offset, 0)
        return FileReader(self._disk, source, offset, left if length is None else min(left, length))

    async def write_object(self, name: str) -> FileWriter:
        """See `Container.write_object`."""
        await self._run(operations.check)
        staged = await self._disk.run(Staged, self._disk.root)
        return FileWriter(self._disk, self._place, Place.of(name), staged)

    async def list_objects(self, cursor: str | None, limit: int) -> Page:
        """See `Container.list_objects`."""
        return await self._run(operations.page, self._disk.windows, cursor, limit)

    async def object_info(self, name: str) -> ObjectInfo:
        """See `Container.object_info`."""
        return await self._run(operations.object_info, Place.of(name))

    async def delete_object(self, name: str) -> None:
        """See `Container.delete_object`."""
        await self._run(operations.delete, [Place.of(name)])

    async def delete_objects(self, names: Sequence[str]) -> None:
        """See `Container.delete_objects`."""
        await self._run(operations.delete, [Place.of(name) for name in names])
