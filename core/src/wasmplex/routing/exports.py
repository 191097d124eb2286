"""Finds, for each trigger of a workload, the export that it calls."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from wasmplex.component.shape import Shape
from wasmplex.config import validate
from wasmplex.config.document import quoted
from wasmplex.config.model import Table
from wasmplex.config.references import attempt
from wasmplex.errors import Diagnostic, PluginError
from wasmplex.plugins.contracts import Trigger
from wasmplex.plugins.identity import Group
from wasmplex.plugins.registry import Registry
from wasmplex.routing.plan import TriggerRoute
from wasmplex.settings import Settings

__all__ = ["route_triggers"]


def route_triggers(
    triggers: Mapping[str, Table], shape: Shape, registry: Registry, base: Path, environ: Mapping[str, str]
) -> tuple[list[TriggerRoute], list[Diagnostic]]:
    """Return the triggers with what they call, sorted by name, and everything wrong with them."""
    routes: list[TriggerRoute] = []
    problems: list[Diagnostic] = []
    for name, table in sorted(triggers.items()):
        where = str(table.location)
        try:
            trigger = registry.trigger(name)
            settings, found = _settings(trigger, table, base, environ)
            problems += found
            adapter = registry.export_adapter(name, shape)
        except PluginError as error:
            problems += [Diagnostic(d.what, where, d.why, d.fix) for d in error.diagnostics]
            continue
        if adapter is None:
            problems.append(_nothing_to_call(name, shape, registry, where))
        elif settings is not None:
            origin, called = registry.origin(trigger), registry.origin(adapter[0])
            routes.append(
                TriggerRoute(name, trigger, origin, adapter[0], called, adapter[1], settings, table.location)
            )
    return routes, problems


def _settings(
    trigger: Trigger, table: Table, base: Path, environ: Mapping[str, str]
) -> tuple[Settings | None, list[Diagnostic]]:
    resolved, problems = attempt(table, base, environ)
    settings, found = validate(table, trigger.settings, resolved)
    return (None if problems else settings), problems + found


def _nothing_to_call(name: str, shape: Shape, registry: Registry, where: str) -> Diagnostic:
    exports = ", ".join(export.name for export in shape.exports) or "nothing"
    drivable = _drivable(name, registry)
    fix = f"export {' or '.join(drivable)}" if drivable else ""
    return Diagnostic(
        f"the component exports nothing that the trigger {quoted(name)} can call",
        where,
        f"it exports {exports}",
        fix or f"remove trigger.{name}",
    )


def _drivable(trigger: str, registry: Registry) -> list[str]:
    """Return the interfaces that a trigger can call, as far as its name leads to their package."""
    found: set[str] = set()
    for package in registry.names(Group.INTERFACES):
        if package.rpartition(":")[2] != trigger:
            continue
        try:
            found |= {adapter.interface for adapter in registry.export_adapters(trigger, package)}
        except PluginError:  # it is only for a hint
            continue
    return sorted(found)
