"""Settles a table that names a backend: who opens it, with which settings, and how they are read again."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wasmplex.config.model import Table
from wasmplex.config.references import refers_to_files
from wasmplex.errors import Diagnostic, PluginError
from wasmplex.plugins.backends import BackendProvider
from wasmplex.plugins.identity import PluginIdentity
from wasmplex.routing.plan import BackendRoute
from wasmplex.routing.settings import SplitSettings, split
from wasmplex.settings import Settings

__all__ = ["back", "placed"]


def back(
    table: Table,
    own: type[Settings],
    selector: str,
    provider: BackendProvider[Any],
    plugin: PluginIdentity,
    base: Path,
    environ: Mapping[str, str],
) -> tuple[tuple[SplitSettings, BackendRoute] | None, list[Diagnostic]]:
    """Return the settings of a table and the backend that it names, or what is wrong with it.

    :param own: the model of the keys that are not the backend's: of an interface, or of a trigger
    :param selector: what the table says, ``redis`` or ``redis@host-plugin-redis``
    """
    theirs = provider.settings
    settings, problems = split(table, own, theirs, base, environ)
    if settings is None:
        return None, problems

    def reread() -> Settings | None:
        fresh, _ = split(table, own, theirs, base, environ)
        return None if fresh is None else fresh.backend

    again = reread if refers_to_files(table.values) else None
    where, hidden = table.location, settings.hidden
    return (settings, BackendRoute(selector, provider, plugin, settings.backend, where, hidden, again)), []


def placed(error: PluginError, where: str, prefix: str = "") -> list[Diagnostic]:
    """Return what is wrong with a plugin, at the place that asks for it."""
    return [
        Diagnostic(prefix + d.what, where, "; ".join(filter(None, (d.where, d.why))), d.fix)
        for d in error.diagnostics
    ]
