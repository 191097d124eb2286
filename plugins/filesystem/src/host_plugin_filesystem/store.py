"""The store: its operations as the contract has them, each a call in one of the store's threads."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import anyio
from wasmplex.capabilities.blobstore import (
    PIECE,
    BlobStoreBackend,
    Container,
    ContainerInfo,
    ObjectId,
    ObjectInfo,
    Page,
    Reader,
    Steps,
    StoreUnavailable,
    Writer,
)
from wasmplex.plugin import Threads

from host_plugin_filesystem import FilesystemSettings, operations
from host_plugin_filesystem.failures import operation_failed
from host_plugin_filesystem.files import Source, Staged
from host_plugin_filesystem.listing import Windows
from host_plugin_filesystem.places import Place, container
from host_plugin_filesystem.root import Root

__all__ = ["FilesystemBackend"]

T = TypeVar("T")


class Shop:
    """What all parts of one store share.

    :ivar root: the directory
    :ivar windows: the names that were read ahead
    """

    def __init__(self, root: Root, threads: Threads) -> None:
        self.root = root
        self.windows = Windows()
        self._threads = threads

    async def run(self, function: Callable[..., T], *args: Any) -> T:
        """Call what blocks in a thread.

        :raises BlobStoreError: typed, for what the system raises
        """
        try:
            return await self._threads.run(function, *args)
        except OSError as error:
            raise operation_failed(error) from error
        except RuntimeError as error:
            raise StoreUnavailable("the store is closed") from error

    async def steps(self, steps: Iterator[int]) -> Steps:
        """Take the steps of an operation one by one."""
        while (count := await self.run(next, steps, None)) is not None:
            yield count


class FilesystemBackend(BlobStoreBackend):
    """One open store."""

    def __init__(self, path: Path, root: Root, threads: Threads, features: frozenset[str]) -> None:
        self.features = features
        self._path = path
        self._threads = threads
        self._shop = Shop(root, threads)

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
                await self._threads.run(self._shop.root.close)
        finally:
            self._threads.close()

    async def probe(self) -> None:
        """Look whether the directory is still there."""
        if not await self._shop.run(self._shop.root.is_there):
            raise StoreUnavailable("the directory of the store was removed or replaced")

    async def create_container(self, namespace: str, name: str) -> Directory:
        """See `BlobStoreBackend.create_container`."""
        place = container(namespace, name)
        await self._shop.run(operations.create, self._shop.root, place)
        return Directory(self._shop, place)

    async def get_container(self, namespace: str, name: str) -> Directory:
        """See `BlobStoreBackend.get_container`."""
        place = container(namespace, name)
        await self._shop.run(operations.check, self._shop.root, place)
        return Directory(self._shop, place)

    def delete_container(self, namespace: str, name: str) -> Steps:
        """See `BlobStoreBackend.delete_container`."""
        place = container(namespace, name)
        return self._shop.steps(operations.delete_container(self._shop.root, place))

    async def move_object(self, namespace: str, source: ObjectId, target: ObjectId) -> Steps:
        """See `BlobStoreBackend.move_object`."""
        origin, destination = (container(namespace, one.container) for one in (source, target))
        places = origin, Place.of(source.name), destination, Place.of(target.name)
        await self._shop.run(operations.move, self._shop.root, *places)
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

    def __init__(self, shop: Shop, place: Place) -> None:
        self._shop = shop
        self._place = place

    async def _run(self, function: Callable[..., T], *args: Any) -> T:
        return await self._shop.run(function, self._shop.root, self._place, *args)

    async def info(self) -> ContainerInfo:
        """See `Container.info`."""
        return await self._run(operations.state)

    async def read_object(self, name: str, offset: int, length: int | None) -> FileReader:
        """See `Container.read_object`."""
        source = await self._run(operations.read, Place.of(name))
        left = max(source.size - offset, 0)
        return FileReader(self._shop, source, offset, left if length is None else min(left, length))

    async def write_object(self, name: str) -> FileWriter:
        """See `Container.write_object`."""
        await self._run(operations.check)
        staged = await self._shop.run(Staged, self._shop.root)
        return FileWriter(self._shop, self._place, Place.of(name), staged)

    async def list_objects(self, cursor: str | None, limit: int) -> Page:
        """See `Container.list_objects`."""
        return await self._run(operations.page, self._shop.windows, cursor, limit)

    async def object_info(self, name: str) -> ObjectInfo:
        """See `Container.object_info`."""
        return await self._run(operations.object_info, Place.of(name))

    async def delete_object(self, name: str) -> None:
        """See `Container.delete_object`."""
        await self._run(operations.delete, [Place.of(name)])

    async def delete_objects(self, names: Sequence[str]) -> None:
        """See `Container.delete_objects`."""
        await self._run(operations.delete, [Place.of(name) for name in names])


class FileReader(Reader):
    """An object that is being read."""

    def __init__(self, shop: Shop, source: Source, offset: int, length: int) -> None:
        self.length = length
        self.source = source
        self._shop = shop
        self._offset = offset
        self._end = offset + length

    async def read(self) -> bytes:
        """See `Reader.read`."""
        length = min(PIECE, self._end - self._offset)
        if length <= 0:
            return b""
        data = self.source.read_cached(length, self._offset)
        if data is None:
            data = await self._shop.run(self.source.read, length, self._offset)
        if not data:
            raise StoreUnavailable("the file was cut short")
        self._offset += len(data)
        return data

    async def close(self) -> None:
        """See `Reader.close`."""
        await _finished(self._shop, self.source.close)


class FileWriter(Writer):
    """An object that is being written."""

    def __init__(self, shop: Shop, place: Place, target: Place, staged: Staged) -> None:
        self._shop = shop
        self._place, self._target = place, target
        self._staged = staged

    async def write(self, data: bytes | memoryview) -> None:
        """See `Writer.write`."""
        await self._shop.run(self._staged.write, bytes(data))

    async def copy(self, reader: FileReader) -> Steps:
        """Write what another file holds."""
        offset = 0
        while count := await self._shop.run(reader.source.copy_to, self._staged, offset):
            offset += count
            yield count

    async def commit(self) -> None:
        """See `Writer.commit`."""
        shop = self._shop
        await shop.run(operations.commit, shop.root, self._place, self._target, self._staged)

    async def close(self) -> None:
        """See `Writer.close`."""
        await _finished(self._shop, self._staged.discard)


_CLOSING = 5.0


async def _finished(shop: Shop, function: Callable[[], None]) -> None:
    """Close a file in a thread, when what is done with it has ended, and although this task is cancelled."""
    with anyio.move_on_after(_CLOSING, shield=True):
        try:
            await shop.run(function)
        except StoreUnavailable:
            function()  # the store is closed, and with it its threads
