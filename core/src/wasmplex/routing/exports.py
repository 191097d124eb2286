"""Finds, for each trigger of a workload, the export that it calls and where its messages come from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from wasmplex.component.shape import Shape
from wasmplex.config import validate
from wasmplex.config.document import quoted
from wasmplex.config.fields import names_at
from wasmplex.config.model import Table
from wasmplex.config.references import attempt
from wasmplex.errors import ConfigError, Diagnostic, PluginError, WasmplexError
from wasmplex.plugins.backends import BackendProvider
from wasmplex.plugins.identity import Group
from wasmplex.plugins.installation import installation
from wasmplex.plugins.registry import Registry
from wasmplex.plugins.triggers import OwnBackend, Source, Through, Trigger
from wasmplex.routing.backing import back, placed
from wasmplex.routing.matching import interface_of
from wasmplex.routing.plan import BackendRoute, Route, TriggerRoute
from wasmplex.routing.sources import idle_namespace, source_problems, through
from wasmplex.routing.unserved import plugin_for
from wasmplex.settings import Settings

__all__ = ["Triggers"]

_BACKEND, _NAMESPACE = "backend", "namespace"


@dataclass
class Triggers:
    """Turns the tables of a workload's triggers into routes and collects what is wrong on the way.

    :param routes: those of the component's imports, some of which messages may come through
    :ivar problems: everything found wrong so far
    """

    workload: str
    shape: Shape
    registry: Registry
    routes: Sequence[Route]
    base: Path
    environ: Mapping[str, str]
    problems: list[Diagnostic] = field(default_factory=list)

    def route(self, tables: Mapping[str, Sequence[Table]]) -> list[TriggerRoute]:
        """Return the triggers with what they call, sorted by name, those of one name as they are written."""
        found = [self._route(name, table) for name in sorted(tables) for table in tables[name]]
        return [route for route in found if route is not None]

    def examine(self, tables: Mapping[str, Sequence[Table]]) -> None:
        """Find what is wrong with the tables themselves, where what they call is not known."""
        for name in sorted(tables):
            for table in tables[name]:
                try:
                    self._settings(self.registry.trigger(name), table)
                except PluginError as error:
                    self.problems += placed(error, str(table.location))

    def _route(self, name: str, table: Table) -> TriggerRoute | None:
        where = str(table.location)
        try:
            trigger = self.registry.trigger(name)
            settings, backend = self._settings(trigger, table)
            adapter = self.registry.export_adapter(name, self.shape)
        except PluginError as error:
            self.problems += [Diagnostic(d.what, where, d.why, d.fix) for d in error.diagnostics]
            return None
        if adapter is None:
            self.problems.append(_nothing_to_call(name, self.shape, self.registry, where))
            return None
        if settings is None:
            return None
        origin = self.registry.origin(trigger)
        route = TriggerRoute(name, trigger, origin, *adapter, settings, table.location, backend=backend)
        return self._with_source(route, table)

    # ------------------------------------------------------------ settings

    def _settings(self, trigger: Trigger, table: Table) -> tuple[Settings | None, BackendRoute | None]:
        """Return the trigger's settings, and the backend that the table names if it may name one."""
        if trigger.capability is None or _BACKEND not in table.values:
            resolved, problems = attempt(table, self.base, self.environ)
            settings, found = validate(table, trigger.settings, resolved)
            self.problems += problems + [self._of_a_binding(d, trigger, table) for d in found]
            return (None if problems else settings), None
        selector = table.values[_BACKEND]
        if not isinstance(selector, str):
            self.problems.append(
                Diagnostic(
                    "backend is not the name of one", str(table.where(_BACKEND)), fix='backend = "memory"'
                )
            )
            return None, None
        provider: BackendProvider[Any] = self.registry.backend(selector, trigger.capability)
        rest = replace(table, values={k: v for k, v in table.values.items() if k != _BACKEND})
        origin = self.registry.origin(provider)
        bound, found = back(rest, trigger.settings, selector, provider, origin, self.base, self.environ)
        self.problems += found
        return (None, None) if bound is None else (bound[0].interface, bound[1])

    def _of_a_binding(self, problem: Diagnostic, trigger: Trigger, table: Table) -> Diagnostic:
        """Return what is said of an unknown key; that it is one of the backend's, where it is."""
        for key in table.values.keys() - names_at(trigger.settings, ()):
            if problem.where != str(table.where(key)):
                continue
            for route in self.routes:
                for backend in route.backends:
                    provider = backend.provider
                    if provider.capability == trigger.capability and key in names_at(provider.settings, ()):
                        fix = f"write it where the backend is named: at {backend.where}"
                        why = f"it is one of backend {backend.selector!r}, not of the trigger"
                        return replace(problem, why=why, fix=fix)
        return problem

    # ------------------------------------------------------------ sources

    def _with_source(self, route: TriggerRoute, table: Table) -> TriggerRoute | None:
        """Return the route with where its messages come from, once that is known to be there."""
        try:
            source: Source | None = route.trigger.source(route.settings, route.export)
        except ConfigError as error:
            self.problems += [replace(d, where=d.where or str(table.location)) for d in error.diagnostics]
            return None
        except (Exception, SystemExit) as error:  # noqa: BLE001  a plugin's method that fails must not end the host
            self.problems.append(_broken(route, error))
            return None
        source_route = None
        if isinstance(source, OwnBackend) and route.backend is None:
            if _NAMESPACE in table.values and (source.optional or source.otherwise is not None):
                self.problems.append(idle_namespace(route, table))
                return None
            source = source.otherwise if source.otherwise is not None or source.optional else source
        if isinstance(source, Through):
            source_route = through(source, route, table, self.shape, self.routes, self.problems)
            if source_route is None:
                return None
        self.problems += source_problems(source, replace(route, opens=_opened(source)), source_route, table)
        namespace = ""
        if isinstance(source, OwnBackend):
            asked = table.values.get(_NAMESPACE)
            namespace = asked if isinstance(asked, str) else f"{self.workload}/{route.name}"
        return replace(route, source=source_route, namespace=namespace, opens=_opened(source))


def _opened(source: Source | None) -> str | None:
    return source.opens if isinstance(source, Through) else None


def _broken(route: TriggerRoute, error: BaseException) -> Diagnostic:
    text = str(error) if isinstance(error, WasmplexError) else f"{type(error).__name__}: {error}"
    return Diagnostic(
        f"where the messages of trigger {quoted(route.name)} come from cannot be found out",
        str(route.where),
        f"the method source() of {route.plugin} raised {text}",
        "report it to the author of the plugin",
    )


def _nothing_to_call(name: str, shape: Shape, registry: Registry, where: str) -> Diagnostic:
    exports = ", ".join(export.name for export in shape.exports) or "nothing"
    if ours := _missing_plugin(name, shape, registry):
        return Diagnostic(
            f"no plugin is installed that calls exports of {ours[0]} for the trigger {quoted(name)}",
            where,
            f"it exports {exports}",
            installation().install(ours[1]),
        )
    drivable = _drivable(name, registry)
    fix = f"export {' or '.join(drivable)}" if drivable else ""
    return Diagnostic(
        f"the component exports nothing that the trigger {quoted(name)} can call",
        where,
        f"it exports {exports}",
        fix or f"remove trigger.{name}",
    )


def _missing_plugin(trigger: str, shape: Shape, registry: Registry) -> tuple[str, str] | None:
    """Return the package of an export that a trigger could call, and the plugin of ours that is missing."""
    installed = registry.names(Group.INTERFACES)
    for export in shape.exports:
        interface = interface_of(export)
        if interface is None or interface.package != trigger or interface.package_name in installed:
            continue
        if plugin := plugin_for(interface.package_name):
            return interface.package_name, plugin
    return None


def _drivable(trigger: str, registry: Registry) -> list[str]:
    """Return the interfaces that a trigger can call: its plugin's, and those of packages with its name."""
    found: set[str] = set()
    packages = [name for name in registry.names(Group.INTERFACES) if name.rpartition(":")[2] == trigger]
    for package in ("", *packages):
        try:
            found |= {adapter.interface for adapter in registry.export_adapters(trigger, package)}
        except PluginError:  # it is only for a hint
            continue
    return sorted(found)
