"""The WIT type model: what a component's type sections say, as immutable Python values.

Types are structural: two equal dataclasses are the same type. The one exception is `Resource`, whose
identity is its `id`. Names that WIT gives to records, variants, enums and flags are kept for printing
and error messages only and take no part in comparison.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

__all__ = [
    "Borrow", "Case", "Enum", "ErrorContext", "Field", "Flags", "FuncType", "FutureType", "ListType",
    "MapType", "Option", "Own", "Param", "Primitive", "PrimitiveName", "Record", "Resource", "ResultType",
    "StreamType", "TupleType", "ValueType", "VariantType",
]  # fmt: skip

PrimitiveName: TypeAlias = Literal[
    "bool", "s8", "u8", "s16", "u16", "s32", "u32", "s64", "u64", "f32", "f64", "char", "string"
]


@dataclass(frozen=True, slots=True)
class Primitive:
    """A primitive value type, ``string`` included."""

    name: PrimitiveName


@dataclass(frozen=True, slots=True)
class ErrorContext:
    """``error-context``."""


@dataclass(frozen=True, slots=True)
class ListType:
    """``list<element>``, or ``list<element, length>`` when `length` is given."""

    element: ValueType
    length: int | None = None


@dataclass(frozen=True, slots=True)
class MapType:
    """``map<key, value>``."""

    key: ValueType
    value: ValueType


@dataclass(frozen=True, slots=True)
class Option:
    """``option<element>``."""

    element: ValueType


@dataclass(frozen=True, slots=True)
class ResultType:
    """``result<ok, err>``; either side may be absent."""

    ok: ValueType | None
    err: ValueType | None


@dataclass(frozen=True, slots=True)
class TupleType:
    """``tuple<...>``."""

    elements: tuple[ValueType, ...]


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a `Record`."""

    name: str
    type: ValueType


@dataclass(frozen=True, slots=True)
class Record:
    """``record``, its fields in order."""

    fields: tuple[Field, ...]
    name: str | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Case:
    """One case of a `VariantType`, with or without a payload."""

    name: str
    type: ValueType | None = None


@dataclass(frozen=True, slots=True)
class VariantType:
    """``variant``, its cases in order."""

    cases: tuple[Case, ...]
    name: str | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Enum:
    """``enum``, its cases in order."""

    cases: tuple[str, ...]
    name: str | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Flags:
    """``flags``, its names in order of their bits."""

    names: tuple[str, ...]
    name: str | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Resource:
    """A resource type.

    :ivar id: its identity within one component: equal ids are one type, however many instances
        export it. Counted from 0 in the order of introduction
    :ivar name: the name it was introduced under, ``bucket``
    :ivar owner: the import or export that introduced it: its external name (a label, or an
        interface id), empty for the component's root
    :ivar imported: True if the host (or whoever satisfies imports) implements it
    :ivar source: for an alias (``use types.{bucket}``, ``type headers = fields``) what it is an alias of;
        the same resource under another name or in another interface. Of use for printing only
    """

    id: int
    name: str = field(default="", compare=False)
    owner: str = field(default="", compare=False)
    imported: bool = field(default=True, compare=False)
    source: Resource | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Own:
    """``own<resource>``: a handle whose ownership moves with it."""

    resource: Resource


@dataclass(frozen=True, slots=True)
class Borrow:
    """``borrow<resource>``: a handle lent for the length of a call."""

    resource: Resource


@dataclass(frozen=True, slots=True)
class StreamType:
    """``stream<element>``; `element` is None for ``stream``."""

    element: ValueType | None


@dataclass(frozen=True, slots=True)
class FutureType:
    """``future<element>``; `element` is None for ``future``."""

    element: ValueType | None


@dataclass(frozen=True, slots=True)
class Param:
    """One parameter of a function."""

    name: str
    type: ValueType


@dataclass(frozen=True, slots=True)
class FuncType:
    """A function type; `is_async` for ``async func``."""

    params: tuple[Param, ...]
    result: ValueType | None
    is_async: bool = False


ValueType: TypeAlias = (
    Primitive | ErrorContext | ListType | MapType | Option | ResultType | TupleType | Record | VariantType
    | Enum | Flags | Own | Borrow | StreamType | FutureType
)  # fmt: skip
