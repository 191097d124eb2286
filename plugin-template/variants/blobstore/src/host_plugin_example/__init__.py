"""The backend ``example``: imported as soon as a configuration names it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from wasmplex.plugin import BackendProvider, OpenContext, Settings, Size, hookimpl

if TYPE_CHECKING:
    from host_plugin_example.store import ExampleStore


class ExampleSettings(Settings):
    """The keys that a binding of this backend may have; all others are refused."""

    max_size: Size = 64 << 20
    """How many bytes all objects together may have."""


class ExampleProvider(BackendProvider[ExampleSettings]):
    """Opens stores."""

    name = "example"
    capability = "blobstore"
    settings = ExampleSettings
    features = frozenset({"stable-read"})
    durability = "until the host process ends"
    in_process = True

    async def open(self, settings: ExampleSettings, context: OpenContext) -> ExampleStore:
        """Open a store. Client libraries are imported here, so that who does not use them never waits."""
        from host_plugin_example.store import ExampleStore

        return ExampleStore(settings.max_size)


@hookimpl
def wasmplex_backends() -> Iterable[BackendProvider[Any]]:
    """Register the provider."""
    return [ExampleProvider()]
