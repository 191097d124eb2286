"""Instantiating definitions: every resource that one binds is replaced, by a given one or a fresh one.

Named types are copied as well, so that each instance has named types of its own; what refers to one refers
to the copy afterwards (see `wasmplex.component.shape.NamedType`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from wasmplex.component.binary import Cursor
from wasmplex.component.entities import ComponentDef, Context, Entity, InstanceDef, Item, Sort
from wasmplex.component.shape import CoreModuleType, NamedType
from wasmplex.wit import types as t
from wasmplex.wit.walk import children, func_children, func_with_children, with_children

__all__ = ["Substitution", "instantiate", "instantiate_as", "instantiate_component"]


class Substitution:
    """Replaces the resources whose ids are in ``range(low, high)``, consistently, wherever they occur."""

    def __init__(self, context: Context, cursor: Cursor, low: int, high: int) -> None:
        self.context = context
        self.cursor = cursor
        self.low, self.high = low, high
        self.resources: dict[int, t.Resource] = {}
        self._inner: list[tuple[int, int]] = []
        # By id; the old one is kept too, so that its id stays its own.
        self._done: dict[int, tuple[object, Entity]] = {}

    def adopt(self, formal: Entity, actual: Entity) -> None:
        """Let `actual` stand wherever `formal` stood."""
        if isinstance(formal, t.Resource) and isinstance(actual, t.Resource):
            self.resources.setdefault(formal.id, actual)
            self._done[id(formal)] = (formal, actual)
        elif isinstance(formal, NamedType) and isinstance(actual, NamedType):
            self._done[id(formal)] = (formal, actual)
            self._done[id(formal.type)] = (formal.type, actual.type)

    def resource(self, resource: t.Resource) -> t.Resource:
        """Return what stands for `resource`."""
        if not self.low <= resource.id < self.high:
            return resource
        for low, high in self._inner:
            if low <= resource.id < high:
                return resource
        if resource.id not in self.resources:
            self.resources[resource.id] = self.context.fresh()
        return self.resources[resource.id]

    def value(self, value: t.ValueType) -> t.ValueType:
        """Return `value` with its resources replaced; the same object if it has none."""
        if isinstance(value, t.Primitive):
            known = self._done.get(id(value))
            return known[1] if known else value  # type: ignore[return-value]
        return self.entity(value)  # type: ignore[return-value]

    def entity(self, entity: Entity) -> Entity:
        """Return `entity` with its resources replaced."""
        if (known := self._done.get(id(entity))) is not None:
            return known[1]
        self.cursor.spend()
        new = self._make(entity)
        if new is not entity:
            self.context.weigh_like(new, entity)
        self._done[id(entity)] = (entity, new)
        return new

    def items(self, items: Mapping[str, Item]) -> dict[str, Item]:
        """Return `items` with their resources replaced."""
        self.cursor.spend(len(items))
        return {name: Item(item.sort, self.entity(item.entity)) for name, item in items.items()}

    def _make(self, entity: Entity) -> Entity:
        match entity:
            case t.Resource():
                resource, source = self.resource(entity), self.source(entity.source)
                unchanged = resource is entity and source is entity.source
                return entity if unchanged else replace(resource, source=source)  # type: ignore[arg-type]
            case NamedType():
                return self._named(entity)
            case t.FuncType():
                parts = func_children(entity)
                new = [self.value(part) for part in parts]
                unchanged = all(a is b for a, b in zip(parts, new, strict=True))
                return entity if unchanged else func_with_children(entity, new)
            case InstanceDef() | ComponentDef():
                return self._definition(entity)
            case CoreModuleType():
                return entity
            case _:
                return self._value(entity)

    def _value(self, value: t.ValueType) -> t.ValueType:
        match value:
            case t.Own() | t.Borrow():
                resource = self.entity(value.resource)
                unchanged = resource is value.resource
                return value if unchanged else replace(value, resource=resource)  # type: ignore[arg-type]
            case _:
                parts = children(value)
                new = [self.value(part) for part in parts]
                unchanged = all(a is b for a, b in zip(parts, new, strict=True))
                return value if unchanged else with_children(value, new)

    def _named(self, named: NamedType) -> NamedType:
        value = replace(self.value(named.type))
        self.context.weigh_like(value, named.type)
        self._done[id(named.type)] = (named.type, value)
        return NamedType(value, self.source(named.source))  # type: ignore[arg-type]

    def source(self, source: NamedType | t.Resource | None) -> Entity | None:
        """Return what stands for the source of an alias; it was met before the alias."""
        known = self._done.get(id(source))
        return known[1] if known else source

    def _definition(self, entity: InstanceDef | ComponentDef) -> InstanceDef | ComponentDef:
        self._inner.append((entity.low, entity.high))
        exports: dict[str, Item]
        if isinstance(entity, ComponentDef):
            imports = self.items(entity.imports)
            exports = self.items(entity.exports)
            new: InstanceDef | ComponentDef = replace(entity, imports=imports, exports=exports)
        else:
            new = replace(entity, exports=self.items(entity.exports))
        self._inner.pop()
        return new

    def match(self, formal: Item, actual: Item, what: str) -> None:
        """Learn from `actual`, given for `formal`, what its resources and named types stand for.

        :raises ComponentError: `actual` is of another sort, or lacks an export
        """
        self.cursor.spend()
        if formal.sort is not actual.sort:
            wanted, given = formal.sort.name.lower(), actual.sort.name.lower()
            self.cursor.fail(f"{what} is a {given}, a {wanted} is needed")
        if formal.sort is Sort.TYPE:
            if isinstance(formal.entity, t.Resource) != isinstance(actual.entity, t.Resource):
                self.cursor.fail(f"{what} is a resource on one side only")
            self.adopt(formal.entity, actual.entity)
        elif isinstance(formal.entity, InstanceDef) and isinstance(actual.entity, InstanceDef):
            for name, item in formal.entity.exports.items():
                if (given_item := actual.entity.exports.get(name)) is None:
                    self.cursor.fail(f"{what} does not export {name!r}, which is needed")
                self.match(item, given_item, f"{name!r} of {what}")


def instantiate(context: Context, cursor: Cursor, definition: InstanceDef) -> InstanceDef:
    """Return a new instance of an instance type, with resources of its own."""
    substitution = Substitution(context, cursor, definition.low, definition.high)
    instance = InstanceDef(substitution.items(definition.exports))
    context.weigh_like(instance, definition)
    return instance


def instantiate_as(
    context: Context, cursor: Cursor, definition: InstanceDef, actual: InstanceDef, what: str
) -> InstanceDef:
    """Return `actual` seen as an instance of the type `definition`: its resources, the type's exports."""
    substitution = Substitution(context, cursor, definition.low, definition.high)
    substitution.match(Item(Sort.INSTANCE, definition), Item(Sort.INSTANCE, actual), what)
    instance = InstanceDef(substitution.items(definition.exports))
    context.weigh_like(instance, definition)
    return instance


def instantiate_component(
    context: Context, cursor: Cursor, component: ComponentDef, arguments: Mapping[str, Item]
) -> InstanceDef:
    """Return the instance that a component gives for `arguments`.

    :raises ComponentError: an argument is missing or does not fit
    """
    substitution = Substitution(context, cursor, component.low, component.high)
    for name, item in component.imports.items():
        if (argument := arguments.get(name)) is None:
            cursor.fail(f"a component is instantiated without {name!r}, which it imports")
        substitution.match(item, argument, repr(name))
    instance = InstanceDef(substitution.items(component.exports))
    context.weigh(cursor, instance, [item.entity for item in instance.exports.values()])
    return instance
