"""The index spaces of one component, component type or instance type, and the names it declares."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from wasmplex.component.binary import Cursor
from wasmplex.component.capacity import UNKNOWN, Capacity
from wasmplex.component.entities import ComponentDef, Context, Entity, InstanceDef, Item, Sort, TypeEntry
from wasmplex.component.shape import CoreModuleType, NamedType
from wasmplex.wit import types as t

__all__ = ["CORE_SORTS", "Attributes", "Scope", "module_item", "read_sort"]

# Core sorts are only counted: what is in their index spaces says nothing about imports and exports.
CORE_SORTS = {
    0x00: "core func",
    0x01: "core table",
    0x02: "core memory",
    0x03: "core global",
    0x04: "core tag",
    0x10: "core type",
    0x11: "core module",
    0x12: "core instance",
}

# A level of nesting costs six frames of Python's 1000 while it is read.
_MAX_NESTING = 40

_NAMED = (t.Record, t.VariantType, t.Enum, t.Flags)


@dataclass(frozen=True, slots=True)
class Attributes:
    """What an import or export may say beside its name."""

    implements: str | None = None
    version_suffix: str | None = None
    external_id: str | None = None


@dataclass(slots=True)
class Scope:
    """One component, component type or instance type while it is read.

    :ivar concrete: a component; False for a type
    :ivar low: the first resource id that this scope can bind
    """

    context: Context
    parent: Scope | None
    concrete: bool
    spaces: dict[Sort, list[Entity]] = field(default_factory=lambda: {sort: [] for sort in Sort})
    core: dict[int, int] = field(default_factory=lambda: dict.fromkeys(CORE_SORTS, 0))
    imports: dict[str, Item] = field(default_factory=dict)
    exports: dict[str, Item] = field(default_factory=dict)
    import_attributes: dict[str, Attributes] = field(default_factory=dict)
    export_attributes: dict[str, Attributes] = field(default_factory=dict)
    low: int = 0
    made: list[Capacity] = field(default_factory=list)
    """What each instance takes that is made here."""

    def __post_init__(self) -> None:
        self.low = self.context.next_resource

    @classmethod
    def inside(cls, parent: Scope, cursor: Cursor, *, concrete: bool) -> Scope:
        """Return a scope within `parent`.

        :raises ComponentError: it is nested too deep
        """
        depth, outer = 1, parent.parent
        while outer is not None:
            depth, outer = depth + 1, outer.parent
        if depth >= _MAX_NESTING:
            cursor.fail("nested too deep", why=f"the limit is {_MAX_NESTING} levels")
        return cls(parent.context, parent, concrete)

    def outward(self, cursor: Cursor, levels: int) -> Scope:
        """Return the scope `levels` outside this one."""
        scope: Scope | None = self
        for _ in range(min(levels, _MAX_NESTING + 1)):
            scope = scope.parent if scope is not None else None
        if scope is None:
            cursor.fail(f"an alias looks {levels} levels outward, there are not so many")
        return scope

    def add(self, item: Item) -> None:
        """Append to the index space of the item's sort."""
        self.spaces[item.sort].append(item.entity)

    def add_core(self, sort: int, count: int = 1) -> None:
        """Append to the index space of a core sort."""
        self.core[sort] += count

    def item(self, cursor: Cursor, sort: Sort) -> Item:
        """Read an index and return what stands there."""
        space = self.spaces[sort]
        return Item(sort, space[cursor.index(len(space), f"the {sort.name.lower()} index")])

    def core_index(self, cursor: Cursor, sort: int) -> int:
        """Read the index of something in a core index space."""
        limit = len(self.spaces[Sort.MODULE]) if sort == Sort.MODULE else self.core[sort]
        return cursor.index(limit, f"the {CORE_SORTS[sort]} index")

    def type(self, cursor: Cursor) -> TypeEntry:
        """Read a type index."""
        return self.item(cursor, Sort.TYPE).entity  # type: ignore[return-value]

    def resource(self, cursor: Cursor) -> t.Resource:
        """Read the index of a resource type."""
        start, entry = cursor.pos, self.type(cursor)
        if not isinstance(entry, t.Resource):
            cursor.fail(f"expected the index of a resource type, found {_kind(entry)}", start)
        return entry

    def func(self, cursor: Cursor) -> t.FuncType:
        """Read the index of a function type."""
        start, entry = cursor.pos, self.type(cursor)
        if not isinstance(entry, t.FuncType):
            cursor.fail(f"expected the index of a function type, found {_kind(entry)}", start)
        return entry

    def instance_type(self, cursor: Cursor) -> InstanceDef:
        """Read the index of an instance type."""
        start, entry = cursor.pos, self.type(cursor)
        if not isinstance(entry, InstanceDef):
            cursor.fail(f"expected the index of an instance type, found {_kind(entry)}", start)
        return entry

    def component_type(self, cursor: Cursor) -> ComponentDef:
        """Read the index of a component type."""
        start, entry = cursor.pos, self.type(cursor)
        if not isinstance(entry, ComponentDef):
            cursor.fail(f"expected the index of a component type, found {_kind(entry)}", start)
        return entry

    def defined(self, entry: TypeEntry, cursor: Cursor, start: int) -> t.ValueType:
        """Return the value type that a type index stands for."""
        if isinstance(entry, NamedType):
            return entry.type
        if isinstance(entry, t.FuncType | t.Resource | InstanceDef | ComponentDef):
            cursor.fail(f"expected the index of a value type, found {_kind(entry)}", start)
        return entry

    def named(self, cursor: Cursor, entry: TypeEntry, name: str) -> TypeEntry:
        """Return what an import or export of the type `entry` under `name` introduces."""
        if isinstance(entry, t.FuncType | InstanceDef | ComponentDef):
            return entry
        # A copy, so that what refers to this name can be told from what refers to another.
        if isinstance(entry, t.Resource):
            return replace(entry, source=entry)
        value = entry.type if isinstance(entry, NamedType) else entry
        copy = replace(value, name=name) if isinstance(value, _NAMED) else replace(value)
        self.context.weigh_like(copy, value)
        named = NamedType(copy, entry if isinstance(entry, NamedType) else None)
        self.context.weigh(cursor, named, [copy])
        return named

    def declare(self, cursor: Cursor, where: dict[str, Item], name: str, item: Item, start: int) -> None:
        """Add an import or export, and what it introduces into an index space."""
        if name in where:
            kind = "imported" if where is self.imports else "exported"
            cursor.fail(f"{name!r} is {kind} twice", start)
        if "[get]" in name or "[set]" in name:
            self.context.proposals.add("component-model-accessors")
        where[name] = item
        self.add(item)


def _kind(entry: TypeEntry) -> str:
    match entry:
        case t.Resource():
            return "a resource"
        case t.FuncType():
            return "a function type"
        case InstanceDef():
            return "an instance type"
        case ComponentDef():
            return "a component type"
        case _:
            return "a value type"


def read_sort(cursor: Cursor) -> Sort | int:
    """Read a sort: a `Sort`, or the plain number of a core sort (core modules are a `Sort`)."""
    byte = cursor.byte("a sort")
    if byte == 0x00:
        core = cursor.byte("a core sort")
        if core not in CORE_SORTS:
            cursor.unexpected(core, "a core sort")
        return Sort.MODULE if core == Sort.MODULE else core
    if byte not in (Sort.FUNC, Sort.VALUE, Sort.TYPE, Sort.COMPONENT, Sort.INSTANCE):
        cursor.unexpected(byte, "a sort")
    return Sort(byte)


def module_item(capacity: Capacity = UNKNOWN) -> Item:
    """Return the item for a core module; what else is in it is not modelled."""
    return Item(Sort.MODULE, CoreModuleType(capacity))
