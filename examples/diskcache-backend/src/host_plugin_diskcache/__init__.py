"""The backend ``diskcache``."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wasmplex.plugin import BackendProvider, OpenContext, Settings, Size, hookimpl

if TYPE_CHECKING:
    from host_plugin_diskcache.store import DiskCacheBackend


class DiskCacheSettings(Settings):
    """The keys of a binding."""

    path: Path
    """The directory; a relative path starts at the configuration file."""
    size_limit: Size = 2**30
    """What all entries may take before the least recently stored are dropped."""


class DiskCacheProvider(BackendProvider[DiskCacheSettings]):
    """Opens diskcache directories."""

    name = "diskcache"
    capability = "keyvalue"
    settings = DiskCacheSettings
    features = frozenset({"ttl", "if-not-exists", "increment"})
    durability = "a crash of the host process"

    async def open(self, settings: DiskCacheSettings, context: OpenContext) -> DiskCacheBackend:
        """Open a directory, making it if need be."""
        from host_plugin_diskcache.store import DiskCacheBackend

        return await DiskCacheBackend.open(str(context.base / settings.path), settings.size_limit)


@hookimpl
def wasmplex_backends() -> Iterable[BackendProvider[Any]]:
    """Register the provider."""
    return [DiskCacheProvider()]
