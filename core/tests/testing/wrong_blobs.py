"""A small blob-store backend that is right, and a version of it for each of its planted defects.

`test_blob_kit_catches.py` runs this file in a pytest of its own. Most of its tests fail, as they should.
"""

from __future__ import annotations

import asyncio
import posixpath
import time
from collections.abc import Iterable
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from wasmplex.capabilities.blobstore import (
    PIECE,
    BlobStoreBackend,
    Container,
    ContainerAlreadyExists,
    ContainerInfo,
    NoSuchContainer,
    NoSuchObject,
    ObjectId,
    ObjectInfo,
    Other,
    Page,
    Reader,
    Steps,
    Writer,
)
from wasmplex.plugin import BackendProvider, OpenContext, Settings
from wasmplex.testing import BlobStoreConformance
from wasmplex.testing.blobstore import ContractDriver
from wasmplex.testing.loops import EVENT_LOOPS, EventLoop

DEFECTS = {
    # defect: the tests of the kit that must notice it
    "creates-again": {"test_containers_come_and_go"},
    "racing-create": {"test_one_of_several_creates"},
    "picky-remove": {"test_deleting_a_container"},
    "objects-survive": {"test_deleting_a_container"},
    "one-error-for-both": {"test_a_deleted_container_is_not_there"},
    "seconds": {"test_when_a_container_was_created", "test_when_an_object_was_written"},
    "one-namespace": {"test_namespaces_share_nothing"},
    "glued-names": {"test_namespaces_and_containers_do_not_run_into_each_other"},
    "short-names": {"test_object_names_are_any_text"},
    "names-are-paths": {"test_object_names_are_any_text"},
    "exclusive-end": {"test_ranges"},
    "range-ignored": {"test_ranges"},
    "picky-range": {"test_ranges"},
    "wrong-length": {"test_pieces_are_bounded"},
    "whole-pieces": {"test_pieces_are_bounded"},
    "hands-out-twice": {"test_bytes_that_are_at_hand"},
    "keeps-the-view": {"test_a_writer_takes_pieces_of_any_size"},
    "closing-commits": {"test_what_is_abandoned_leaves_the_old_object"},
    "writes-in-place": {"test_nothing_is_seen_before_the_commit", "test_a_write_that_is_cancelled"},
    "lists-what-is-unfinished": {"test_nothing_is_seen_before_the_commit"},
    "stuck-after-cancel": {"test_a_write_that_is_cancelled"},
    "resurrects": {"test_writing_to_a_container_that_is_deleted_meanwhile"},
    "mixes": {"test_a_reader_never_mixes_two_objects"},
    "stable-for-a-while": {"test_a_reader_goes_on"},
    "picky-delete": {"test_deleting"},
    "tombstones": {"test_deleting"},
    "one-page": {"test_listing_is_paged"},
    "cursor-is-an-offset": {"test_listing_while_others_write"},
    "copy-is-an-alias": {"test_copying"},
    "copy-creates": {"test_what_cannot_be_copied"},
    "move-loses": {"test_what_cannot_be_copied"},
    "move-in-two-steps": {"test_moving_is_one_step"},
    "clear-removes": {"test_clearing"},
    "untyped": {"test_errors_are_the_capabilitys_own"},
    "leaves-a-task": {"test_closing_leaves_nothing_behind"},
}


class Blob:
    def __init__(self, data: bytes) -> None:
        self.data = data
        self.created_at = time.time_ns()


class Content:
    def __init__(self) -> None:
        self.blobs: dict[str, Blob] = {}
        self.unfinished: set[str] = set()
        self.gone: set[str] = set()
        self.created_at = time.time_ns()


class SmallBackend(BlobStoreBackend):
    """Everything in dicts."""

    def __init__(self, defect: str, features: frozenset[str]) -> None:
        self.defect = defect
        self.features = features
        self.containers: dict[Any, Content] = {}
        self.old: dict[Any, Content] = {}
        self.lock = anyio.Lock()
        if defect == "leaves-a-task":
            self.task = asyncio.get_running_loop().create_task(asyncio.sleep(3600))

    async def close(self) -> None:
        pass

    def has(self, defect: str) -> bool:
        return self.defect == defect

    def key(self, namespace: str, name: str) -> Any:
        if self.has("one-namespace"):
            namespace = ""
        return f"{namespace}{name}" if self.has("glued-names") else (namespace, name)

    async def create_container(self, namespace: str, name: str) -> Container:
        key = self.key(namespace, name)
        exists = key in self.containers and not self.has("creates-again")
        if self.has("racing-create"):
            await anyio.lowlevel.checkpoint()
        if exists:
            raise ContainerAlreadyExists
        content = Content()
        if self.has("objects-survive") and key in self.old:
            content = self.old[key]
        self.containers.setdefault(key, content)
        return SmallContainer(self, key)

    async def get_container(self, namespace: str, name: str) -> Container:
        key = self.key(namespace, name)
        self.content(key)
        return SmallContainer(self, key)

    async def delete_container(self, namespace: str, name: str) -> Steps:
        key = self.key(namespace, name)
        content = self.containers.pop(key, None)
        if content is None and self.has("picky-remove"):
            raise NoSuchContainer
        if content is not None:
            self.old[key] = content
        yield 1

    def content(self, key: Any) -> Content:
        if key not in self.containers:
            if self.has("untyped"):
                raise KeyError(key)
            raise NoSuchContainer
        return self.containers[key]

    async def copy_object(self, namespace: str, source: ObjectId, target: ObjectId) -> Steps:
        blob = self.carried(namespace, source, target)
        self.content(self.key(namespace, target.container)).blobs[target.name] = blob
        yield 1

    async def move_object(self, namespace: str, source: ObjectId, target: ObjectId) -> Steps:
        if self.has("move-loses"):
            origin = self.content(self.key(namespace, source.container))
            if source.name not in origin.blobs:
                raise NoSuchObject
            blob = origin.blobs.pop(source.name)
            self.content(self.key(namespace, target.container)).blobs[target.name] = blob
            yield 1
            return
        blob = self.carried(namespace, source, target)
        destination = self.content(self.key(namespace, target.container))
        destination.blobs[target.name] = blob
        if self.has("move-in-two-steps"):
            for _ in range(3):
                await anyio.lowlevel.checkpoint()
        self.content(self.key(namespace, source.container)).blobs.pop(source.name, None)
        yield 1

    def carried(self, namespace: str, source: ObjectId, target: ObjectId) -> Blob:
        if self.has("copy-creates"):
            self.containers.setdefault(self.key(namespace, target.container), Content())
        origin = self.content(self.key(namespace, source.container))
        self.content(self.key(namespace, target.container))
        if source.name not in origin.blobs:
            raise NoSuchObject
        blob = origin.blobs[source.name]
        return blob if self.has("copy-is-an-alias") else Blob(blob.data)


class SmallContainer(Container):
    def __init__(self, store: SmallBackend, key: Any) -> None:
        self.store = store
        self.key = key

    @property
    def content(self) -> Content:
        return self.store.content(self.key)

    def name(self, name: str) -> str:
        if self.store.has("short-names"):
            return name[:255]
        return posixpath.normpath(name) if self.store.has("names-are-paths") else name

    def find(self, name: str) -> Blob:
        blob = self.content.blobs.get(self.name(name))
        if blob is None:
            raise NoSuchObject
        return blob

    def time(self, nanoseconds: int) -> int:
        return nanoseconds // 10**9 if self.store.has("seconds") else nanoseconds

    async def info(self) -> ContainerInfo:
        return ContainerInfo(self.time(self.content.created_at))

    async def read_object(self, name: str, offset: int, length: int | None) -> Reader:
        if self.store.has("one-error-for-both") and self.key not in self.store.containers:
            raise NoSuchObject
        blob = self.find(name)
        size = len(blob.data)
        if self.store.has("picky-range") and offset > size:
            raise Other("the range is not satisfiable")
        if self.store.has("exclusive-end") and length:
            length -= 1
        end = size if length is None else min(offset + length, size)
        if self.store.has("range-ignored"):
            offset, end = 0, size
        return SmallReader(self.store, self, name, blob, min(offset, size), max(end, min(offset, size)))

    async def write_object(self, name: str) -> Writer:
        self.content.unfinished.add(self.name(name))
        return SmallWriter(self, self.name(name))

    async def list_objects(self, cursor: str | None, limit: int) -> Page:
        content = self.content
        names: Iterable[str] = content.blobs
        if self.store.has("lists-what-is-unfinished"):
            names = {*names, *(f".{name}" for name in content.unfinished)}
        if self.store.has("tombstones"):
            names = {*names, *content.gone}
        found = sorted(names)
        if self.store.has("cursor-is-an-offset"):
            start = int(cursor or 0)
            more = start + limit < len(found)
            return Page(found[start : start + limit], str(start + limit) if more else None)
        rest = [name for name in found if cursor is None or name > cursor]
        more = len(rest) > limit and not self.store.has("one-page")
        return Page(rest[:limit], rest[limit - 1] if more else None)

    async def object_info(self, name: str) -> ObjectInfo:
        blob = self.find(name)
        return ObjectInfo(len(blob.data), self.time(blob.created_at))

    async def delete_object(self, name: str) -> None:
        name = self.name(name)
        gone = self.content.blobs.pop(name, None)
        if gone is None and self.store.has("picky-delete"):
            raise NoSuchObject
        self.content.gone.add(name)

    async def clear(self) -> Steps:
        self.content.blobs.clear()
        if self.store.has("clear-removes"):
            del self.store.containers[self.key]
        yield 1


class SmallReader(Reader):
    def __init__(
        self, store: SmallBackend, container: SmallContainer, name: str, blob: Blob, start: int, end: int
    ) -> None:
        self.store = store
        self.container = container
        self.name = name
        self.blob = blob
        self.data = blob.data
        self.start = start
        self.end = end
        self.length = len(blob.data) if store.has("wrong-length") else end - start

    def readinto_nowait(self, buffer: memoryview) -> int:
        if not self.store.has("hands-out-twice"):
            return 0
        piece = self.data[self.start : self.end][: len(buffer)]
        buffer[: len(piece)] = piece
        return len(piece)

    async def read(self) -> bytes:
        await anyio.lowlevel.checkpoint()
        now = self.container.content.blobs.get(self.name)
        if self.store.has("mixes") and now is not None:
            self.data = now.data
        if self.store.has("stable-for-a-while") and now is not self.blob:
            raise NoSuchObject
        end = self.end if self.store.has("whole-pieces") else min(self.start + PIECE, self.end)
        piece, self.start = self.data[self.start : end], end
        return piece

    async def close(self) -> None:
        pass


class SmallWriter(Writer):
    def __init__(self, container: SmallContainer, name: str) -> None:
        self.container = container
        self.store = container.store
        self.name = name
        self.parts: list[bytes | memoryview] = []

    async def write(self, data: bytes | memoryview) -> None:
        self.parts.append(data if self.store.has("keeps-the-view") else bytes(data))
        if self.store.has("stuck-after-cancel"):
            await self.store.lock.acquire()
            await anyio.lowlevel.checkpoint()
            self.store.lock.release()
        await anyio.lowlevel.checkpoint()
        if self.store.has("writes-in-place"):
            self.put()

    async def commit(self) -> None:
        if self.store.has("resurrects"):
            self.store.containers.setdefault(self.container.key, Content())
        self.put()

    def put(self) -> None:
        blobs = self.container.content.blobs
        data = b"".join(self.parts)
        if self.store.has("copy-is-an-alias") and self.name in blobs:
            blobs[self.name].data = data
        else:
            blobs[self.name] = Blob(data)

    async def close(self) -> None:
        if self.container.key in self.store.containers:
            self.container.content.unfinished.discard(self.name)
            if self.store.has("closing-commits"):
                self.put()


class SmallProvider(BackendProvider[Settings]):
    name = "small"
    capability = "blobstore"
    features = frozenset({"server-copy", "atomic-move", "stable-read"})
    durability = "until the host process ends"
    defect = ""

    async def open(self, settings: Settings, context: OpenContext) -> BlobStoreBackend:
        return SmallBackend(self.defect, self.features)


class SmallestProvider(SmallProvider):
    """Declares nothing."""

    features = frozenset()


class TestNone(BlobStoreConformance):
    """The backend without a defect, which passes."""

    provider = SmallProvider()
    drivers = (ContractDriver,)


class TestSmallest(BlobStoreConformance):
    """The backend without a feature, which passes."""

    provider = SmallestProvider()
    drivers = (ContractDriver,)


class _OneLoop:
    @pytest.fixture(scope="class")
    @classmethod
    def anyio_backend(cls) -> EventLoop:
        return next(iter(EVENT_LOOPS.values()))


def class_of(defect: str) -> str:
    return "Test" + defect.title().replace("-", "")


for _defect in DEFECTS:
    _base = SmallestProvider if _defect == "mixes" else SmallProvider
    _provider = type("_Provider", (_base,), {"defect": _defect})
    _members = {"provider": _provider(), "drivers": (ContractDriver,)}
    globals()[class_of(_defect)] = type(class_of(_defect), (_OneLoop, BlobStoreConformance), _members)
