"""What routing decides: for each import who serves it, for each trigger what it calls. Values only."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple

from wasmplex.component.shape import Export, Import, InstanceType, Shape
from wasmplex.config.model import Location, WorkloadConfig
from wasmplex.plugins.backends import Backend, BackendProvider
from wasmplex.plugins.contracts import Grants, ImportPart, ImportRequest, InterfaceProvider
from wasmplex.plugins.identity import PluginIdentity
from wasmplex.plugins.triggers import ExportAdapter, Trigger, TriggerUse
from wasmplex.settings import Settings
from wasmplex.wit.names import InterfaceId

__all__ = ["BackendRoute", "Plan", "Route", "RouteKind", "RoutePart", "RouteRow", "TriggerRoute"]


_ALIKE = 0.6
"""How alike two names are of which one is taken for the other, misspelt; as `difflib` measures it."""


class RouteKind(StrEnum):
    """Why an import needs what it needs."""

    BINDING = "binding"
    """A binding serves it: a label's, or the unlabelled default of its package."""
    HOST = "host"
    """Its package needs no backend and no binding."""
    RESOURCE = "resource"
    """Its functions take resources, and each of those remembers the backend it came from."""
    TYPES = "types"
    """It has types and no functions: there is nothing to serve, and it belongs to no label."""


@dataclass(frozen=True)
class BackendRoute:
    """The backend of one binding. Imports that one binding serves share the object.

    :ivar selector: what the binding says, ``redis`` or ``redis@host-plugin-redis``
    :ivar plugin: who brought the provider
    :ivar settings: its own part of the binding, resolved and validated; never printed
    :ivar where: the binding's place
    :ivar hidden: texts of the binding that no message may hold: what references gave, and what is secret
    :ivar reread: returns `settings` as references to files say now, None if they are not valid any more;
        None without a reference to a file
    """

    selector: str
    provider: BackendProvider[Any]
    plugin: PluginIdentity
    settings: Settings = field(repr=False)
    where: Location
    hidden: frozenset[str] = field(default=frozenset(), repr=False)
    reread: Callable[[], Settings | None] | None = field(default=None, repr=False, compare=False)

    def declared(self, needed: frozenset[str]) -> str:
        """Return which features its provider declares, and which of them is most likely misspelt."""
        features = self.provider.features
        told = f"{self.plugin} declares {', '.join(sorted(features)) or 'no features'}"
        for lacking in sorted(needed - features):
            if alike := get_close_matches(lacking, sorted(features - needed), n=1, cutoff=_ALIKE):
                told += f"; is {alike[0]!r} meant to be {lacking!r}?"
        return told


@dataclass(frozen=True)
class RoutePart:
    """One name that guests open, where a binding has a backend for each.

    :ivar settings: those of the interface provider; never printed
    :ivar namespace: as in `Route`
    """

    backend: BackendRoute
    settings: Settings = field(repr=False)
    namespace: str


@dataclass(frozen=True, repr=False)
class Route:
    """Who serves one import.

    :ivar import_: the import, under its label if the configuration gave it one
    :ivar interface: its interface id, None for an instance that goes by a plain name (types only)
    :ivar provider: who serves it; None for `RouteKind.TYPES`
    :ivar plugin: who brought the provider
    :ivar backend: the backend of its binding, None without a capability or a binding of its own
    :ivar settings: the provider's part of the binding, resolved and validated; never printed
    :ivar namespace: where a backend keeps this binding's data, ``<workload>/<label>`` unless configured
    :ivar granted: the interfaces that the binding grants, None for all
    :ivar where: the binding's place, None without one
    :ivar parts: the backends of a binding that has one for each name that guests open; `backend` is None then
    :ivar base: the directory of the configuration
    """

    import_: Import
    interface: InterfaceId | None
    kind: RouteKind
    provider: InterfaceProvider | None = None
    plugin: PluginIdentity | None = None
    backend: BackendRoute | None = None
    settings: Settings = field(default_factory=Settings, repr=False)
    namespace: str = ""
    granted: frozenset[str] | None = None
    where: Location | None = None
    parts: Mapping[str, RoutePart] = field(default_factory=dict)
    base: Path = Path()

    def __repr__(self) -> str:
        served = [f"{row.served_by}{f' ({row.plugin})' if row.plugin else ''}" for row in _rows(self)]
        return f"<Route {self.import_.name} -> {', '.join(served)}>"

    @property
    def backends(self) -> tuple[BackendRoute, ...]:
        """Its backends: none, one, or one for each name that guests open."""
        return (self.backend,) if self.backend else tuple(part.backend for part in self.parts.values())

    def behind(self, name: str | None) -> tuple[BackendRoute | None, str]:
        """Return the backend and the namespace that a name leads to; no backend if it leads nowhere."""
        part = None if name is None else self.parts.get(name)
        return (self.backend, self.namespace) if part is None else (part.backend, part.namespace)

    def request(self, backends: Mapping[int, Backend]) -> ImportRequest:
        """Return what the provider's `serve` is given.

        :param backends: what was opened, by the `id` of its `BackendRoute`
        """
        assert isinstance(self.import_.type, InstanceType)  # noqa: S101  plan() makes no other route
        return ImportRequest(
            interface=self.import_.interface,
            label=self.import_.label,
            type=self.import_.type,
            backend=None if self.backend is None else backends[id(self.backend)],
            settings=self.settings,
            namespace=self.namespace,
            granted=self.granted,
            plugin="" if self.backend is None else str(self.backend.plugin),
            parts={
                name: ImportPart(
                    backends[id(part.backend)], part.settings, part.namespace, str(part.backend.plugin)
                )
                for name, part in self.parts.items()
            },
            base=self.base,
        )


@dataclass(frozen=True)
class TriggerRoute:
    """One table of a trigger of the workload, the export it calls, and where its messages come from.

    :ivar backend: the backend that the table names, None if it names none
    :ivar source: the import that its messages come through, None if they do not
    :ivar opens: the name that it opens there, None if that is no matter
    :ivar namespace: where a backend of its own keeps what is the workload's
    """

    name: str
    trigger: Trigger
    plugin: PluginIdentity
    adapter: ExportAdapter
    export: Export
    settings: Settings = field(repr=False)
    where: Location
    backend: BackendRoute | None = None
    source: Route | None = None
    namespace: str = ""
    opens: str | None = None

    @property
    def origin(self) -> tuple[BackendRoute | None, str]:
        """The backend that its messages come from, and the namespace there."""
        return (self.backend, self.namespace) if self.source is None else self.source.behind(self.opens)

    def use(self, workload: str) -> TriggerUse:
        """Return it as its trigger sees it."""
        backend, namespace = self.origin
        where = str(self.where)
        if backend is None:
            return TriggerUse(workload, self.settings, where)
        identity, features = (backend.selector, backend.settings), backend.provider.features
        return TriggerUse(workload, self.settings, where, identity, namespace, features)

    @property
    def messages(self) -> str:
        """Say where its messages come from, in words; empty for one that no backend is concerned with."""
        if self.source is not None:
            return f"through {self.source.import_.name}"
        return f"from backend {self.backend.selector}" if self.backend else ""


class RouteRow(NamedTuple):
    """One line of the routing table; every cell is text, none holds a secret."""

    import_: str
    """The label, or the interface id."""
    interface: str
    """What a label implements; empty for an unlabelled import."""
    served_by: str
    """``backend redis``, ``backend redis for cache``, ``host``, ``resource`` or ``types``."""
    plugin: str
    """Distributions and versions of whoever takes part: the interface's, then the backend's."""
    namespace: str
    where: str
    """File, line and table path of the binding."""


@dataclass(frozen=True)
class Plan:
    """Everything that is needed to open the backends of a workload and to link its component.

    :ivar shape: the component's shape, its imports under the labels that the configuration gave them
    :ivar relabels: imports to rename in the binary first, as `wasmplex.component.relabel` takes them
    :ivar routes: one for each imported instance, in the component's order
    :ivar triggers: what calls the workload, sorted by name
    :ivar grants: what the workload may see of the world; its environment is resolved and never printed
    """

    workload: WorkloadConfig = field(repr=False)
    shape: Shape = field(repr=False)
    relabels: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    routes: tuple[Route, ...] = ()
    triggers: tuple[TriggerRoute, ...] = ()
    grants: Grants = field(default_factory=Grants, repr=False)

    def route(self, name: str) -> Route:
        """Return the route of an import by its label or interface id.

        :raises KeyError: if it imports no such thing
        """
        for route in self.routes:
            if route.import_.name == name:
                return route
        raise KeyError(name)

    @property
    def backends(self) -> tuple[BackendRoute, ...]:
        """The backends to open, as bindings name them: those of imports, then of triggers."""
        found = [backend for route in self.routes for backend in route.backends]
        found += [route.backend for route in self.triggers if route.backend is not None]
        return tuple({id(backend): backend for backend in found}.values())

    def users(self, backend: BackendRoute) -> list[tuple[str, str]]:
        """Return what uses a backend, each as ``("import", name)`` or ``("trigger", name)``."""
        imports = [("import", route.import_.name) for route in self.routes if backend in route.backends]
        return imports + [("trigger", route.name) for route in self.triggers if route.backend is backend]

    @property
    def shares_instances(self) -> bool:
        """Whether one instance may be in several calls at once; see `ExportAdapter.shares_instances`."""
        return any(route.adapter.shares_instances for route in self.triggers)

    @property
    def goes_on(self) -> bool:
        """Whether an instance goes on after a call, until what that began has ended.

        That of an asynchronous command does (``wasi:cli/run@0.3``), which may return with output to write.
        """
        return self.shares_instances or any(map(_is_command, self.shape.exports))

    def rows(self) -> list[RouteRow]:
        """Return the routing table: a row for each import, and for each name with its own backend there."""
        return [row for route in self.routes for row in _rows(route)]


def _is_command(export: Export) -> bool:
    interface = InterfaceId.try_parse(export.name)
    if interface is None or (interface.package_name, interface.interface) != ("wasi:cli", "run"):
        return False
    return isinstance(export.type, InstanceType) and any(f.is_async for f in export.type.functions.values())


def _rows(route: Route) -> list[RouteRow]:
    if route.parts:
        return [
            _row(route, part.backend, part.namespace, f"backend {part.backend.selector} for {name}")
            for name, part in route.parts.items()
        ]
    backend = route.backend
    served = f"backend {backend.selector}" if backend else _SERVED_BY[route.kind]
    return [_row(route, backend, route.namespace if backend else "", served)]


def _row(route: Route, backend: BackendRoute | None, namespace: str, served: str) -> RouteRow:
    where = backend.where if route.parts and backend else route.where
    return RouteRow(
        import_=route.import_.name,
        interface=route.import_.implements or "",
        served_by=served,
        plugin=_requirements(filter(None, [route.plugin, backend.plugin if backend else None])),
        namespace=namespace,
        where=str(where) if where else "",
    )


_SERVED_BY = {
    RouteKind.BINDING: "host",
    RouteKind.HOST: "host",
    RouteKind.RESOURCE: "resource",
    RouteKind.TYPES: "types",
}


def _requirements(plugins: Iterable[PluginIdentity]) -> str:
    return ", ".join(dict.fromkeys(plugin.requirement for plugin in plugins))
