"""What of a component no host can link, known from its types alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from wasmplex.component.shape import (
    ComponentType,
    CoreModuleType,
    Extern,
    Import,
    InstanceType,
    Shape,
    ValueExtern,
)
from wasmplex.config.model import WorkloadConfig
from wasmplex.errors import Diagnostic
from wasmplex.wit.types import ErrorContext, FuncType, ValueType
from wasmplex.wit.walk import children, func_children

__all__ = ["unlinkable"]

_KINDS: dict[type, str] = {
    CoreModuleType: "a core module",
    ComponentType: "a component",
    InstanceType: "an instance",
    ValueExtern: "a value",
}


def unlinkable(shape: Shape, workload: WorkloadConfig) -> list[Diagnostic]:
    """Return what cannot be linked of a component: the import or export, the function, the type, and why."""
    where = str(workload.table.where("component"))
    return [
        *(
            Diagnostic(f"import {item.name!r} cannot be linked", where, why)
            for item in shape.imports
            if isinstance(item.type, (InstanceType, FuncType))
            for why in _reasons(item)
        ),
        *(
            Diagnostic(
                f"{what} {item.name!r} cannot be linked", where,
                f"names that begin with {begin!r} are those of what the host adds to a component",
                "give it another name",
            )
            for what, items in (("import", shape.imports), ("export", shape.exports))
            for item in items
            for begin in _OURS
            if item.name.startswith(begin)
        ),
    ]  # fmt: skip


_OURS: Final = ("wasmplex-", "wasmplex:bridge/")


def _reasons(item: Import) -> Iterator[str]:
    exports: dict[str, Extern] = (
        dict(item.type.exports) if isinstance(item.type, InstanceType) else {item.name: item.type}
    )
    for name, extern in exports.items():
        if (kind := _KINDS.get(type(extern))) is not None:
            yield f"{name!r} in it is {kind}, and a host has functions and resources to give"
        elif isinstance(extern, FuncType) and any(map(_has_error_context, func_children(extern))):
            yield f"its function {name!r} has a type with an error-context, which has no value in Python"


def _has_error_context(type_: ValueType) -> bool:
    return isinstance(type_, ErrorContext) or any(map(_has_error_context, children(type_)))
