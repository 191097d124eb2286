"""The shape of a component: what it imports and exports, with full types, read without compiling it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from wasmplex.wit.types import FuncType, Resource, ValueType

__all__ = [
    "ComponentType",
    "CoreModuleType",
    "Export",
    "Extern",
    "Import",
    "InstanceType",
    "NamedType",
    "Shape",
]


@dataclass(frozen=True, slots=True)
class NamedType:
    """A named value type: a record, variant, enum or flags, or an alias of any type."""

    type: ValueType


@dataclass(frozen=True, slots=True)
class CoreModuleType:
    """A core module import or export; its inner type is not modelled."""


@dataclass(frozen=True, slots=True)
class ComponentType:
    """A component import or export; its inner type is not modelled."""


@dataclass(frozen=True)
class InstanceType:
    """An instance: its exports by name, in order.

    Functions keep their full names (``[method]bucket.get``). A resource appears under its name;
    equal `Resource.id` values in two instances are one resource.
    """

    exports: Mapping[str, Extern] = field(default_factory=dict)

    @property
    def functions(self) -> dict[str, FuncType]:
        """The functions alone, by full name."""
        return {name: e for name, e in self.exports.items() if isinstance(e, FuncType)}

    @property
    def resources(self) -> dict[str, Resource]:
        """The resources alone, by name."""
        return {name: e for name, e in self.exports.items() if isinstance(e, Resource)}


Extern: TypeAlias = FuncType | InstanceType | Resource | NamedType | CoreModuleType | ComponentType


@dataclass(frozen=True)
class Import:
    """One import.

    :ivar name: the external name exactly as in the binary: an interface id
        (``wasi:keyvalue/store@0.2.0-draft``), a label (``cache``), or a plain name
    :ivar type: what is imported
    :ivar implements: the interface id that a labelled import implements, else None
    """

    name: str
    type: Extern
    implements: str | None = None
    version_suffix: str | None = None

    @property
    def label(self) -> str | None:
        """The label, or None for an import that goes by its interface id."""
        return self.name if self.implements is not None else None

    @property
    def interface(self) -> str:
        """The interface id this import stands for, labelled or not; a plain name is returned as it is."""
        return self.implements if self.implements is not None else self.name


@dataclass(frozen=True)
class Export:
    """One export; see `Import` for `name` and `implements`."""

    name: str
    type: Extern
    implements: str | None = None


@dataclass(frozen=True)
class Shape:
    """Everything a component asks for and offers."""

    imports: tuple[Import, ...]
    exports: tuple[Export, ...]
    proposals: frozenset[str] = frozenset()
    """The wasm proposals its type sections, canonical options and core modules are seen to need."""
