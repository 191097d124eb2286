"""Key-value in the memory of the host process."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field
from wasmplex.plugin import BackendProvider, OpenContext, Settings, Size, hookimpl

if TYPE_CHECKING:
    from host_plugin_memory.store import MemoryBackend

__all__ = ["MemoryProvider", "MemorySettings"]


class MemorySettings(Settings):
    """The settings of a ``memory`` binding."""

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


@hookimpl
def wasmplex_backends() -> Iterable[BackendProvider[Any]]:
    """Register the provider."""
    return [MemoryProvider()]
