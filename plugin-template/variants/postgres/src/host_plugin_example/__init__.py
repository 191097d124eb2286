"""The backend ``example``: imported as soon as a configuration names it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from host_plugin_postgres import PostgresProvider, PostgresSettings
from wasmplex.plugin import BackendProvider, Duration, OpenContext, hookimpl

if TYPE_CHECKING:
    from host_plugin_example.database import ExampleBackend


class ExampleSettings(PostgresSettings):
    """The keys that a binding of this backend may have: those of ``postgres``, and one more."""

    slow: Duration = 1.0
    """An operation that takes longer is noted in the log."""


class ExampleProvider(BackendProvider[ExampleSettings]):
    """Opens databases."""

    name = "example"
    capability = "postgres"
    settings = ExampleSettings
    durability = PostgresProvider.durability

    async def open(self, settings: ExampleSettings, context: OpenContext) -> ExampleBackend:
        """Connect to the server. Client libraries are imported here, so that who does not use them never waits."""
        from host_plugin_example.database import ExampleBackend

        return ExampleBackend(await PostgresProvider().open(settings, context), settings.slow)


@hookimpl
def wasmplex_backends() -> Iterable[BackendProvider[Any]]:
    """Register the provider."""
    return [ExampleProvider()]
