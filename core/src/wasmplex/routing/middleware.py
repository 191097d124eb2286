"""What middleware is: a component that exports what it imports, and so can stand in front of another."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from wasmplex.component.shape import InstanceType, Shape
from wasmplex.config.model import WorkloadConfig
from wasmplex.errors import Diagnostic, RoutingError
from wasmplex.wit.names import InterfaceId

__all__ = ["HANDLER", "TYPES", "check_chained", "without_next"]

HANDLER: Final = "wasi:http/handler@0.3"
"""What middleware exports, and imports of the next."""
TYPES: Final = "wasi:http/types@0.3"
"""What has the resources in it that they hand each other."""
_OLD: Final = "wasi:http/incoming-handler"


def without_next(layer: WorkloadConfig, shape: Shape) -> Shape:
    """Return the shape of a middleware without the import that the next component serves.

    :raises RoutingError: if it is none
    """
    handler = InterfaceId.parse(HANDLER)
    rest = tuple(item for item in shape.imports if not _is(item.name, handler))
    exports = any(_is(item.name, handler) for item in shape.exports)
    lacks = ["import"] * (len(rest) == len(shape.imports)) + ["export"] * (not exports)
    if lacks:
        raise RoutingError([_no_middleware(layer, shape, " and does not ".join(lacks))])
    if odd := [item.name for item in rest if not isinstance(item.type, InstanceType)]:
        what = f"{layer.component.name} cannot be composed: it imports {odd[0]!r}, which is no interface"
        raise RoutingError([Diagnostic(what, str(layer.table.where("component")))])
    return replace(shape, imports=rest)


def check_chained(workload: WorkloadConfig, shape: Shape) -> None:
    """Raise if middleware cannot stand in front of a workload's component.

    :raises RoutingError: if it exports no handler that middleware could call
    """
    handler = InterfaceId.parse(HANDLER)
    if not workload.middleware or any(_is(item.name, handler) for item in shape.exports):
        return
    exported = ", ".join(item.name for item in shape.exports) or "nothing"
    raise RoutingError(
        [
            Diagnostic(
                f"middleware cannot stand in front of {workload.component.name}: it exports no {HANDLER}",
                str(workload.middleware[0].location),
                f"it exports {exported}",
                _fix(exported) or f"export {HANDLER}, or leave middleware out",
            )
        ]
    )


def _is(name: str, interface: InterfaceId) -> bool:
    found = InterfaceId.try_parse(name)
    return found is not None and found.satisfied_by(interface)


def _no_middleware(layer: WorkloadConfig, shape: Shape, lacks: str) -> Diagnostic:
    every = [item.name for item in shape.exports] + [item.name for item in shape.imports]
    names = [name for name in every if name.startswith("wasi:http/")]
    return Diagnostic(
        f"{layer.component.name} is no middleware: it does not {lacks} {HANDLER}",
        str(layer.table.where("component")),
        f"of wasi:http it has {', '.join(names)}" if names else "it has nothing of wasi:http",
        _fix(" ".join(names))
        or "a middleware exports and imports it; see its interfaces with "
        f"`wasmplex inspect {layer.component.name}`",
    )


def _fix(names: str) -> str:
    return "build it for wasi:http 0.3: components of 0.2 cannot be chained" if _OLD in names else ""
