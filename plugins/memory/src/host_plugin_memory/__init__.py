"""Key-value, blob store and messaging in the memory of the host process."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field
from wasmplex.plugin import BackendProvider, Duration, OpenContext, Settings, Size, hookimpl

if TYPE_CHECKING:
    from host_plugin_memory.blobs import MemoryBlobBackend
    from host_plugin_memory.broker import MemoryBroker
    from host_plugin_memory.store import MemoryBackend

__all__ = [
    "MemoryBlobProvider", "MemoryBlobSettings", "MemoryMessagingProvider", "MemoryMessagingSettings",
    "MemoryProvider", "MemorySettings",
]  # fmt: skip


class MemorySettings(Settings):
    """The settings of a ``memory`` binding for key-value."""

    max_size: Annotated[Size, Field(ge=1024)] = 64 * 2**20
    """What all entries together may take: keys, values and 512 bytes of book-keeping for each."""
    max_entries: Annotated[int, Field(ge=1)] = 1_000_000
    """How many keys there may be."""
    eviction: Literal["none", "lru"] = "none"
    """What a write does when it is full: fail with quota-exceeded, or drop the least recently used."""
    per_worker: bool = False
    """Whether each worker of `run --workers` may have a store of its own, as suits what can be made again."""


class MemoryProvider(BackendProvider[MemorySettings]):
    """Opens stores that live as long as the host process."""

    name = "memory"
    capability = "keyvalue"
    settings = MemorySettings
    features = frozenset({"ttl", "if-not-exists", "increment", "cas", "watch"})
    durability = "until the host process ends"
    in_process = True
    per_worker = "per_worker"

    async def open(self, settings: MemorySettings, context: OpenContext) -> MemoryBackend:
        """Open an empty store."""
        from host_plugin_memory.store import MemoryBackend

        return MemoryBackend(settings, self.features)


class MemoryBlobSettings(Settings):
    """The settings of a ``memory`` binding for a blob store."""

    max_size: Annotated[Size, Field(ge=1024)] = 256 * 2**20
    """What all objects together may take, those that are being written included, with 512 bytes of
    book-keeping for each object and container."""
    eviction: Literal["none", "lru"] = "none"
    """What a write does when it is full: fail with quota-exceeded, or drop the least recently used."""
    per_worker: bool = False
    """Whether each worker of `run --workers` may have a store of its own, as suits what can be made again."""


class MemoryBlobProvider(BackendProvider[MemoryBlobSettings]):
    """Opens stores that live as long as the host process."""

    name = "memory"
    capability = "blobstore"
    settings = MemoryBlobSettings
    features = frozenset({"server-copy", "atomic-move", "stable-read"})
    durability = "until the host process ends"
    in_process = True
    per_worker = "per_worker"

    async def open(self, settings: MemoryBlobSettings, context: OpenContext) -> MemoryBlobBackend:
        """Open an empty store."""
        from host_plugin_memory.blobs import MemoryBlobBackend

        return MemoryBlobBackend(settings, self.features)


class MemoryMessagingSettings(Settings):
    """The settings of a ``memory`` binding of messaging."""

    max_size: Annotated[Size, Field(ge=1024)] = 8 * 2**20
    """What all messages together may take that have not been handled: bodies, headers and 256 bytes each. The
    dead letters of a subject may take as much again; the oldest of them go for new ones."""
    max_messages: Annotated[int, Field(ge=1)] = 10_000
    """How many messages there may be that have not been handled."""
    full_wait: Annotated[Duration, Field(ge=0)] = 2.0
    """How long a publisher waits for room in a full broker; then publishing fails with quota-exceeded."""
    per_worker: bool = False
    """Whether each worker of `run --workers` may have a broker of its own: messages stay in their worker."""


class MemoryMessagingProvider(BackendProvider[MemoryMessagingSettings]):
    """Opens brokers that live as long as the host process."""

    name = "memory"
    capability = "messaging"
    settings = MemoryMessagingSettings
    features = frozenset(
        {"dead-letters", "delayed-retry", "durable", "namespaces", "queue-groups", "request"}
    )
    durability = "until the host process ends"
    in_process = True
    per_worker = "per_worker"

    async def open(self, settings: MemoryMessagingSettings, context: OpenContext) -> MemoryBroker:
        """Open a broker without messages."""
        from host_plugin_memory.broker import MemoryBroker

        return MemoryBroker(settings, self.features)


@hookimpl
def wasmplex_backends() -> Iterable[BackendProvider[Any]]:
    """Register the providers."""
    return [MemoryProvider(), MemoryBlobProvider(), MemoryMessagingProvider()]
