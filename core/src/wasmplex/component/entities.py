"""What the index spaces of a component hold while it is read.

Instance types and component types *bind* resources: whoever imports or instantiates one gets resources of
its own. A resource's id comes from one counter, so what a definition binds is a range of ids: those handed
out while it was read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple, TypeAlias

from wasmplex.component.binary import Cursor
from wasmplex.component.capacity import UNKNOWN, Capacity
from wasmplex.component.shape import CoreModuleType, NamedType, UnknownSection
from wasmplex.wit import types as t

__all__ = [
    "MAX_SIZE",
    "ComponentDef",
    "Context",
    "Entity",
    "InstanceDef",
    "Item",
    "Sort",
    "TypeEntry",
]


class Sort(IntEnum):
    """The sorts of the component level, numbered as in the binary format; core modules by their core sort."""

    FUNC = 0x01
    VALUE = 0x02
    TYPE = 0x03
    COMPONENT = 0x04
    INSTANCE = 0x05
    MODULE = 0x11


@dataclass(frozen=True, slots=True, eq=False)
class InstanceDef:
    """An instance, or an instance type that binds the resources in ``range(low, high)``."""

    exports: Mapping[str, Item]
    low: int = 0
    high: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class ComponentDef:
    """A component or component type; it binds the resources in ``range(low, high)``.

    :ivar capacity: what an instance of it takes
    """

    imports: Mapping[str, Item]
    exports: Mapping[str, Item]
    low: int = 0
    high: int = 0
    capacity: Capacity = UNKNOWN


TypeEntry: TypeAlias = t.ValueType | NamedType | t.FuncType | t.Resource | InstanceDef | ComponentDef
Entity: TypeAlias = TypeEntry | CoreModuleType


class Item(NamedTuple):
    """Something that is imported or exported: its sort, and what stands in that sort's index space."""

    sort: Sort
    entity: Entity


# Python stops at 1000 frames; a level costs five of them when a type is copied.
_MAX_DEPTH = 64
# What everybody who walks a type has to deal with. All of wasi:http has 1000.
MAX_SIZE = 20_000
"""How many parts a type may have, written out as a tree."""


class Context:
    """What one reading shares: resource ids, the weight of every type, what was noticed on the way.

    :param most: how many parts a type may have, written out as a tree
    """

    def __init__(self, most: int = MAX_SIZE) -> None:
        self._most = most
        self.next_resource = 0
        self.proposals: set[str] = set()
        self.unknown: list[UnknownSection] = []
        self._weights: dict[int, tuple[object, int, int]] = {}

    def fresh(self) -> t.Resource:
        """Return a resource unequal to every other."""
        self.next_resource += 1
        return t.Resource(self.next_resource - 1)

    def size(self, entity: object) -> int:
        """Return how many nodes `entity` has, written out as a tree."""
        return self._weights[id(entity)][2] if id(entity) in self._weights else 1

    def weigh(self, cursor: Cursor, entity: object, parts: Iterable[object]) -> None:
        """Record depth and size of a new entity made of `parts`.

        Types share their parts, so a few hundred bytes can describe one that fills the memory of whoever
        walks it.

        :raises ComponentError: it is too deep or too large
        """
        depth = size = 0
        for part in parts:
            _, part_depth, part_size = self._weights.get(id(part), (None, 1, 1))
            depth = max(depth, part_depth)
            size += part_size
        if depth >= _MAX_DEPTH:
            cursor.fail("a type is nested too deep", why=f"the limit is {_MAX_DEPTH} levels")
        if size >= self._most:
            cursor.fail("a type is too large", why=f"written out it has more than {self._most} parts")
        # The entity is kept, so that its id is not given to another object.
        self._weights[id(entity)] = (entity, depth + 1, size + 1)

    def weigh_like(self, entity: object, model: object) -> None:
        """Record that `entity` weighs what `model` does."""
        if (weight := self._weights.get(id(model))) is not None:
            self._weights[id(entity)] = (entity, *weight[1:])
