"""The shape of a component: what it imports and exports, with full types, read without compiling it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from wasmplex.component.capacity import NOTHING, UNKNOWN, Capacity
from wasmplex.wit.types import FuncType, Resource, ValueType

__all__ = [
    "ComponentType",
    "CoreModuleType",
    "DefinedType",
    "Export",
    "Extern",
    "Import",
    "InstanceType",
    "NamedType",
    "Shape",
    "UnknownSection",
    "ValueExtern",
]


@dataclass(frozen=True, slots=True)
class NamedType:
    """A named value type: a record, variant, enum or flags, or an alias of any type.

    :ivar type: the type. Function types in the same interface that go by this name hold this very
        object, so that text can be printed with the names it was written with
    :ivar source: the named type that this one is an alias of, most often of another interface
        (``use types.{error}``), or None for a definition
    """

    type: ValueType
    source: NamedType | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class DefinedType:
    """A type import or export that is neither a value type nor a resource; its inner type is not modelled.

    Components do not have these; a WIT package in binary form consists of them.
    """

    kind: Literal["func", "instance", "component"]


@dataclass(frozen=True, slots=True)
class ValueExtern:
    """A value import or export (a part of the component model that no engine runs yet)."""

    type: ValueType


@dataclass(frozen=True, slots=True)
class CoreModuleType:
    """A core module import or export; its inner type is not modelled.

    :ivar capacity: what an instance of it takes, for one that is defined here
    """

    capacity: Capacity = field(default=UNKNOWN, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class ComponentType:
    """A component import or export; its inner type is not modelled."""


@dataclass(frozen=True)
class InstanceType:
    """An instance: its exports by name, in order.

    Functions keep their full names (``[method]bucket.get``). A resource appears under its name, and again
    under each alias (``type headers = fields``); equal `Resource.id` values are one resource, in two
    instances too. What refers to it by an alias holds the alias's very object.
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


Extern: TypeAlias = (
    FuncType
    | InstanceType
    | Resource
    | NamedType
    | DefinedType
    | ValueExtern
    | CoreModuleType
    | ComponentType
)


@dataclass(frozen=True)
class _Named:
    """What imports and exports have in common."""

    name: str
    type: Extern
    implements: str | None = None
    version_suffix: str | None = None
    external_id: str | None = None

    @property
    def label(self) -> str | None:
        """The label, or None for what goes by its interface id."""
        return self.name if self.implements is not None else None

    @property
    def interface(self) -> str:
        """The interface id it stands for, labelled or not; a plain name is returned as it is."""
        return self.implements if self.implements is not None else self.name


@dataclass(frozen=True)
class Import(_Named):
    """One import.

    :ivar name: the external name exactly as in the binary: an interface id
        (``wasi:keyvalue/store@0.2.0-draft``), a label (``cache``), or a plain name
    :ivar type: what is imported
    :ivar implements: the interface id that a labelled import implements, else None
    :ivar version_suffix: what was cut off the version when it was made canonical: ``.6`` beside
        ``wasi:http/types@0.2`` for 0.2.6, else None
    :ivar external_id: a name that the host understands, in no syntax of ours, else None
    """


@dataclass(frozen=True)
class Export(_Named):
    """One export; see `Import` for what the fields mean."""


@dataclass(frozen=True, slots=True)
class UnknownSection:
    """A section with an id that this reader does not know: `size` bytes from byte `offset` on."""

    id: int
    offset: int
    size: int


@dataclass(frozen=True)
class Shape:
    """Everything a component asks for and offers."""

    imports: tuple[Import, ...]
    exports: tuple[Export, ...]
    proposals: frozenset[str] = frozenset()
    """The wasm proposals its type sections, canonical options and core modules are seen to need."""
    unknown_sections: tuple[UnknownSection, ...] = ()
    """Sections that were skipped because a newer version of the component model must have added them."""
    capacity: Capacity = field(default=NOTHING, compare=False, repr=False)
    """What one instance takes besides memories."""
