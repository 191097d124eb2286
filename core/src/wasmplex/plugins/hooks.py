"""The hooks a plugin may implement. They are called once, when the plugin is loaded, and only register."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    import click

    from wasmplex.plugins.backends import BackendProvider
    from wasmplex.plugins.contracts import InterfaceProvider
    from wasmplex.plugins.triggers import ExportAdapter, Trigger

__all__ = ["PROJECT", "hookimpl", "hookspec"]

PROJECT = "wasmplex"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def wasmplex_backends() -> Iterable[BackendProvider]:  # type: ignore[empty-body,type-arg]
    """Return the backend providers of this plugin."""


@hookspec
def wasmplex_interfaces() -> Iterable[InterfaceProvider]:  # type: ignore[empty-body]
    """Return the interface providers of this plugin: WIT packages that components may import."""


@hookspec
def wasmplex_export_adapters() -> Iterable[ExportAdapter]:  # type: ignore[empty-body]
    """Return the export adapters of this plugin: exports that triggers may call."""


@hookspec
def wasmplex_triggers() -> Iterable[Trigger]:  # type: ignore[empty-body]
    """Return the triggers of this plugin."""


@hookspec
def wasmplex_commands() -> Iterable[click.Command]:  # type: ignore[empty-body]
    """Return the commands this plugin adds to the command line."""
