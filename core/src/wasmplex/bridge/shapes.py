"""Puts an instance together for the guest: names for its exports, whoever they come from.

A method belongs to a resource that is exported by its side under a name of its own, which only a component
can do. So there is one for each instance that some adapter has a part in: it is given types and functions,
and exports them.
"""

from __future__ import annotations

from collections.abc import Mapping

from wasmplex.bridge.errors import BridgeError
from wasmplex.bridge.kinds import mentioned, value_types
from wasmplex.bridge.wat import NOMINAL, BagScope, ImportScope, Scope, quote
from wasmplex.component.shape import Extern, InstanceType, NamedType
from wasmplex.wit.types import FuncType, Primitive, Resource

__all__ = ["shaped"]


def shaped(name: str, type_: InstanceType, functions: Mapping[str, str], outer: BagScope) -> list[str]:
    """Return the text of an instance, with what makes it.

    :param name: what to call it
    :param functions: where each function comes from: an instance, and the path of its exports
    :param outer: knows the resources of the instance; gets its other types
    """
    shape = _Shape(name, type_, functions, outer)
    lines = shape.lines()
    return [*lines, f"(instance ${name} (instantiate $Shape_{name} {' '.join(shape.arguments)}))"]


class _Shape:
    """The component that gives the exports of one instance their names.

    :ivar arguments: what to instantiate it with
    """

    def __init__(self, name: str, type_: InstanceType, functions: Mapping[str, str], outer: BagScope) -> None:
        self._name, self._functions, self._outer = name, functions, outer
        self._exports = type_.exports
        self._scope = ImportScope(f"{name}x")
        self._exported = Scope(f"{name}y", self._scope)
        self._count = 0
        self.arguments: list[str] = []

    def lines(self) -> list[str]:
        """Return its text."""
        resources = {r.id: None for extern in self._exports.values() for r in mentioned(extern)}
        lines = [f"(component $Shape_{self._name}", *map(self._resource, resources)]
        self._exported.resources = dict(self._scope.resources)
        exports = [self._export(name, extern) for name, extern in self._exports.items()]
        for name, type_ in self._scope.introduced:
            self.arguments.append(f"(with {quote(name)} (type {self._outer.ref(type_)}))")
        return [*lines, *self._scope.take(), *exports, ")"]

    def _resource(self, id_: int) -> str:
        self._scope.resources[id_] = local = self._scope.fresh()
        self.arguments.append(f'(with "r{id_}" (type {self._outer.resources[id_]}))')
        return f'(import "r{id_}" (type {local} (sub resource)))'

    def _export(self, name: str, extern: Extern) -> str:
        match extern:
            case Resource():
                return self._export_resource(name, extern.id)
            case NamedType(type_):
                # Only what has a definition can be exported: an alias of `string` gets one.
                anew = isinstance(type_, Primitive)
                text = self._scope.define(type_) if anew else self._scope.ref(type_)
                return f"(export {quote(name)} (type {text}))"
            case FuncType():
                return self._export_function(name, extern)
        raise BridgeError(f"{name!r} is none of a type, a resource and a function")

    def _export_resource(self, name: str, id_: int) -> str:
        resources, local = self._exported.resources, self._exported.fresh()
        line = f"(export {local} {quote(name)} (type {resources[id_]}))"
        if resources[id_] == self._scope.resources[id_]:
            resources[id_] = local  # methods go by the first of several names
        return line

    def _export_function(self, name: str, type_: FuncType) -> str:
        number, self._count = self._count, self._count + 1
        want = self._scope.func(type_)
        self._scope.lines.append(f'(import "f{number}" (func $f{number} {want}))')
        self.arguments.append(f'(with "f{number}" (func {self._functions[name]}))')
        scope = self._exported
        for part in value_types(type_):
            if isinstance(part, NOMINAL):
                scope.name(part, self._scope.ref(part))
        give = scope.func(type_)
        return "\n".join([*scope.take(), f"(export {quote(name)} (func $f{number}) (func {give}))"])
