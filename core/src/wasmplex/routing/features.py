"""Checks that each backend can do what the imports that reach it cannot do without."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from wasmplex.component.shape import InstanceType
from wasmplex.errors import Diagnostic
from wasmplex.routing.plan import BackendRoute, Route, RouteKind
from wasmplex.routing.resources import has_only_methods, producers, taken

__all__ = ["check_features"]


def check_features(routes: Sequence[Route]) -> list[Diagnostic]:
    """Return what is wrong between imports and the backends that their calls end up at.

    An interface that routes by resource reaches every binding whose import hands out what it takes. It has
    to be granted by at least one of them, and each that grants it has to support it: a binding that does
    not list it in its ``interfaces`` is out of its reach.
    """
    problems: list[Diagnostic] = []
    ungranted: dict[int, list[tuple[Route, Sequence[Route]]]] = {}
    for route in routes:
        if route.provider is None or route.interface is None:
            continue
        try:
            needed = _needed(route)
        except Exception as error:  # noqa: BLE001  a plugin's method that fails must not end the host
            problems.append(_broken(route, error))
            continue
        name = route.interface.interface
        reached = list(_reached(route, routes)) if name in route.provider.routes_by_resource else []
        granting = [r for r in reached if _grants(r, route)]
        if route.kind is RouteKind.RESOURCE and reached and not granting:
            ungranted.setdefault(id(reached[0]), []).append((route, reached))
        for target in granting or ([route] if route.backends else []):
            problems += _lacking(route, target, needed)
    problems += [_granted_by_nobody(members) for members in ungranted.values()]
    return list(dict.fromkeys(problems))


def _grants(source: Route, route: Route) -> bool:
    """Return whether a binding lets what it hands out be used through another import."""
    assert route.interface is not None  # noqa: S101  the caller has looked
    assert isinstance(route.import_.type, InstanceType)  # noqa: S101
    granted = source.granted
    return granted is None or route.interface.interface in granted or has_only_methods(route.import_.type)


def _needed(route: Route) -> frozenset[str]:
    assert route.provider is not None  # noqa: S101  the caller has looked
    assert route.interface is not None  # noqa: S101
    assert isinstance(route.import_.type, InstanceType)  # noqa: S101
    return frozenset(route.provider.features(route.interface.interface, route.import_.type))


def _reached(route: Route, routes: Iterable[Route]) -> Iterable[Route]:
    """Return the routes with a backend whose imports hand out a resource that `route` takes."""
    assert isinstance(route.import_.type, InstanceType)  # noqa: S101
    by_import = {id(other.import_): other for other in routes}
    sources = producers(taken(route.import_.type), [other.import_ for other in by_import.values()])
    return [other for source in sources if (other := by_import[id(source)]).backends]


def _lacking(route: Route, target: Route, needed: frozenset[str]) -> list[Diagnostic]:
    return [problem for backend in target.backends for problem in _lacks(route, target, needed, backend)]


def _lacks(route: Route, target: Route, needed: frozenset[str], backend: BackendRoute) -> list[Diagnostic]:
    lacking = sorted(needed - backend.provider.features)
    if not lacking:
        return []
    fix = "choose a backend that supports it"
    if target is not route and route.interface and target.interface:
        fix += f', or keep this one out of its reach: interfaces = ["{target.interface.interface}"]'
    return [
        Diagnostic(
            f"backend {backend.selector!r} does not support {', '.join(lacking)}, "
            f"which the import {route.import_.name} needs",
            str(backend.where),
            backend.declared(needed),
            fix,
        )
    ]


def _granted_by_nobody(imports: Sequence[tuple[Route, Sequence[Route]]]) -> Diagnostic:
    """Say it of all imports that reach the same bindings: each remedy alone would undo the others."""
    first = imports[0][1][0]
    names = [route.interface.interface for route, _ in imports if route.interface is not None]
    granted = ", ".join(f'"{item}"' for item in sorted({*(first.granted or ()), *names}))
    reached = dict.fromkeys(other.import_.name for _, others in imports for other in others)
    importing = ", ".join(route.import_.name for route, _ in imports)
    return Diagnostic(
        f"no binding grants {' and '.join(names)}, which the component imports ({importing})",
        str(first.where or ""),
        f"their calls go to what serves {', '.join(reached)}",
        f"interfaces = [{granted}]",
    )


def _broken(route: Route, error: Exception) -> Diagnostic:
    return Diagnostic(
        f"what the import {route.import_.name} needs cannot be found out",
        str(route.plugin),
        f"its method features() raised {type(error).__name__}: {error}",
    )
