"""The blob-store contract: what a backend implements, and what guests get through every WIT interface.

A backend deals in its own errors and in valid arguments only. Checking names, sizes and grants, deadlines,
and moving things onto themselves is the host's part (`wasmplex.interfaces.blobstore.policy`), the same for
every backend. `wasmplex.testing.BlobStoreConformance` tests that a backend keeps what is written here.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Sequence
from typing import Any, NamedTuple, TypeAlias

from wasmplex.capabilities.blobstore.errors import NoSuchContainer, NoSuchObject
from wasmplex.plugins.backends import Backend

__all__ = [
    "FEATURES", "MAX_PAGE", "PIECE", "BlobStoreBackend", "Container", "ContainerInfo", "ObjectId",
    "ObjectInfo", "Page", "Reader", "Steps", "Writer", "copied", "existing",
]  # fmt: skip

FEATURES = frozenset({"server-copy", "atomic-move", "stable-read"})
"""In what backends differ. A backend declares what it has in `BlobStoreBackend.features`.

``server-copy``
    Copying moves no bytes through the host.
``atomic-move``
    An object that is moved is in one of both places at any time, and a write to the source meanwhile is
    not lost.
``stable-read``
    A reader reads to the end what it was opened on, though the object is replaced or deleted meanwhile.
    Without it, reading may then fail; it never returns a part of one object and a part of another.
"""

PIECE = 1 << 18
"""The most bytes that `Reader.read` returns and that `Writer.write` is given, and so what one transfer has
in flight in the host: 256 KiB."""

MAX_PAGE = 1000
"""The most names in one `Page`, and the most that `Container.delete_objects` is given."""

Steps: TypeAlias = AsyncIterator[int]
"""An operation that may take as long as it makes progress: its method is an asynchronous generator that
yields after each step, and is done when that ends. Each step has the deadline of a transfer. The number says
how much was done, in bytes or objects; nobody adds it up."""


# ---------------------------------------------------------------- values


class ObjectId(NamedTuple):
    """An object of a namespace."""

    container: str
    name: str


class ContainerInfo(NamedTuple):
    """What is known of a container.

    :ivar created_at: nanoseconds since 1970
    """

    created_at: int


class ObjectInfo(NamedTuple):
    """What is known of an object.

    :ivar size: in bytes
    :ivar created_at: when it was written last, in nanoseconds since 1970
    """

    size: int
    created_at: int


class Page(NamedTuple):
    """Some names, and where the next page starts; `cursor` is None on the last one."""

    names: list[str]
    cursor: str | None = None


# ---------------------------------------------------------------- the contract


class Reader(ABC):
    """A part of an object that is being read. Whoever opened it closes it, in whatever way reading ends.

    :ivar length: how many bytes it has, from the first to the last that it will return
    """

    length: int

    @abstractmethod
    async def read(self) -> bytes:
        """Return the next bytes, at most `PIECE`; none at the end. Not called any more after that.

        Nothing is read ahead of the caller but what it takes to be fast: `PIECE` or two.

        :raises StoreUnavailable: if the connection is lost before all was read: what was returned is a part
        """

    def readinto_nowait(self, buffer: memoryview) -> int:
        """Put the next bytes into a buffer, if they are at hand; return how many.

        0 says that `read` is to be awaited: for bytes that are not, for the end, for what went wrong. Called
        between two calls of `read`, if at all, and on the event loop's thread: it does not block. `buffer`
        has 1 byte or more, also more than `PIECE`; it is the guest's memory, and not to be used after that.
        """
        return 0

    def next_at_hand(self) -> asyncio.Future[Any] | None:
        """Return what is done when `readinto_nowait` is to be called again; None: `read` is to be awaited.

        Called after `readinto_nowait` has returned 0, and before the end. It is cancelled when nothing has
        come for too long; whatever it ends with is raised by `read`, if it is no success.
        """
        return None

    @abstractmethod
    async def close(self) -> None:
        """Release everything. Called once, also in the midst of reading; after that, nothing is read."""


class Writer(ABC):
    """An object that is being written. Whoever opened it closes it; nothing is seen of it until `commit`.

    Cancelling `write` leaves a writer that can be closed and nothing else.
    """

    @abstractmethod
    async def write(self, data: bytes | memoryview) -> None:
        """Take more bytes: 1 to `PIECE`. Returns when there is room for more; `data` may change after that.

        :raises QuotaExceeded: if there is no room for it
        """

    @abstractmethod
    async def commit(self) -> None:
        """Put the object in its place, whole, instead of what may be there. Called at most once, and last.

        When it returns, the object is as durable as the provider declares. When it raises, or is cancelled,
        the old object or the new one is there, whole.

        :raises NoSuchContainer: if there is no such container any more
        :raises QuotaExceeded: if there is no room for it
        """

    @abstractmethod
    async def close(self) -> None:
        """Release everything, and remove what was written unless it is committed. Called once.

        What cannot be removed, for the connection is lost or the process is killed, is never seen as an
        object, and is removed when the store is opened next.
        """


class Container(ABC):
    """One container, open. Holds nothing that must be closed; closing the backend ends it.

    Names of objects are any UTF-8 text of at most 1 KiB, the empty string and ``..`` included; objects of
    different names are different objects. Every operation is atomic, but those on several objects; may be
    cancelled at any await; and raises a `BlobStoreError` for what a guest should be told. That is
    `NoSuchContainer` for all of them once the container was deleted.
    """

    @abstractmethod
    async def info(self) -> ContainerInfo:
        """Return what is known of the container."""

    @abstractmethod
    async def read_object(self, name: str, offset: int, length: int | None) -> Reader:
        """Begin to read an object, from `offset` on.

        :param offset: 0 to 2**64-1; nothing is read where it is past the end
        :param length: the most bytes to read, 0 to 2**64; None for all. Past the end there are none
        :raises NoSuchObject: if there is no such object
        """

    @abstractmethod
    async def write_object(self, name: str) -> Writer:
        """Begin to write an object. Of several writers of one object, the last that commits wins."""

    @abstractmethod
    async def list_objects(self, cursor: str | None, limit: int) -> Page:
        """Return at most `limit` names, in any order; `limit` is 1 to `MAX_PAGE`.

        Following the cursors to the end returns every object that existed throughout exactly once, whatever
        is written meanwhile, and nothing that is no object. A page may be empty and still have a cursor.

        :param cursor: None, or what an earlier page of this container returned, unchanged
        """

    @abstractmethod
    async def object_info(self, name: str) -> ObjectInfo:
        """Return what is known of an object.

        :raises NoSuchObject: if there is no such object
        """

    @abstractmethod
    async def delete_object(self, name: str) -> None:
        """Delete an object; deleting what does not exist succeeds."""

    # Backends override these where their store does it in one go.

    async def has_object(self, name: str) -> bool:
        """Return whether there is such an object."""
        try:
            await self.object_info(name)
        except NoSuchObject:
            return False
        return True

    async def delete_objects(self, names: Sequence[str]) -> None:
        """Delete at most `MAX_PAGE` objects. Every one is attempted; the first error is raised at the end."""
        first: Exception | None = None
        for name in names:
            try:
                await self.delete_object(name)
            except Exception as error:  # noqa: BLE001  whatever it is, the others are attempted
                first = first or error
        if first is not None:
            raise first

    async def clear(self) -> Steps:
        """Delete all objects that were there when it began."""
        cursor = None
        while True:
            page = await self.list_objects(cursor, MAX_PAGE)
            await self.delete_objects(page.names)
            yield len(page.names)
            if (cursor := page.cursor) is None:
                return


class BlobStoreBackend(Backend):
    """An open blob store.

    Containers of different namespaces or names share nothing, whatever characters these contain: names are
    any UTF-8 text of at most 1 KiB, namespaces any text.

    :ivar features: which of `FEATURES` it honours: its provider's, or fewer where the server lacks some
    """

    capability = "blobstore"
    features: frozenset[str] = frozenset()

    @abstractmethod
    async def create_container(self, namespace: str, name: str) -> Container:
        """Create a container, and return it. Of several that create it at once, one succeeds.

        :raises ContainerAlreadyExists: if there is one of that name
        """

    @abstractmethod
    async def get_container(self, namespace: str, name: str) -> Container:
        """Return a container.

        :raises NoSuchContainer: if there is none of that name
        """

    @abstractmethod
    def delete_container(self, namespace: str, name: str) -> Steps:
        """Delete a container with all its objects; deleting what does not exist succeeds.

        One that is created under that name later has none of the old objects, not even while writers of the
        old one are open: they fail with `NoSuchContainer`, or their object is in the new one.
        """

    async def container_exists(self, namespace: str, name: str) -> bool:
        """Return whether there is such a container."""
        return await existing(self, namespace, name) is not None

    async def copy_object(self, namespace: str, source: ObjectId, target: ObjectId) -> Steps:
        """Copy an object over another one, or to a new one. Both are not the same.

        The target is the old object or the whole copy at any time.

        :raises NoSuchContainer: if one of the containers does not exist
        :raises NoSuchObject: if the source does not exist
        """
        origin = await self.get_container(namespace, source.container)
        destination = await self.get_container(namespace, target.container)
        async for count in copied(origin, source.name, destination, target.name):
            yield count

    async def move_object(self, namespace: str, source: ObjectId, target: ObjectId) -> Steps:
        """As `copy_object`, and remove the source once the target is there: no error loses the object."""
        async for count in self.copy_object(namespace, source, target):
            yield count
        await (await self.get_container(namespace, source.container)).delete_object(source.name)


# ---------------------------------------------------------------- what backends share


async def copied(origin: Container, source: str, destination: Container, target: str) -> Steps:
    """Copy an object piece by piece, for backends whose servers cannot."""
    reader = await origin.read_object(source, 0, None)
    try:
        writer = await destination.write_object(target)
        try:
            while piece := await reader.read():
                await writer.write(piece)
                yield len(piece)
            await writer.commit()
        finally:
            await writer.close()
    finally:
        await reader.close()


async def existing(backend: BlobStoreBackend, namespace: str, name: str) -> Container | None:
    """Return a container, None if there is none of that name."""
    try:
        return await backend.get_container(namespace, name)
    except NoSuchContainer:
        return None
