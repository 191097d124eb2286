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
_PASSED: Final = InterfaceId.parse(HANDLER)
TYPES: Final = "wasi:http/types@0.3"
"""What has the resources in it that they hand each other."""
_OLD: Final = "wasi:http/incoming-handler"


def without_next(layer: WorkloadConfig, shape: Shape) -> Shape:
    """Return the shape of a middleware without the import that the next component serves.

    :raises RoutingError: if it is none
    """
    rest = tuple(item for item in shape.imports if not _PASSED.serves(item.name))
    exports = any(_PASSED.serves(item.name) for item in shape.exports)
    lacks = ["import"] * (len(rest) == len(shape.imports)) + ["export"] * (not exports)
    if lacks:
        raise RoutingError([_no_middleware(layer, shape, " and does not ".join(lacks))])
    _check_one(layer, shape)
    if odd := [item.name for item in rest if not isinstance(item.type, InstanceType)]:
        what = f"{layer.component.name} cannot be composed: it imports {odd[0]!r}, which is no interface"
        raise RoutingError([Diagnostic(what, str(layer.table.where("component")))])
    return replace(shape, imports=rest)


def check_chained(workload: WorkloadConfig, shape: Shape) -> None:
    """Raise if middleware cannot stand in front of a workload's component.

    :raises RoutingError: if it exports no handler that middleware could call
    """
    if not workload.middleware:
        return
    if any(_PASSED.serves(item.name) for item in shape.exports):
        _check_one(workload, shape)
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


def _check_one(component: WorkloadConfig, shape: Shape) -> None:
    """Raise if it is open which handler of a component is called: another would be reached past the chain."""
    found = [item.name for item in shape.exports if _PASSED.serves(item.interface)]
    if len(found) > 1:
        raise RoutingError(
            [
                Diagnostic(
                    f"{component.component.name} cannot be composed: it exports {' and '.join(found)}",
                    str(component.table.where("component")),
                    "requests could reach the second past what stands in front of the first",
                    f"export {HANDLER} once",
                )
            ]
        )


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
