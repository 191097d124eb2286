"""The backend ``example``: imported as soon as a configuration names it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wasmplex.plugin import BackendProvider, OpenContext, Settings, hookimpl

if TYPE_CHECKING:
    from host_plugin_example.store import ExampleBackend


class ExampleSettings(Settings):
    """The keys that a binding of this backend may have; all others are refused."""

    path: Path
    """The file; a relative path starts at the configuration file."""


class ExampleProvider(BackendProvider[ExampleSettings]):
    """Opens stores."""

    name = "example"
    capability = "keyvalue"
    settings = ExampleSettings
    features = frozenset({"if-not-exists"})
    durability = "a crash of the host process"

    async def open(self, settings: ExampleSettings, context: OpenContext) -> ExampleBackend:
        """Open the file. Client libraries are imported here, so that who does not use them never waits."""
        from host_plugin_example.store import ExampleBackend

        return await ExampleBackend.open(context.base / settings.path)


@hookimpl
def wasmplex_backends() -> Iterable[BackendProvider[Any]]:
    """Register the provider."""
    return [ExampleProvider()]
