"""What a component that is there tells of what it needs."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from wasmplex.component.shape import Shape
from wasmplex.wit.names import InterfaceId

__all__ = ["Look", "exports_of", "imports_of", "labels_of"]

Look: TypeAlias = Callable[[str], Shape | None]
"""Returns the shape of a component by its path in the manifest, None if there is no such file."""


def labels_of(shape: Shape) -> frozenset[str]:
    """Return the labels that a component imports under."""
    return frozenset(item.label for item in shape.imports if item.label is not None)


def imports_of(shape: Shape) -> frozenset[str]:
    """Return the unlabelled imports, ``wasi:keyvalue/store``."""
    return frozenset(filter(None, (_bare(item.name) for item in shape.imports if item.label is None)))


def exports_of(shape: Shape) -> frozenset[str]:
    """Return the exports, ``wasi:http/incoming-handler``."""
    return frozenset(filter(None, (_bare(item.name) for item in shape.exports)))


def _bare(name: str) -> str:
    found = InterfaceId.try_parse(name)
    return "" if found is None else f"{found.package_name}/{found.interface}"
