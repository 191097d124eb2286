"""Checks that there is what a trigger's messages are to come from, and that it can do what is asked of it."""

from __future__ import annotations

from collections.abc import Sequence

from wasmplex.component.shape import Import, Shape
from wasmplex.config.document import quoted
from wasmplex.config.model import Table
from wasmplex.errors import Diagnostic, nearest
from wasmplex.plugins.triggers import OwnBackend, Source, Through
from wasmplex.routing.matching import interface_of
from wasmplex.routing.plan import BackendRoute, Route, TriggerRoute

__all__ = ["idle_namespace", "source_problems", "through"]


def through(
    source: Through,
    trigger: TriggerRoute,
    table: Table,
    shape: Shape,
    routes: Sequence[Route],
    problems: list[Diagnostic],
) -> Route | None:
    """Return the route of the import that messages come through; None if there is none, which is reported."""
    imports = [item for item in shape.imports if _is(item, source.interface)]
    chosen = next((item for item in imports if item.label == source.label), None)
    if chosen is None:
        problems.append(_no_such_import(source, trigger, table, imports))
        return None
    return next(
        (route for route in routes if route.import_ is chosen or route.import_.name == chosen.name), None
    )


def _is(item: Import, interface: str) -> bool:
    found = interface_of(item)
    return found is not None and f"{found.package_name}/{found.interface}" == interface


def _no_such_import(
    source: Through, trigger: TriggerRoute, table: Table, imports: Sequence[Import]
) -> Diagnostic:
    labels = sorted(item.label for item in imports if item.label is not None)
    plain = any(item.label is None for item in imports)
    if source.label is None:
        what = f"the component imports no {source.interface} without a label"
        fix = f'{source.key} = "{labels[0]}"' if labels else f"remove trigger.{trigger.name}"
    else:
        what = f"the component imports no {source.interface} under the label {quoted(source.label)}"
        fix = nearest(source.label, labels) if labels else f"leave {source.key} out" if plain else ""
    why = f"what trigger.{trigger.name} tells comes through an import of the component"
    return Diagnostic(what, str(table.where(source.key)), why, fix)


def source_problems(
    source: Source | None, trigger: TriggerRoute, route: Route | None, table: Table
) -> list[Diagnostic]:
    """Return what is wrong between a trigger and the backend that its messages come from."""
    if not isinstance(source, OwnBackend) and trigger.backend is not None:
        return [_needless(trigger, table)]
    if source is None:
        return []
    if isinstance(source, Through) and route is not None and route.parts and source.opens not in route.parts:
        return [_not_opened(source, trigger, route, table)]
    backend = trigger.backend if isinstance(source, OwnBackend) else None
    if route is not None:
        backend, _ = route.behind(trigger.opens)
    if backend is None:
        return [_no_backend(trigger, table, route)]
    return _lacking(source.features, trigger, backend)


def _not_opened(source: Through, trigger: TriggerRoute, route: Route, table: Table) -> Diagnostic:
    return Diagnostic(
        f"trigger.{trigger.name} names {quoted(source.opens or '')}, which has no backend",
        str(table.where(source.opens_key)),
        f"the binding of {route.import_.name} has one for {', '.join(map(quoted, route.parts))}",
        nearest(source.opens or "", route.parts),
    )


def _needless(trigger: TriggerRoute, table: Table) -> Diagnostic:
    return Diagnostic(
        f"trigger.{trigger.name} names a backend, and its messages come from elsewhere",
        str(table.where("backend")),
        fix="remove the line backend = ...",
    )


def idle_namespace(trigger: TriggerRoute, table: Table) -> Diagnostic:
    """Return what is said of a namespace in a table that names no backend: it would do nothing."""
    return Diagnostic(
        f"trigger.{trigger.name} names a namespace, and no backend to have it in",
        str(table.where("namespace")),
        "a namespace is a part of a backend that this table names",
        'add a line backend = "...", say "nats", or remove the line namespace = ...',
    )


def _no_backend(trigger: TriggerRoute, table: Table, route: Route | None) -> Diagnostic:
    if route is not None:
        return Diagnostic(
            f"messages of trigger.{trigger.name} cannot come through {route.import_.name}: it has no backend",
            str(table.location),
        )
    return Diagnostic(
        f"trigger.{trigger.name} names no backend for its messages to come from",
        str(table.location),
        fix='backend = "memory"',
    )


def _lacking(features: frozenset[str], trigger: TriggerRoute, backend: BackendRoute) -> list[Diagnostic]:
    lacking = sorted(features - backend.provider.features)
    if not lacking:
        return []
    return [
        Diagnostic(
            f"backend {backend.selector!r} does not support {', '.join(lacking)}, "
            f"which trigger.{trigger.name} needs",
            str(trigger.where),
            backend.declared(features),
            f"choose a backend that supports it, or remove trigger.{trigger.name}",
        )
    ]
