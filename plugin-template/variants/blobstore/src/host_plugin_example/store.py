"""The store: containers that are dictionaries. Copying and moving are left to what every backend inherits."""

from __future__ import annotations

import time

from wasmplex.capabilities.blobstore import (
    PIECE,
    BlobStoreBackend,
    Container,
    ContainerAlreadyExists,
    ContainerInfo,
    NoSuchContainer,
    NoSuchObject,
    ObjectInfo,
    Page,
    QuotaExceeded,
    Reader,
    Steps,
    Writer,
)


class ExampleStore(BlobStoreBackend):
    features = frozenset({"stable-read"})

    def __init__(self, max_size: int) -> None:
        self.max_size = max_size
        self.containers: dict[tuple[str, str], ExampleContainer] = {}

    async def close(self) -> None:
        """Nothing is left open."""

    async def create_container(self, namespace: str, name: str) -> Container:
        if (namespace, name) in self.containers:
            raise ContainerAlreadyExists
        created = self.containers[namespace, name] = ExampleContainer(self)
        return created

    async def get_container(self, namespace: str, name: str) -> Container:
        if (found := self.containers.get((namespace, name))) is None:
            raise NoSuchContainer
        return found

    async def delete_container(self, namespace: str, name: str) -> Steps:
        if (found := self.containers.pop((namespace, name), None)) is not None:
            found.objects = None
        yield 1  # what takes long yields after each step, and has its deadline anew

    def size(self) -> int:
        each = (one.objects for one in self.containers.values())
        return sum(len(data) for objects in each if objects for data, _ in objects.values())


class ExampleContainer(Container):
    def __init__(self, store: ExampleStore) -> None:
        self.store, self.created_at = store, time.time_ns()
        self.objects: dict[str, tuple[bytes, int]] | None = {}

    def existing(self) -> dict[str, tuple[bytes, int]]:
        if self.objects is None:
            raise NoSuchContainer
        return self.objects

    def find(self, name: str) -> tuple[bytes, int]:
        if (found := self.existing().get(name)) is None:
            raise NoSuchObject
        return found

    async def info(self) -> ContainerInfo:
        self.existing()
        return ContainerInfo(self.created_at)

    async def read_object(self, name: str, offset: int, length: int | None) -> Reader:
        data = self.find(name)[0][offset:]
        return ExampleReader(data if length is None else data[:length])

    async def write_object(self, name: str) -> Writer:
        self.existing()
        return ExampleWriter(self, name)

    async def list_objects(self, cursor: str | None, limit: int) -> Page:
        found = sorted(name for name in self.existing() if cursor is None or name > cursor)
        return Page(found[:limit], found[limit - 1] if len(found) > limit else None)

    async def object_info(self, name: str) -> ObjectInfo:
        data, created_at = self.find(name)
        return ObjectInfo(len(data), created_at)

    async def delete_object(self, name: str) -> None:
        self.existing().pop(name, None)


class ExampleReader(Reader):
    def __init__(self, data: bytes) -> None:
        self.left, self.length = memoryview(data), len(data)

    async def read(self) -> bytes:
        piece, self.left = self.left[:PIECE], self.left[PIECE:]
        return bytes(piece)

    async def close(self) -> None:
        """Nothing is left open."""


class ExampleWriter(Writer):
    def __init__(self, container: ExampleContainer, name: str) -> None:
        self.container, self.name, self.written = container, name, bytearray()

    async def write(self, data: bytes | memoryview) -> None:
        store = self.container.store
        if store.size() + len(self.written) + len(data) > store.max_size:
            raise QuotaExceeded("the store is full")
        self.written += data

    async def commit(self) -> None:
        """Put it in its place; nothing of it was seen until now."""
        self.container.existing()[self.name] = bytes(self.written), time.time_ns()

    async def close(self) -> None:
        """Nothing is left behind, whether it was committed or not."""
