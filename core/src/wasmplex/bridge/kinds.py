"""The numbering of what one adapter has: functions, resource types, stream and future types, built-ins."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

from wasmplex.bridge.custody import Custody
from wasmplex.bridge.layout import cases, fields
from wasmplex.component.shape import Export, Extern, Import, InstanceType, NamedType
from wasmplex.wit.types import (
    Borrow,
    FuncType,
    FutureType,
    ListType,
    MapType,
    Own,
    Primitive,
    Resource,
    StreamType,
    ValueType,
)

__all__ = [
    "FUTURE",
    "RESOURCE",
    "STREAM",
    "End",
    "Function",
    "KindTable",
    "ends",
    "functions_of",
    "inner_types",
    "lifts",
    "lowers",
    "mentioned",
    "points",
    "value_types",
]


@dataclass(frozen=True, slots=True)
class Function:
    """One function that an adapter carries.

    :ivar number: its number in the adapter
    :ivar owner: the external name of the import or export it belongs to, empty for the root
    :ivar name: its full name, ``[method]bucket.get``
    :ivar type: the type of the values that it takes and returns
    :ivar waits: for a function that is not ``async`` in WIT: whether its Python is
    :ivar twin: for a twin (`wasmplex.bridge.twins`): its name, and the type by which its values are carried
    """

    number: int
    owner: str
    name: str
    type: FuncType
    waits: bool = False
    twin: tuple[str, FuncType] | None = None

    @property
    def export(self) -> str:
        """The name that the adapter exports it under."""
        return self.name if self.twin is None else self.twin[0]

    @property
    def carried(self) -> FuncType:
        """Its type in the adapter."""
        return self.type if self.twin is None else self.twin[1]

    @property
    def path(self) -> str:
        """``wasi:keyvalue/store@0.2.0-draft#open``, for messages."""
        return f"{self.owner}#{self.name}" if self.owner else self.name


def inner_types(type_: ValueType | None) -> Iterator[ValueType]:
    """Yield a type and every type inside it, the innermost first."""
    if type_ is None:
        return
    for part in _parts(type_):
        yield from inner_types(part)
    yield type_


def _parts(type_: ValueType) -> Iterable[ValueType | None]:
    match type_:
        case ListType(element, None) | StreamType(element) | FutureType(element):
            return (element,)
        case MapType(key, value):
            return (key, value)
    return fields(type_) or cases(type_) or ()


def functions_of(item: Import | Export) -> dict[str, FuncType]:
    """Return the functions of an import or export; one of the component's root stands under its own name."""
    if isinstance(item.type, FuncType):
        return {item.name: item.type}
    return item.type.functions if isinstance(item.type, InstanceType) else {}


def value_types(function: FuncType) -> list[ValueType]:
    """Return every type in a function's parameters and result, the innermost first."""
    types = [*(param.type for param in function.params), function.result]
    return [part for type_ in types for part in inner_types(type_)]


def lifts(types: Iterable[ValueType | None], custody: Callable[[Resource], Custody]) -> bool:
    """Say whether values of some types hold handles that have to be turned into objects before all else."""
    for type_ in types:
        for part in inner_types(type_):
            if isinstance(part, Own) and custody(part.resource) is not Custody.GUEST:
                return True
            if isinstance(part, Borrow) and custody(part.resource).elsewhere:
                return True
    return False


def lowers(types: Iterable[ValueType | None], custody: Callable[[Resource], Custody]) -> bool:
    """Say whether handles have to be made for values of some types; the guest's resources have theirs."""
    for type_ in types:
        for part in inner_types(type_):
            if isinstance(part, (StreamType, FutureType)):
                return True
            if isinstance(part, (Own, Borrow)) and custody(part.resource) is not Custody.GUEST:
                return True
    return False


RESOURCE, STREAM, FUTURE = range(3)
"""The sorts of handles."""
End: TypeAlias = StreamType | FutureType


def ends(types: Iterable[ValueType | None]) -> list[End]:
    """Return the streams and futures in some types that no component instance may both write and read.

    Only numbers may move within one instance (wasmtime, and CanonicalABI.md, "Stream and Future State").
    """
    found: dict[End, None] = {}
    for type_ in types:
        for part in inner_types(type_):
            if isinstance(part, (StreamType, FutureType)) and not _is_number(part.element):
                found[part] = None
    return list(found)


def _is_number(type_: ValueType | None) -> bool:
    return type_ is None or (
        isinstance(type_, Primitive) and type_.name[0] in "usf" and type_.name != "string"
    )


def mentioned(extern: Extern) -> list[Resource]:
    """Return the resources that an import or export is or names, and those in its types."""
    match extern:
        case Resource():
            return [extern]
        case NamedType():
            parts: Iterable[ValueType] = inner_types(extern.type)
        case FuncType():
            parts = value_types(extern)
        case InstanceType():
            return [resource for part in extern.exports.values() for resource in mentioned(part)]
        case _:
            return []
    return [part.resource for part in parts if isinstance(part, (Own, Borrow))]


def points(type_: ValueType | None) -> bool:
    """Say whether values of the type have data out of line."""
    return any(
        isinstance(part, MapType)
        or part == Primitive("string")
        or (isinstance(part, ListType) and part.length is None)
        for part in inner_types(type_)
    )


@dataclass
class KindTable:
    """Numbers for the types that need built-ins of their own, in the order they are met."""

    resources: list[Resource] = field(default_factory=list)
    custodies: dict[int, Custody] = field(default_factory=dict)
    """By the ids of resources; what is not in it the adapter defines."""
    streams: list[StreamType] = field(default_factory=list)
    futures: list[FutureType] = field(default_factory=list)

    @classmethod
    def of(cls, functions: Iterable[Function]) -> KindTable:
        """Collect the kinds that some functions need."""
        table = cls()
        for function in functions:
            for type_ in (*(param.type for param in function.type.params), function.type.result):
                table.add(type_)
        return table

    def add(self, type_: ValueType | None) -> None:
        """Give a number to every kind inside a type that has none yet."""
        for part in inner_types(type_):
            match part:
                case StreamType() if part not in self.streams:
                    self.streams.append(part)
                case FutureType() if part not in self.futures:
                    self.futures.append(part)
                case _ if (resource := getattr(part, "resource", None)) and resource not in self.resources:
                    self.resources.append(resource)

    def custodians(self) -> list[tuple[int, Resource]]:
        """Return the resources, with their numbers, that are dealt with by functions from elsewhere."""
        return [(n, r) for n, r in enumerate(self.resources) if self.custody(r).elsewhere]

    def add_all(self, resources: Iterable[Resource], ends: Iterable[End]) -> None:
        """Give a number to more resources, streams and futures."""
        self.resources += [r for r in dict.fromkeys(resources) if r not in self.resources]
        for end in ends:
            self.add(end)

    def custody(self, resource: Resource) -> Custody:
        """Return who defines a resource."""
        return self.custodies.get(resource.id, Custody.DEFINED)

    def resource(self, resource: Resource) -> int:
        """Return the number of a resource type."""
        return self.resources.index(resource)

    def stream(self, type_: StreamType) -> int:
        """Return the number of a stream type."""
        return self.streams.index(type_)

    def future(self, type_: FutureType) -> int:
        """Return the number of a future type."""
        return self.futures.index(type_)
