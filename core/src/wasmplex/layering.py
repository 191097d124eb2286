"""What is linked for a workload: its component, or what that is composed to with its middleware."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from wasmplex.assembly import PlannedWorkload
from wasmplex.binding import Served
from wasmplex.bridge import Link, chain
from wasmplex.component import read
from wasmplex.component.shape import Shape
from wasmplex.engine.text import assemble
from wasmplex.plugins.contracts import HostFunctions
from wasmplex.routing import Plan
from wasmplex.routing.middleware import HANDLER, TYPES

__all__ = ["Layered", "layered"]


@dataclass(frozen=True)
class Layered:
    """A component and what serves its imports.

    :ivar direct: the imports that may be linked directly
    """

    wasm: bytes
    shape: Shape
    imports: Mapping[str, HostFunctions]
    direct: frozenset[str]


def layered(planned: PlannedWorkload, served: Served) -> Layered:
    """Return what is to be linked. Composing takes milliseconds, and more for large components.

    :raises wasmplex.errors.ComponentError: if the components cannot be composed
    """
    own, direct = planned.shape, _direct(planned.plan, "")
    if not planned.middleware:
        return Layered(planned.wasm, own, served.imports, direct)
    imports: dict[str, HostFunctions] = dict(served.imports)
    links = []
    for number, (layer, theirs) in enumerate(zip(planned.middleware, served.layers, strict=True), 1):
        prefix = _free(f"middleware{number}-", planned)
        links.append(Link(layer.wasm, layer.shape, prefix))
        imports |= {prefix + name: functions for name, functions in theirs.items()}
        direct |= _direct(layer.plan, prefix)
    wasm = chain([*links, Link(planned.wasm, own)], HANDLER, TYPES, assemble)
    return Layered(wasm, read(wasm, composed=True), imports, direct)


def _free(prefix: str, planned: PlannedWorkload) -> str:
    """Return a prefix that no import begins with as it is: a label may be any word."""
    names = [item.name for component in planned.components for item in component.shape.imports]
    while any(name.startswith(prefix) for name in names):
        prefix = f"a{prefix}"
    return prefix


def _direct(plan: Plan, prefix: str) -> frozenset[str]:
    routes = (r for r in plan.routes if r.provider is not None and r.provider.linked_directly)
    return frozenset(prefix + route.import_.name for route in routes)
