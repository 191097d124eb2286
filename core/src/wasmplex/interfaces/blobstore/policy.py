"""What every blob-store backend gets for free: limits, grants, deadlines and typed errors.

The interfaces (`wasi:blobstore`, `wasmcloud:blobstore`) put a `GuardedContainer` between guest and backend.
They differ in how an error looks to the guest, and in how bytes are moved: see `transfers` for that.
"""

from __future__ import annotations

from collections.abc import Coroutine, Iterable
from typing import Annotated, Any

from pydantic import Field

from wasmplex.capabilities.blobstore import (
    CASES,
    MAX_PAGE,
    AccessDenied,
    BlobStoreBackend,
    BlobStoreError,
    Container,
    ContainerInfo,
    InvalidArgument,
    NoSuchContainer,
    ObjectId,
    ObjectInfo,
    Steps,
)
from wasmplex.errors import PluginError
from wasmplex.interfaces.blobstore.transfers import GuardedListing, GuardedReader, GuardedWriter
from wasmplex.plugins.contracts import ImportRequest
from wasmplex.policy import Dialect, Guard, PolicySettings, Scope, operation, steps
from wasmplex.policy.batches import sift
from wasmplex.policy.closing import Closings
from wasmplex.policy.names import MAX_NAME, too_long
from wasmplex.settings import Duration, Size

__all__ = ["U64_MAX", "BlobStoreSettings", "GuardedContainer", "GuardedStore"]

U64_MAX = 2**64 - 1


class BlobStoreSettings(PolicySettings):
    """What a blob-store binding may say besides the settings of its backend."""

    containers: tuple[str, ...] | None = None
    """The containers that may be used; any if absent."""
    read_only: bool = False
    """Whether everything that changes something is refused."""
    max_object: Annotated[Size, Field(ge=1)] = 16 * 2**30
    """The largest object in bytes."""
    idle_timeout: Annotated[Duration, Field(gt=0)] = 30.0
    """How long a transfer may make no progress; `timeout` is for what moves no content."""


class _Refused(AccessDenied):
    """The configuration denies it: nothing of the server's."""

    configured = True


def check_name(name: str) -> None:
    """Refuse a name that is too long."""
    if too_long(name):
        raise InvalidArgument(f"a name is over {MAX_NAME} bytes")


class GuardedStore:
    """The containers of one binding.

    :param dialect: how errors look to the guest
    :param plugin: who brought the backend, for the log
    """

    __slots__ = ("backend", "closings", "guard", "scope", "settings")

    def __init__(
        self,
        backend: BlobStoreBackend,
        settings: BlobStoreSettings,
        scope: Scope,
        dialect: Dialect,
        plugin: str = "",
    ) -> None:
        self.backend = backend
        self.settings = settings
        self.scope = scope
        self.closings = Closings(settings.timeout, plugin)
        self.guard = Guard(
            CASES,
            dialect,
            timeout=settings.timeout,
            idle=settings.idle_timeout,
            granted=scope.granted,
            circuit=backend.circuit,
            plugin=plugin,
            label=scope.label or "",
        )

    @classmethod
    def bind(cls, request: ImportRequest, workload: str, dialect: Dialect) -> GuardedStore:
        """Return the store for one import of a ``blobstore`` interface.

        :raises wasmplex.errors.PluginError: if the binding's backend has not the contract that it claims
        """
        backend, settings = request.backend, request.settings
        if not isinstance(backend, BlobStoreBackend) or not isinstance(settings, BlobStoreSettings):
            raise PluginError(f"{type(backend).__name__} is no blob-store backend", where=request.interface)
        namespace = settings.namespace or request.namespace
        scope = Scope(workload, request.label, namespace, request.granted)
        return cls(backend, settings, scope, dialect, request.plugin)

    def check_writable(self) -> None:
        """Refuse a change where the binding is for reading only."""
        if self.settings.read_only:
            raise _Refused("the configuration grants reading only")

    async def check_granted(self, name: str) -> None:
        """Refuse a container that the binding does not grant.

        :raises NoSuchContainer: if there is none of that name
        :raises AccessDenied: if there is
        """
        check_name(name)
        if self._grants(name):
            return
        if await self.backend.container_exists(self.scope.namespace, name):
            raise _Refused("the configuration does not grant this container")
        raise NoSuchContainer("there is no such container among those that the configuration grants")

    def _grants(self, name: str) -> bool:
        granted = self.settings.containers
        return granted is None or name in granted

    def _check_change(self, name: str) -> None:
        self.check_writable()
        check_name(name)
        if not self._grants(name):
            raise _Refused("the configuration does not grant this container")

    # ------------------------------------------------------------ operations

    @operation("create-container", "blobstore")
    async def create_container(self, name: str) -> GuardedContainer:
        """See `BlobStoreBackend.create_container`."""
        self._check_change(name)
        created = await self.backend.create_container(self.scope.namespace, name)
        return GuardedContainer(self, name, created)

    @operation("get-container", "blobstore")
    async def get_container(self, name: str) -> GuardedContainer:
        """See `BlobStoreBackend.get_container`."""
        await self.check_granted(name)
        return GuardedContainer(self, name, await self.backend.get_container(self.scope.namespace, name))

    @steps("delete-container", "blobstore")
    def delete_container(self, name: str) -> Steps:
        """See `BlobStoreBackend.delete_container`."""
        self._check_change(name)
        return self.backend.delete_container(self.scope.namespace, name)

    @operation("container-exists", "blobstore", returns=bool)
    async def container_exists(self, name: str) -> bool:
        """Return whether there is such a container."""
        try:
            await self.check_granted(name)
        except NoSuchContainer:
            return False
        return await self.backend.container_exists(self.scope.namespace, name)

    @steps("copy-object", "blobstore")
    async def copy_object(self, source: ObjectId, target: ObjectId) -> Steps:
        """See `BlobStoreBackend.copy_object`; an object is copied onto itself by leaving it alone."""
        if await self._other(source, target):
            async for count in self.backend.copy_object(self.scope.namespace, source, target):
                yield count

    @steps("move-object", "blobstore")
    async def move_object(self, source: ObjectId, target: ObjectId) -> Steps:
        """See `BlobStoreBackend.move_object`; moving an object onto itself does nothing."""
        if await self._other(source, target):
            async for count in self.backend.move_object(self.scope.namespace, source, target):
                yield count

    async def _other(self, source: ObjectId, target: ObjectId) -> bool:
        """Check both places; return whether they are two. Where they are one, the object has to exist."""
        self.check_writable()
        for container, name in (source, target):
            check_name(name)
            await self.check_granted(container)
        if source != target:
            return True
        origin = await self.backend.get_container(self.scope.namespace, source.container)
        await origin.object_info(source.name)
        return False


class GuardedContainer:
    """A container as guests hold it: the operations of `Container`, checked, timed, errors in the dialect."""

    __slots__ = ("container", "guard", "name", "store")

    def __init__(self, store: GuardedStore, name: str, container: Container) -> None:
        self.store = store
        self.name = name
        self.container = container
        self.guard = store.guard

    @operation("info", "blobstore", returns=ContainerInfo)
    def info(self) -> Coroutine[Any, Any, ContainerInfo]:
        """See `Container.info`."""
        return self.container.info()

    @operation("get-data", "blobstore")
    async def read_object(self, name: str, start: int = 0, end: int = U64_MAX) -> GuardedReader:
        """Begin to read from the byte `start` to the byte `end`, both included; see `GuardedReader`.

        A range is cut to the object; one that is reversed, or starts past the end, is empty.
        """
        check_name(name)
        length = None if end == U64_MAX else max(end - start + 1, 0)
        reader = await self.container.read_object(name, start, length)
        return GuardedReader(self.guard, self.store.closings, reader)

    @operation("write-data", "blobstore")
    async def write_object(self, name: str) -> GuardedWriter:
        """Begin to write; see `GuardedWriter`."""
        self._check_change(name)
        writer = await self.container.write_object(name)
        return GuardedWriter(self.guard, self.store.closings, writer, self.store.settings.max_object)

    @operation("list-objects", "blobstore")
    async def list_objects(self) -> GuardedListing:
        """Begin to list; see `GuardedListing`."""
        first = await self.container.list_objects(None, MAX_PAGE)
        return GuardedListing(self.guard, self.container, first)

    @operation("has-object", "blobstore", returns=bool)
    def has_object(self, name: str) -> Coroutine[Any, Any, bool]:
        """See `Container.has_object`."""
        check_name(name)
        return self.container.has_object(name)

    @operation("object-info", "blobstore", returns=ObjectInfo)
    def object_info(self, name: str) -> Coroutine[Any, Any, ObjectInfo]:
        """See `Container.object_info`."""
        check_name(name)
        return self.container.object_info(name)

    @operation("delete-object", "blobstore")
    def delete_object(self, name: str) -> Coroutine[Any, Any, None]:
        """See `Container.delete_object`."""
        self._check_change(name)
        return self.container.delete_object(name)

    @steps("delete-objects", "blobstore")
    async def delete_objects(self, names: Iterable[str]) -> Steps:
        """Delete any number of objects. Every one is attempted; the first error is raised at the end.

        A server that cannot be reached is not asked again.
        """
        self.store.check_writable()
        good, first = sift(dict.fromkeys(names), check_name)
        for start in range(0, len(good), MAX_PAGE):
            part = good[start : start + MAX_PAGE]
            try:
                await self.container.delete_objects(part)
            except BlobStoreError as error:
                first = first or error
                if error.unavailable:
                    break
            yield len(part)
        if first is not None:
            raise first
        if not good:
            await self.container.info()  # there has to be a container

    @steps("clear", "blobstore")
    def clear(self) -> Steps:
        """See `Container.clear`."""
        self.store.check_writable()
        return self.container.clear()

    def _check_change(self, name: str) -> None:
        self.store.check_writable()
        check_name(name)
