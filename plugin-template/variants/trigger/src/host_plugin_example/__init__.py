"""The trigger ``example``: components are told of each line that is written to a file."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from wasmplex.plugin import Export, ExportAdapter, Settings, Trigger, hookimpl


class ExampleSettings(Settings):
    """The keys of ``trigger.example``; all others are refused."""

    path: str
    """The file, from where the host was started."""


class ExampleTrigger(Trigger):
    """What the host plans with; it holds nothing that runs."""

    name = "example"
    settings = ExampleSettings

    def start(self, bindings: Any, settings: Any, sockets: Any) -> Any:
        """Return what serves the bindings of one host; it is imported when a host starts."""
        from host_plugin_example.following import RunningExample

        return RunningExample(bindings)


class Handler(ExportAdapter):
    """Which export of a component the trigger calls, and how."""

    trigger, interface = "example", "example:lines/handler@1.0.0"

    def adapt(self, export: Export) -> Callable[..., Awaitable[Any]]:
        """Return what calls ``handle`` of an instance; it raises `Err` for the err case of its result."""
        return lambda instance, line: instance.call(f"{export.name}#handle", line)


@hookimpl
def wasmplex_triggers() -> Iterable[Trigger]:
    """Register the trigger."""
    return [ExampleTrigger()]


@hookimpl
def wasmplex_export_adapters() -> Iterable[ExportAdapter]:
    """Register what it calls."""
    return [Handler()]
