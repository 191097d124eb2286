"""Blob store in a directory, safe to share between processes."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field
from wasmplex.plugin import BackendProvider, OpenContext, Settings, hookimpl

if TYPE_CHECKING:
    from host_plugin_filesystem.store import FilesystemBackend

__all__ = ["FilesystemProvider", "FilesystemSettings"]


class FilesystemSettings(Settings):
    """The settings of a ``filesystem`` binding."""

    path: Path
    """The directory that holds everything, relative to the directory of the configuration file."""
    create: bool = True
    """Whether to make the directory if it is missing. The one it is in is never made."""
    threads: Annotated[int, Field(ge=1, le=64)] = 8
    """Threads for what blocks; operations beyond them wait for one."""


class FilesystemProvider(BackendProvider[FilesystemSettings]):
    """Opens stores in directories."""

    name = "filesystem"
    capability = "blobstore"
    settings = FilesystemSettings
    features = frozenset({"server-copy", "atomic-move", "stable-read"})
    durability = "a crash of the process and of the machine"

    async def open(self, settings: FilesystemSettings, context: OpenContext) -> FilesystemBackend:
        """Open the directory, making it if it is missing, and remove what killed processes left in it.

        :raises wasmplex.errors.BackendError: if it cannot be opened, or cannot hold a store
        """
        from host_plugin_filesystem.store import FilesystemBackend

        return await FilesystemBackend.open(settings, context.base / settings.path, self.features)


@hookimpl
def wasmplex_backends() -> Iterable[BackendProvider[Any]]:
    """Register the provider."""
    return [FilesystemProvider()]
