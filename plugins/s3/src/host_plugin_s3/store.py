"""The store: a bucket, and containers that are parts of its keys."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import suppress
from typing import Any, TypeVar

import anyio
import obstore
from obstore.store import S3Store
from wasmplex.capabilities.blobstore import (
    PIECE,
    BlobStoreBackend,
    Container,
    ContainerAlreadyExists,
    ContainerInfo,
    InvalidArgument,
    NoSuchContainer,
    NoSuchObject,
    ObjectId,
    ObjectInfo,
    Page,
    Steps,
    StoreUnavailable,
    copied,
)
from wasmplex.plugin import OpenContext, get_logger

from host_plugin_s3 import S3Settings
from host_plugin_s3.connecting import address, endpoint, store
from host_plugin_s3.failures import Failure, NoServer, answer, failed, opening_failed
from host_plugin_s3.keys import NAME, Keys
from host_plugin_s3.leases import Lease, folder
from host_plugin_s3.sweeping import Left
from host_plugin_s3.transfers import ObjectReader, ObjectWriter

__all__ = ["S3Backend"]

T = TypeVar("T")
logger = get_logger("wasmplex.backends.s3")

_AT_ONCE = 8
"""Requests for the names of objects that are on their way at once."""
_FURTHEST = 2**63 - 1
_COPIED = 5 * 10**9
"""Bytes of an object that Amazon copies with one request."""


async def _asked(request: Awaitable[T]) -> T:
    """Return the answer to a request; FileNotFoundError if there is no such object.

    :raises BlobStoreError: typed, for all else
    """
    try:
        return await request
    except FileNotFoundError as error:
        if answer(error).code == "NoSuchBucket":
            raise failed(error) from error
        raise
    except Failure as error:
        raise failed(error) from error


class S3Backend(BlobStoreBackend):
    """One open store."""

    def __init__(
        self, settings: S3Settings, context: OpenContext, features: frozenset[str], objects: S3Store
    ) -> None:
        self.features = features
        self.settings = settings
        self.timeout = settings.timeout
        self._left = Left(settings, context.base)
        self._lease: Lease | None = None
        self._aborting: asyncio.Task[None] | None = None
        self._store: S3Store | None = objects

    def __repr__(self) -> str:
        return f"s3: {address(self.settings)}, bucket {self.settings.bucket}"

    @classmethod
    async def open(cls, settings: S3Settings, context: OpenContext, features: frozenset[str]) -> S3Backend:
        """Look whether the bucket is there."""
        # In a thread, for it reads certificates.
        objects = await anyio.to_thread.run_sync(
            store, settings, context.base, lambda: context.settings_now(settings)
        )
        backend = cls(settings, context, features, objects)
        try:
            async with asyncio.timeout(2 * settings.timeout):
                await backend._look()
                await backend._look_for_nothing()
        except (*Failure, TimeoutError) as error:
            backend._left.close()
            own = endpoint(settings) if settings.endpoint else None
            raise opening_failed(error, settings.bucket, address(settings), own) from error
        await backend._find_left()
        return backend

    async def _find_left(self) -> None:
        """Find uploads that are not finished before there is one of ours; abort them behind the scenes."""
        try:
            async with asyncio.timeout(self.settings.timeout):
                self._lease = await self._left.lease()
                found = await self._left.find(self.objects, self._lease)
        except (*Failure, TimeoutError) as error:
            logger.debug("s3: cannot look for unfinished uploads: %s", type(error).__name__)
            return
        if found:
            self._aborting = asyncio.create_task(self._left.abort(found))

    async def _look(self) -> None:
        # Listing is what tells a missing bucket from a missing object, and another server from one of S3.
        async for _ in obstore.list(self.objects, self.settings.prefix or None, chunk_size=1):
            break

    async def _look_for_nothing(self) -> None:
        """Ask for an object that cannot be: there are servers that answer anything with a page of theirs."""
        key = f"{folder(self.settings.prefix)}/none-{secrets.token_hex(8)}"
        with suppress(FileNotFoundError):
            await obstore.head_async(self.objects, key)
            raise NoServer

    async def close(self) -> None:
        """Let go of the library's store, and with it of its connections."""
        store, self._store = self._store, None
        with anyio.CancelScope(shield=True):
            if self._aborting is not None:
                self._aborting.cancel()
                await asyncio.wait([self._aborting])
            if store is not None and self._lease is not None:
                await self._lease.close(store)
        self._left.close()

    @property
    def lease(self) -> Lease:
        """What this host says of itself.

        :raises StoreUnavailable: if the store is not open
        """
        if self._lease is None:
            raise StoreUnavailable("the store is not open")
        return self._lease

    @property
    def objects(self) -> S3Store:
        """The library's store.

        :raises StoreUnavailable: if this one is closed
        """
        if self._store is None:
            raise StoreUnavailable("the store is closed")
        return self._store

    async def probe(self) -> None:
        """Ask the server for the bucket."""
        async with asyncio.timeout(self.timeout):
            try:
                await self._look()
            except Failure as error:
                raise failed(error) from error

    def keys(self, namespace: str, container: str) -> Keys:
        """Return the keys of a container."""
        return Keys(self.settings.prefix, namespace, container)

    # ------------------------------------------------------------ containers

    async def create_container(self, namespace: str, name: str) -> Prefix:
        """See `BlobStoreBackend.create_container`."""
        container = Prefix(self, self.keys(namespace, name))
        if await container.exists():  # there are servers that do not know conditions
            raise ContainerAlreadyExists
        try:
            await obstore.put_async(self.objects, container.keys.marker, b"", mode="create")
        except Failure as error:
            if answer(error).status in (409, 412):
                raise ContainerAlreadyExists from None
            raise failed(error) from error
        return container

    async def get_container(self, namespace: str, name: str) -> Prefix:
        """See `BlobStoreBackend.get_container`."""
        container = Prefix(self, self.keys(namespace, name))
        await container.check()
        return container

    async def delete_container(self, namespace: str, name: str) -> Steps:
        """See `BlobStoreBackend.delete_container`."""
        container = Prefix(self, self.keys(namespace, name))
        while await container.exists():
            async for count in container.emptied():
                yield count
            await container.delete([container.keys.marker])
        async for count in container.emptied():  # what was written in between
            yield count

    async def copy_object(self, namespace: str, source: ObjectId, target: ObjectId) -> Steps:
        """See `BlobStoreBackend.copy_object`."""
        origin = await self.get_container(namespace, source.container)
        destination = await self.get_container(namespace, target.container)
        if not await self._copied(origin, source.name, destination, target.name):
            async for count in copied(origin, source.name, destination, target.name):
                yield count
        yield 1

    async def _copied(self, origin: Prefix, source: str, destination: Prefix, target: str) -> bool:
        """Have the server copy, unless it cannot: names in the metadata, and more than 5 GB at Amazon."""
        if origin.keys.metadata(source) or destination.keys.metadata(target):
            return False
        if (await origin.object_info(source)).size > _COPIED:
            return False
        try:
            await _asked(
                obstore.copy_async(self.objects, origin.keys.of(source), destination.keys.of(target))
            )
        except FileNotFoundError:
            raise NoSuchObject from None
        return True


class Prefix(Container):
    """One container."""

    def __init__(self, backend: S3Backend, keys: Keys) -> None:
        self.keys = keys
        self._backend = backend

    @property
    def _objects(self) -> S3Store:
        return self._backend.objects

    async def exists(self) -> bool:
        """Return whether there is such a container."""
        try:
            await _asked(obstore.head_async(self._objects, self.keys.marker))
        except FileNotFoundError:
            return False
        return True

    async def check(self) -> None:
        """Raise NoSuchContainer unless it exists."""
        if not await self.exists():
            raise NoSuchContainer

    async def _missing(self) -> NoSuchContainer | NoSuchObject:
        """Return what is missing where there is no such object."""
        return NoSuchObject() if await self.exists() else NoSuchContainer()

    async def info(self) -> ContainerInfo:
        """See `Container.info`."""
        try:
            found = await _asked(obstore.head_async(self._objects, self.keys.marker))
        except FileNotFoundError:
            raise NoSuchContainer from None
        return ContainerInfo(_nanoseconds(found))

    async def object_info(self, name: str) -> ObjectInfo:
        """See `Container.object_info`."""
        try:
            found = await _asked(obstore.head_async(self._objects, self.keys.of(name)))
        except FileNotFoundError:
            raise await self._missing() from None
        return ObjectInfo(found["size"], _nanoseconds(found))

    # ------------------------------------------------------------ transfers

    async def read_object(self, name: str, offset: int, length: int | None) -> ObjectReader:
        """See `Container.read_object`."""
        if length == 0 or offset > _FURTHEST:
            await self.object_info(name)
            return ObjectReader(0, None)
        options: dict[str, Any] = {}
        if length is not None:
            options["range"] = (offset, min(offset + length, _FURTHEST))
        elif offset:
            options["range"] = {"offset": offset}
        try:
            found = await obstore.get_async(self._objects, self.keys.of(name), options=options)  # type: ignore[arg-type]
        except FileNotFoundError:
            raise await self._missing() from None
        except Failure as error:
            if answer(error).status != 416:
                raise failed(error) from error
            await self.object_info(name)
            return ObjectReader(0, None)
        start, end = found.range
        # A chunk is longer by what the last read of its connection had; larger ones gain nothing.
        stream: AsyncIterator[Any] = aiter(found.stream(min_chunk_size=PIECE // 2))
        return ObjectReader(end - start, stream)

    async def write_object(self, name: str) -> ObjectWriter:
        """See `Container.write_object`."""
        await self.check()
        keys, part_size = self.keys, self._backend.settings.part_size
        key, metadata = keys.of(name), keys.metadata(name)
        return ObjectWriter(self._objects, key, metadata, part_size, self.check, self._backend.lease)

    # ------------------------------------------------------------ listing, deleting

    async def list_objects(self, cursor: str | None, limit: int) -> Page:
        """See `Container.list_objects`."""
        if cursor is not None and not cursor.startswith(self.keys.stem):
            raise InvalidArgument("the cursor is none of this container's")
        keys = await self._page(cursor, limit)
        if not keys or cursor is None:
            await self.check()
        names = await self._names([key for key in keys if key != self.keys.marker])
        return Page(names, keys[-1] if len(keys) == limit else None)

    async def _page(self, after: str | None, limit: int) -> list[str]:
        """Return at most `limit` keys."""
        stem = self.keys.stem
        listing = obstore.list(self._objects, stem.removesuffix("/"), offset=after or stem, chunk_size=limit)
        try:
            async for found in listing:
                return [one["path"] for one in found]
        except Failure as error:
            raise failed(error) from error
        return []

    async def _names(self, keys: Sequence[str]) -> list[str]:
        if not any(map(self.keys.is_digest, keys)):
            return [name for key in keys if (name := self.keys.name(key)) is not None]
        found: dict[str, str | None] = {}
        limiter = anyio.Semaphore(_AT_ONCE)

        async def find(key: str) -> None:
            async with limiter:
                found[key] = await self._name(key) if self.keys.is_digest(key) else self.keys.name(key)

        async with anyio.create_task_group() as group:
            for key in keys:
                group.start_soon(find, key)
        return [name for key in keys if (name := found[key]) is not None]

    async def _name(self, key: str) -> str | None:
        """Return the name in an object's metadata, None if it is gone, or none of ours."""
        try:
            head = await _asked(obstore.get_async(self._objects, key, options={"head": True}))
        except FileNotFoundError:
            return None
        text = {str(name).lower(): str(text) for name, text in head.attributes.items()}.get(NAME, "")
        name = self.keys.name(self.keys.stem + text)
        return name if name is not None and self.keys.of(name) == key else None

    async def delete_object(self, name: str) -> None:
        """See `Container.delete_object`."""
        await self.delete_objects([name])

    async def delete_objects(self, names: Sequence[str]) -> None:
        """See `Container.delete_objects`."""
        await self.check()
        await self.delete([self.keys.of(name) for name in names])

    async def delete(self, keys: Sequence[str]) -> None:
        """Delete by keys."""
        if keys:
            with suppress(FileNotFoundError):  # there are servers that say so
                await _asked(obstore.delete_async(self._objects, list(keys)))

    async def clear(self) -> Steps:
        """See `Container.clear`."""
        await self.check()
        async for count in self.emptied():
            yield count

    async def emptied(self) -> Steps:
        """Delete all objects, whether the container exists or not."""
        after = None
        while keys := await self._page(after, 1000):
            after = keys[-1]
            await self.delete([key for key in keys if key != self.keys.marker])
            yield len(keys)


def _nanoseconds(found: Any) -> int:
    moment: float = found["last_modified"].timestamp()
    return round(moment * 1_000_000) * 1000
