"""Blob store in the memory of the host process: a sorted dictionary for each container.

No operation awaits anything, so each is atomic on the event loop. What is being written counts against the
bound as what is stored does: many writers at once have no more room than one.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from itertools import islice
from typing import TypeAlias

from sortedcontainers import SortedDict
from wasmplex.capabilities.blobstore import (
    MAX_PAGE,
    PIECE,
    BlobStoreBackend,
    Container,
    ContainerAlreadyExists,
    ContainerInfo,
    NoSuchContainer,
    NoSuchObject,
    ObjectId,
    ObjectInfo,
    Page,
    QuotaExceeded,
    Reader,
    Steps,
    Writer,
)

from host_plugin_memory import MemoryBlobSettings

__all__ = ["MemoryBlobBackend"]

OVERHEAD = 512
"""Bytes that an object or a container takes besides its name and content."""

Scope: TypeAlias = tuple[str, str]
"""Namespace and name of a container."""


class Blob:
    """An object: never changed, so that readers and copies share it. Compared by identity."""

    __slots__ = ("content", "created_at", "data", "name", "size")

    def __init__(self, content: Content, name: str, data: bytearray, size: int) -> None:
        self.content = content
        self.name = name
        self.data = data
        self.size = size
        self.created_at = time.time_ns()


class Content:
    """What a container holds."""

    __slots__ = ("blobs", "created_at", "size")

    def __init__(self, size: int) -> None:
        self.blobs: SortedDict[str, Blob] = SortedDict()
        self.created_at = time.time_ns()
        self.size = size


class MemoryBlobBackend(BlobStoreBackend):
    """All containers of one open store."""

    def __init__(self, settings: MemoryBlobSettings, features: frozenset[str]) -> None:
        self.features = features
        self.evicts = settings.eviction == "lru"
        self._limit = settings.max_size
        self._used = self._stored = 0
        self._containers: dict[Scope, Content] = {}
        self._by_use: OrderedDict[Blob, None] = OrderedDict()
        """All objects; where it matters, the one that was not used for longest comes first."""

    def __repr__(self) -> str:
        return f"memory: {len(self._by_use)} objects, {self._used} of {self._limit} bytes"

    async def close(self) -> None:
        """Forget everything."""
        for content in self._containers.values():
            content.blobs.clear()
        self._containers.clear()
        self._by_use.clear()

    # ------------------------------------------------------------ containers

    async def create_container(self, namespace: str, name: str) -> MemoryContainer:
        """Create a container, which takes a little of the room."""
        scope = namespace, name
        if scope in self._containers:
            raise ContainerAlreadyExists
        size = len(name.encode()) + OVERHEAD
        self.reserve(size)
        self._containers[scope] = Content(size)
        return MemoryContainer(self, scope)

    async def get_container(self, namespace: str, name: str) -> MemoryContainer:
        """Return a container."""
        self.content((namespace, name))
        return MemoryContainer(self, (namespace, name))

    async def container_exists(self, namespace: str, name: str) -> bool:
        """Return whether there is such a container."""
        return (namespace, name) in self._containers

    async def delete_container(self, namespace: str, name: str) -> Steps:
        """Delete a container at once, and what it held some objects in each step."""
        content = self._containers.pop((namespace, name), None)
        if content is None:
            return
        self.give_back(content.size)
        try:
            while content.blobs:
                for _ in range(min(MAX_PAGE, len(content.blobs))):
                    self._drop(content.blobs.popitem()[1])
                yield 1
        finally:  # of what nobody waits for any more the rest goes now: nobody could delete it later
            for blob in content.blobs.values():
                self._drop(blob)
            content.blobs.clear()

    async def copy_object(self, namespace: str, source: ObjectId, target: ObjectId) -> Steps:
        """Copy an object; both share their bytes, and each counts."""
        blob = self._find(namespace, source)
        destination = self.content((namespace, target.container))
        self.put(destination, target.name, blob.data, len(blob.data))
        yield len(blob.data)

    async def move_object(self, namespace: str, source: ObjectId, target: ObjectId) -> Steps:
        """Move an object, in one step."""
        blob = self._find(namespace, source)
        destination = self.content((namespace, target.container))
        self.put(destination, target.name, blob.data, len(blob.data), blob)
        yield len(blob.data)

    def content(self, scope: Scope) -> Content:
        """Return what a container holds.

        :raises NoSuchContainer: if there is none of that name
        """
        content = self._containers.get(scope)
        if content is None:
            raise NoSuchContainer
        return content

    def _find(self, namespace: str, place: ObjectId) -> Blob:
        return self.find(self.content((namespace, place.container)), place.name)

    # ------------------------------------------------------------ objects

    def find(self, content: Content, name: str) -> Blob:
        """Return an object, which counts as using it.

        :raises NoSuchObject: if there is none of that name
        """
        blob: Blob | None = content.blobs.get(name)
        if blob is None:
            raise NoSuchObject
        if self.evicts:
            self._by_use.move_to_end(blob)
        return blob

    def put(
        self, content: Content, name: str, data: bytearray, reserve: int, source: Blob | None = None
    ) -> None:
        """Put an object in its place.

        :param reserve: how much of the data's room has to be reserved still
        :param source: the object that it was before, which goes
        :raises QuotaExceeded: if there is no room for it
        """
        extra = len(name.encode()) + OVERHEAD
        gone: list[Blob] = [blob for blob in (content.blobs.get(name), source) if blob is not None]
        for blob in gone:
            self.remove(blob)
        try:
            self.reserve(extra + reserve)
        except QuotaExceeded:
            for blob in gone:
                self._add(blob)
                self._used += blob.size
            raise
        self._add(Blob(content, name, data, extra + len(data)))

    def remove(self, blob: Blob) -> None:
        """Remove an object and give its room back."""
        del blob.content.blobs[blob.name]
        self._drop(blob)

    def _drop(self, blob: Blob) -> None:
        """Give the room of an object back that its container has no longer."""
        del self._by_use[blob]
        self._stored -= blob.size
        self.give_back(blob.size)

    def _add(self, blob: Blob) -> None:
        blob.content.blobs[blob.name] = blob
        self._by_use[blob] = None
        self._stored += blob.size

    # ------------------------------------------------------------ room

    def reserve(self, size: int) -> None:
        """Take room, and evict what was used least recently if that is wanted.

        :raises QuotaExceeded: if there is none; nothing is taken or evicted then
        """
        if self._full(size - self._stored if self.evicts else size):
            raise QuotaExceeded("the store is full")
        while self._full(size):
            self.remove(next(iter(self._by_use)))
        self._used += size

    def give_back(self, size: int) -> None:
        """Give room back."""
        self._used -= size

    def _full(self, size: int) -> bool:
        return self._used + size > self._limit


class MemoryContainer(Container):
    """One container."""

    def __init__(self, store: MemoryBlobBackend, scope: Scope) -> None:
        self._store = store
        self._scope = scope

    async def info(self) -> ContainerInfo:
        """See `Container.info`."""
        return ContainerInfo(self._content().created_at)

    async def read_object(self, name: str, offset: int, length: int | None) -> MemoryReader:
        """See `Container.read_object`."""
        return MemoryReader(self._find(name).data, offset, length)

    async def write_object(self, name: str) -> MemoryWriter:
        """See `Container.write_object`."""
        self._content()
        return MemoryWriter(self._store, self._scope, name)

    async def list_objects(self, cursor: str | None, limit: int) -> Page:
        """Return the names in order; the cursor is the last one of the page."""
        blobs = self._content().blobs
        names = list(islice(blobs.irange(cursor, inclusive=(cursor is None, True)), limit + 1))
        more = len(names) > limit
        return Page(names[:limit], names[limit - 1] if more else None)

    async def object_info(self, name: str) -> ObjectInfo:
        """See `Container.object_info`."""
        blob = self._find(name)
        return ObjectInfo(len(blob.data), blob.created_at)

    async def delete_object(self, name: str) -> None:
        """See `Container.delete_object`."""
        blob = self._content().blobs.get(name)
        if blob is not None:
            self._store.remove(blob)

    async def clear(self) -> Steps:
        """Delete all objects, some in each step: other guests have their turn in between."""
        blobs = list(self._content().blobs.values())
        for start in range(0, len(blobs), MAX_PAGE):
            part = [blob for blob in blobs[start : start + MAX_PAGE] if self._there(blob)]
            for blob in part:
                self._store.remove(blob)
            yield len(part)

    def _content(self) -> Content:
        return self._store.content(self._scope)

    def _find(self, name: str) -> Blob:
        return self._store.find(self._content(), name)

    def _there(self, blob: Blob) -> bool:
        return blob.content.blobs.get(blob.name) is blob


class MemoryReader(Reader):
    """A part of an object, which nobody changes."""

    def __init__(self, data: bytearray, offset: int, length: int | None) -> None:
        self._view = memoryview(data)[offset:]
        if length is not None:
            self._view = self._view[:length]
        self.length = len(self._view)

    def readinto_nowait(self, buffer: memoryview) -> int:
        """See `Reader.readinto_nowait`."""
        count = min(len(buffer), len(self._view))
        buffer[:count] = self._view[:count]
        self._view = self._view[count:]
        return count

    async def read(self) -> bytes:
        """See `Reader.read`."""
        piece = bytes(self._view[:PIECE])
        self._view = self._view[PIECE:]
        return piece

    async def close(self) -> None:
        """See `Reader.close`."""
        self._view = memoryview(b"")


class MemoryWriter(Writer):
    """An object that is being written; what it has so far takes room already."""

    def __init__(self, store: MemoryBlobBackend, scope: Scope, name: str) -> None:
        self._store = store
        self._scope = scope
        self._name = name
        self._data = bytearray()
        self._reserved = 0

    async def write(self, data: bytes | memoryview) -> None:
        """See `Writer.write`."""
        self._store.reserve(len(data))
        self._reserved += len(data)
        self._data += data

    async def commit(self) -> None:
        """See `Writer.commit`."""
        self._store.put(self._store.content(self._scope), self._name, self._data, 0)
        self._reserved = 0

    async def close(self) -> None:
        """See `Writer.close`."""
        self._store.give_back(self._reserved)
        self._reserved = 0
