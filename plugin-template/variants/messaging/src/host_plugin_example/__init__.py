"""The backend ``example``: imported as soon as a configuration names it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from wasmplex.plugin import BackendProvider, OpenContext, Settings, hookimpl

if TYPE_CHECKING:
    from host_plugin_example.broker import ExampleBroker


class ExampleSettings(Settings):
    """The keys that a binding of this backend may have; all others are refused."""

    most: int = 10_000
    """How many messages one subscriber may have waiting."""


class ExampleProvider(BackendProvider[ExampleSettings]):
    """Opens brokers."""

    name = "example"
    capability = "messaging"
    settings = ExampleSettings
    features = frozenset({"namespaces"})
    durability = "until the host process ends"
    in_process = True

    async def open(self, settings: ExampleSettings, context: OpenContext) -> ExampleBroker:
        """Open a broker. Client libraries are imported here, so that who does not use them never waits."""
        from host_plugin_example.broker import ExampleBroker

        return ExampleBroker(settings.most)


@hookimpl
def wasmplex_backends() -> Iterable[BackendProvider[Any]]:
    """Register the provider."""
    return [ExampleProvider()]
