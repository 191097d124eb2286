"""The blob store: a connection, and containers that are object stores."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import anyio
from wasmplex.capabilities.blobstore import (
    BlobStoreBackend,
    BlobStoreError,
    Container,
    ContainerInfo,
    NoSuchObject,
    ObjectInfo,
    Page,
    Steps,
)
from wasmplex.capabilities.keyvalue import KeyValueError
from wasmplex.capabilities.keyvalue.listing import Windows
from wasmplex.plugin import OpenContext, get_logger

from host_plugin_nats import NatsBlobSettings
from host_plugin_nats.blobs.failures import failed
from host_plugin_nats.blobs.layout import Meta
from host_plugin_nats.blobs.listing import ContainerListing
from host_plugin_nats.blobs.objects import ObjectStream
from host_plugin_nats.blobs.sweeping import sweep
from host_plugin_nats.blobs.transfers import ObjectReader, ObjectWriter
from host_plugin_nats.connecting import Told, address
from host_plugin_nats.failures import ApiError, api_failed
from host_plugin_nats.link import Link
from host_plugin_nats.opening import open_link
from host_plugin_nats.stream import Stream

__all__ = ["NatsBlobBackend"]

logger = get_logger("wasmplex.backends.nats")

_AT_ONCE = 16


class NatsBlobBackend(BlobStoreBackend):
    """One open store."""

    def __init__(self, settings: NatsBlobSettings, told: Told, features: frozenset[str]) -> None:
        self.features = features
        self.settings = settings
        self.address = address(settings)
        self.windows = Windows()
        self.link = Link(told.now, self._prepare, told.renew)
        self._told = told
        self._sweeping: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"nats: {self.address}, {'up' if self.link.is_up else 'down'}"

    @classmethod
    async def open(
        cls, settings: NatsBlobSettings, context: OpenContext, features: frozenset[str]
    ) -> NatsBlobBackend:
        """Connect; everything is closed again if that fails."""
        backend = cls(settings, await Told.read(settings, context), features)
        await open_link(backend.link, settings.timeout, backend.address)
        backend._sweeping = asyncio.create_task(backend._sweep())
        return backend

    async def _prepare(self) -> None:
        try:
            await Stream(self.link, "", "", self.settings.domain).ask("INFO")
        except ApiError as error:
            raise api_failed(error) from error

    async def _sweep(self) -> None:
        try:
            await sweep(self.link, self.settings)
        except (KeyValueError, ApiError, BlobStoreError) as error:
            logger.debug("nats: cannot look for what killed hosts have left: %s", error)

    async def close(self) -> None:
        """Close the connection."""
        self._told.close()
        with anyio.CancelScope(shield=True):
            if self._sweeping is not None:
                self._sweeping.cancel()
                await asyncio.wait([self._sweeping])
            await self.link.close()

    async def probe(self) -> None:
        """Ask JetStream whether it answers."""
        async with asyncio.timeout(self.settings.timeout):
            try:
                await Stream(self.link, "", "", self.settings.domain).ask("INFO")
            except (KeyValueError, ApiError) as error:
                raise failed(error) from error

    def _stream(self, namespace: str, name: str) -> ObjectStream:
        return ObjectStream.of(self.link, self.settings, namespace, name)

    async def create_container(self, namespace: str, name: str) -> ObjectContainer:
        """See `BlobStoreBackend.create_container`."""
        stream = self._stream(namespace, name)
        await stream.create(namespace, name)
        return ObjectContainer(self, stream)

    async def get_container(self, namespace: str, name: str) -> ObjectContainer:
        """See `BlobStoreBackend.get_container`."""
        stream = self._stream(namespace, name)
        await stream.look()
        return ObjectContainer(self, stream)

    async def delete_container(self, namespace: str, name: str) -> Steps:
        """See `BlobStoreBackend.delete_container`."""
        await self._stream(namespace, name).remove()
        yield 1


class ObjectContainer(Container):
    """One container."""

    def __init__(self, backend: NatsBlobBackend, stream: ObjectStream) -> None:
        self._backend = backend
        self._stream = stream

    async def info(self) -> ContainerInfo:
        """See `Container.info`."""
        return ContainerInfo((await self._stream.look()).nanoseconds)

    async def _meta(self, name: str) -> Meta:
        meta = (await self._stream.find(name)).meta
        if meta is None:
            raise NoSuchObject
        return meta

    async def read_object(self, name: str, offset: int, length: int | None) -> ObjectReader:
        """See `Container.read_object`."""
        meta = await self._meta(name)
        left = max(meta.size - offset, 0)
        length = left if length is None else min(left, length)
        reader = ObjectReader(self._backend.link, self._stream, meta, offset, length)
        if length:
            await self._stream.asked(reader.open)
        return reader

    async def write_object(self, name: str) -> ObjectWriter:
        """See `Container.write_object`."""
        created = (await self._stream.look()).text
        return ObjectWriter(self._backend.link, self._stream, name, created)

    async def list_objects(self, cursor: str | None, limit: int) -> Page:
        """See `Container.list_objects`."""
        await self._stream.look()
        listing = ContainerListing(self._stream)
        page = await self._stream.asked(lambda: self._backend.windows.page(listing, cursor, limit))
        return Page(page.keys, page.cursor)

    async def object_info(self, name: str) -> ObjectInfo:
        """See `Container.object_info`."""
        meta = await self._meta(name)
        return ObjectInfo(meta.size, meta.written)

    async def delete_object(self, name: str) -> None:
        """See `Container.delete_object`."""
        await self._stream.delete(name)

    async def delete_objects(self, names: Sequence[str]) -> None:
        """See `Container.delete_objects`."""
        await self._stream.look()
        errors: list[Exception] = []
        limiter = anyio.Semaphore(_AT_ONCE)

        async def delete(name: str) -> None:
            async with limiter:
                try:
                    await self._stream.delete(name)
                except Exception as error:  # noqa: BLE001  whatever it is, the others are attempted
                    errors.append(error)

        async with anyio.create_task_group() as group:
            for name in dict.fromkeys(names):
                group.start_soon(delete, name)
        if errors:
            raise errors[0]
