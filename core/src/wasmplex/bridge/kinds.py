"""The numbering of what one adapter has: functions, resource types, stream and future types, built-ins."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from wasmplex.bridge.layout import cases, fields
from wasmplex.wit.types import (
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

__all__ = ["Function", "KindTable", "inner_types", "points"]


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
    def takes(self) -> bool:
        """Whether its parameters hold owned handles: they have to be taken apart before anything else."""
        return any(isinstance(part, Own) for param in self.type.params for part in inner_types(param.type))

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

    def resource(self, resource: Resource) -> int:
        """Return the number of a resource type."""
        return self.resources.index(resource)

    def stream(self, type_: StreamType) -> int:
        """Return the number of a stream type."""
        return self.streams.index(type_)

    def future(self, type_: FutureType) -> int:
        """Return the number of a future type."""
        return self.futures.index(type_)
