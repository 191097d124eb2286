"""Key-value in one SQLite file, safe to share between processes."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field
from wasmplex.plugin import BackendProvider, Duration, OpenContext, Settings, hookimpl

if TYPE_CHECKING:
    from host_plugin_sqlite.store import SqliteBackend

__all__ = ["SqliteProvider", "SqliteSettings"]


class SqliteSettings(Settings):
    """The settings of a ``sqlite`` binding."""

    path: Path
    """The database file, relative to the directory of the configuration file."""
    create: bool = True
    """Whether to make the file if it is missing. Its directory is never made."""
    readers: Annotated[int, Field(ge=1, le=16)] = 2
    """Connections for reading, a thread each, besides the one for writing."""
    busy_timeout: Annotated[Duration, Field(gt=0)] = 4.0
    """How long an operation waits for other processes that write; then it fails with a timeout."""
    watch_every: Annotated[Duration, Field(gt=0)] = 0.05
    """How often a watcher looks for changes."""
    purge_every: Annotated[Duration, Field(gt=0)] = 60.0
    """How often rows whose time to live has passed are deleted. They are invisible before that."""


class SqliteProvider(BackendProvider[SqliteSettings]):
    """Opens stores in SQLite files."""

    name = "sqlite"
    capability = "keyvalue"
    settings = SqliteSettings
    features = frozenset({"ttl", "if-not-exists", "increment", "cas", "watch"})
    durability = "survives a crash of the process and of the machine"

    async def open(self, settings: SqliteSettings, context: OpenContext) -> SqliteBackend:
        """Open the file, making it if it is missing.

        :raises wasmplex.errors.BackendError: if it cannot be opened, is no database, or not one of ours
        """
        from host_plugin_sqlite.store import SqliteBackend

        return await SqliteBackend.open(settings, context.base / settings.path, self.features)


@hookimpl
def wasmplex_backends() -> Iterable[BackendProvider[Any]]:
    """Register the provider."""
    return [SqliteProvider()]
