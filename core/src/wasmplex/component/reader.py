"""`read`: from the bytes of a component to its `Shape`, without compiling anything.

The format is that of the component model's ``Binary.md``. What a component imports and exports is known only
after following its index spaces, because exports are most often instances of nested components; so all
sections are read, except for the bodies of core modules. Types are not checked against each other: that is
the engine's work when it compiles.
"""

from __future__ import annotations

from collections.abc import Mapping

from wasmplex.component.binary import Budget, Cursor
from wasmplex.component.capacity import total
from wasmplex.component.entities import MAX_SIZE, Context, Entity, InstanceDef, Item, Sort
from wasmplex.component.foreign import foreign
from wasmplex.component.module import module_budget
from wasmplex.component.scope import Scope
from wasmplex.component.sections import read_sections
from wasmplex.component.shape import (
    ComponentType,
    CoreModuleType,
    DefinedType,
    Export,
    Extern,
    Import,
    InstanceType,
    NamedType,
    Shape,
    ValueExtern,
)
from wasmplex.component.substitution import Substitution
from wasmplex.errors import ComponentError
from wasmplex.wit import types as t

__all__ = ["read"]

# Steps that a component may cost: components that import all of WASI take some ten thousand. A small file
# gets less, so that one which was made to cost much has to be large as well.
_STEPS, _STEPS_AT_MOST = 100_000, 1_000_000
_COMPOSED = 20
"""How many times more a composed component may cost: adapters repeat its types, twice each at most."""


def read(wasm: bytes, *, composed: bool = False) -> Shape:
    """Read what a component imports and exports.

    :param wasm: the component in binary form
    :param composed: whether the host has put it together, from a component that has been read and adapters:
        limits are for what others have made
    :raises ComponentError: it is not a component, is malformed, or would take more time and memory to
        describe than any real one; the error says at which byte
    """
    if (error := foreign(wasm)) is not None:
        raise error
    times = _COMPOSED if composed else 1
    context = Context(times * MAX_SIZE)
    steps = times * min(_STEPS + len(wasm) // 8, _STEPS_AT_MOST)
    cursor = Cursor(wasm, 0, len(wasm), "the component", Budget(steps))
    scope = Scope(context, None, concrete=True)
    try:
        read_sections(cursor, scope, module_budget())
        return _Finish(context, cursor).shape(scope)
    except RecursionError:
        raise ComponentError("malformed component: nested too deep", where="the component") from None


class _Finish(Substitution):
    """Replaces the resources by ones that say who introduced them, numbered in that order."""

    def __init__(self, context: Context, cursor: Cursor) -> None:
        super().__init__(context, cursor, 0, context.next_resource)
        self._next = 0

    def shape(self, scope: Scope) -> Shape:
        for side in (scope.imports, scope.exports):
            for name, item in side.items():
                self._introduce(name, item, imported=side is scope.imports)
        size = sum(self.context.size(i.entity) for i in (*scope.imports.values(), *scope.exports.values()))
        self.cursor.spend(size)
        imports, exports = self._externs(scope.imports), self._externs(scope.exports)
        return Shape(
            tuple(
                Import(name, extern, a.implements, a.version_suffix, a.external_id)
                for (name, extern), a in zip(imports.items(), scope.import_attributes.values(), strict=True)
            ),
            tuple(
                Export(name, extern, a.implements, a.version_suffix, a.external_id)
                for (name, extern), a in zip(exports.items(), scope.export_attributes.values(), strict=True)
            ),
            frozenset(self.context.proposals),
            tuple(self.context.unknown),
            total(scope.made),
        )

    def _introduce(self, owner: str, item: Item, *, imported: bool) -> None:
        if isinstance(item.entity, InstanceDef):
            self._introduce_all(owner, item.entity, imported=imported)
        elif item.sort is Sort.TYPE and isinstance(item.entity, t.Resource):
            self._name(item.entity, owner, "", imported=imported)

    def _introduce_all(self, owner: str, instance: InstanceDef, *, imported: bool) -> None:
        for name, item in instance.exports.items():
            if isinstance(item.entity, InstanceDef):
                self._introduce_all(owner, item.entity, imported=imported)
            elif item.sort is Sort.TYPE and isinstance(item.entity, t.Resource):
                self._name(item.entity, name, owner, imported=imported)

    def _name(self, resource: t.Resource, name: str, owner: str, *, imported: bool) -> None:
        if resource.id not in self.resources:
            self.resources[resource.id] = t.Resource(self._next, name, owner, imported)
            self._next += 1

    def resource(self, resource: t.Resource) -> t.Resource:
        if resource.id not in self.resources:
            # Used without having been exported by name: invalid, and harmless here.
            self._name(resource, "", "", imported=False)
        return self.resources[resource.id]

    def _externs(self, items: Mapping[str, Item]) -> dict[str, Extern]:
        return {name: self._extern(item.sort, self.entity(item.entity)) for name, item in items.items()}

    def _extern(self, sort: Sort, entity: Entity) -> Extern:
        match entity:
            case _ if sort is Sort.VALUE:
                return ValueExtern(entity)  # type: ignore[arg-type]
            case t.FuncType():
                return entity if sort is Sort.FUNC else DefinedType("func")
            case InstanceDef() if sort is Sort.INSTANCE:
                exports = {
                    name: self._extern(item.sort, item.entity) for name, item in entity.exports.items()
                }
                return InstanceType(exports)
            case InstanceDef():
                return DefinedType("instance")
            case t.Resource() | NamedType():
                return entity
            case CoreModuleType():
                return entity
            case _:
                return ComponentType() if sort is Sort.COMPONENT else DefinedType("component")

    def source(self, source: NamedType | t.Resource | None) -> Entity | None:
        # An alias may lead through names that nobody outside can see.
        while source is not None:
            if (known := self._done.get(id(source))) is not None:
                return known[1]
            self.cursor.spend()
            source = source.source
        return None
