"""Puts adapters and a guest together into one component; the bytes it is given of the guest stay as they are.

The outer component is written as text with an empty component where the guest goes, assembled, and the
guest's bytes are put in the place of the empty one: a nested component is a section (id 4) of its parent,
with the length in front of it, and nothing else refers to its offset.
"""

from __future__ import annotations

from collections.abc import Mapping

from wasmplex.bridge.custody import Custody, keeper_types
from wasmplex.bridge.errors import BridgeError
from wasmplex.bridge.exports import CALL, HOST_EXPORTS, ExportAdapter
from wasmplex.bridge.imports import HOST, TYPES, ImportAdapter
from wasmplex.bridge.parts import host_instance
from wasmplex.bridge.transport import Transport
from wasmplex.bridge.wat import BagScope, ImportScope, instance_type, quote
from wasmplex.component.encoding import as_section
from wasmplex.component.shape import (
    ComponentType,
    CoreModuleType,
    Export,
    Import,
    InstanceType,
    NamedType,
    Shape,
)
from wasmplex.wit.types import FuncType, Primitive, Resource

__all__ = ["KEEPER", "START", "compose", "outer_text"]

_PREAMBLE = b"\0asm\x0d\0\x01\0"
_EMPTY = _PREAMBLE
_COMPONENT_SECTION = 4


START = "wasmplex-start"
"""Name of the export that must be called once in a fresh instance, where the adapter has one."""
KEEPER = "wasmplex:bridge/resources"
"""The instance of functions by which an adapter deals with resources that are linked directly."""
_TYPES, _ROOT = "wasmplex-types", "wasmplex-root"


def outer_text(
    shape: Shape, below: ImportAdapter | None, above: ExportAdapter | None, transport: Transport
) -> str:
    """Return the outer component: what passes by the adapters is imported, the rest goes through them.

    :param below: the import adapter, if the guest needs one
    :param above: the export adapter, if the guest needs one
    """
    return _Outer(shape, below, above, transport).text()


class _Outer:
    """The outer component while it is written.

    The guest finds every type under the name it expects. What it exports is exported again as it is: each
    type in it has a name here if it had one in the guest, for the guest's imports are imported here, and the
    types of what the import adapter stands for are exported before anything of the guest's.
    """

    def __init__(
        self, shape: Shape, below: ImportAdapter | None, above: ExportAdapter | None, transport: Transport
    ) -> None:
        self._shape, self._below, self._above, self._transport = shape, below, above, transport
        self._imports = ImportScope("p")
        self._types = BagScope("o", self._imports)
        self._served = {} if below is None else below.instances
        self._keeps = {} if below is None else below.keeps
        self._lines: list[str] = []
        self._arguments: list[str] = []

    def text(self) -> str:
        """Return the text."""
        below, above = self._below, self._above
        self._lines.append("(component")
        self._hosts()
        for number, item in enumerate(self._shape.imports):
            if item.name not in self._served and not isinstance(item.type, NamedType):
                self._pass(item, number)
        self._keepers()
        self._types.resources |= self._imports.resources
        self._lines += [below.text if below else "", above.text if above else ""]
        self._lines.append("(component)")  # the guest's place; without a name, or it would not be empty
        if below is not None:
            self._instantiate_below(below)
        for item in self._shape.imports:
            self._root_type(item)
        self._lines += self._types.take()
        if any(isinstance(item.type, NamedType) for item in self._shape.imports):
            self._lines += [self._types.bag("$types"), f'(export "{_TYPES}" (instance $types))']
        guest = (below is not None) + (above is not None)
        self._lines.append(f"(instance $guest (instantiate {guest} {' '.join(self._arguments)}))")
        self._exports()
        if above is not None:
            self._instantiate_above(above)
        if below is not None and below.needs_start:
            self._lines.append(f'(export "{START}" (func $adapter "start"))')
        return "\n".join([*self._lines, ")"])

    def _hosts(self) -> None:
        """Import what the adapters ask the host for."""
        if (below := self._below) is not None:
            functions = host_instance(self._transport, below.bare.values())
            self._lines.append(f'(import "{HOST}" (instance $host\n{functions}))')
        if self._above is not None:
            self._lines.append(
                f'(import "{HOST_EXPORTS}" (instance $above\n{host_instance(self._transport)}))'
            )

    def _argument(self, name: str, text: str) -> None:
        self._arguments.append(f"(with {quote(name)} ({text}))")

    # ------------------------------------------------------------ what passes by

    def _pass(self, item: Import, number: int) -> None:
        """Import what the guest imports, with the guest's own types; its resources are known from here on."""
        scope, name, local = self._imports, quote(item.name), f"$p{number}"
        match item.type:
            case FuncType():
                text = scope.func(item.type)
                self._lines += [*scope.take(), f"(import {name} (func {local} {text}))"]
                self._argument(item.name, f"func {local}")
            case InstanceType():
                text, _ = instance_type(item.type, scope, f"p{number}x")
                self._lines.append(f"(import {name} (instance {local}\n{text}))")
                self._argument(item.name, f"instance {local}")
                for resource, extern in item.type.resources.items():
                    self._learn(extern, f"alias export {local} {quote(resource)} (type TYPE)")
            case Resource():
                self._learn(item.type, f"import {name} (type TYPE (sub resource))")
                self._argument(item.name, f"type {scope.resources[item.type.id]}")
            case _:
                raise BridgeError(
                    f"import {item.name!r}: only types, functions and instances pass by an adapter"
                )

    def _learn(self, resource: Resource, definition: str) -> None:
        """Give a resource a name in the outer component, if it has none."""
        if resource.id not in self._imports.resources:
            self._imports.resources[resource.id] = local = self._imports.fresh()
            self._lines.append(f"({definition.replace('TYPE', local)})")

    def _keepers(self) -> None:
        """Import the functions by which the export adapter deals with resources that pass by."""
        texts = []
        for number, resource in self._kept():
            if resource.id not in self._keeps:
                types = keeper_types(self._imports.resources[resource.id])
                texts += [f'(export "{name}{number}" (func {type_}))' for name, type_ in types.items()]
        if texts:
            self._lines.append(f'(import "{KEEPER}" (instance $keeper {" ".join(texts)}))')

    def _kept(self) -> list[tuple[int, Resource]]:
        """Return the resources, with their numbers, that the export adapter has no say in."""
        if (above := self._above) is None:
            return []
        kinds = above.kinds
        return [(n, r) for n, r in enumerate(kinds.resources) if kinds.custody(r) is Custody.KEPT]

    # ------------------------------------------------------------ the adapters

    def _instantiate_below(self, below: ImportAdapter) -> None:
        self._lines.append('(instance $adapter (instantiate $Imports (with "host" (instance $host))))')
        self._lines.append(f'(alias export $adapter "{TYPES}" (instance $adapter_types))')
        for id_, name in below.keeps.items():
            self._types.resources[id_] = local = self._types.fresh()
            self._lines.append(f'(alias export $adapter_types "{name}" (type {local}))')
        self._lines.append(f'(export "{_SERVED}" (instance $adapter_types))')
        for item in self._shape.imports:
            if (given := self._served.get(item.name)) is not None:
                match item.type:
                    case InstanceType():
                        self._argument(item.name, f"instance $adapter {quote(given)}")
                        self._name_types(item.type, given)
                    case FuncType():
                        self._argument(item.name, f"func $adapter {quote(given)}")
                    case Resource():
                        self._argument(item.name, f"type {self._types.resources[item.type.id]}")

    def _name_types(self, type_: InstanceType, given: str) -> None:
        """Export the types of an instance that the adapter stands for: the guest's exports go by them."""
        types = [name for name, extern in type_.exports.items() if isinstance(extern, (NamedType, Resource))]
        if types:
            parts = [f"(export {quote(name)} (type $adapter_{given} {quote(name)}))" for name in types]
            self._lines += [
                f'(alias export $adapter "{given}" (instance $adapter_{given}))',
                f"(instance $types_{given} {' '.join(parts)})",
                f'(export "{_SERVED}-{given}" (instance $types_{given}))',
            ]

    def _root_type(self, item: Import) -> None:
        """Define what the guest imports as a type of its root."""
        if isinstance(item.type, NamedType):
            type_ = item.type.type
            text = self._types.define(type_) if isinstance(type_, Primitive) else self._types.ref(type_)
            self._argument(item.name, f"type {text}")

    def _instantiate_above(self, above: ExportAdapter) -> None:
        scope = self._types
        given = ['(with "host" (instance $above))']
        for number, resource in enumerate(above.kinds.resources):
            given.append(f'(with "r{number}" (type {scope.resources[resource.id]}))')
        for number, resource in self._kept():
            keeper, at = ("$adapter", self._keeps[resource.id][1:]) if resource.id in self._keeps else (
                "$keeper", str(number))  # fmt: skip
            given += [f'(with "{n}{number}" (func {keeper} "{n}{at}"))' for n in keeper_types("")]
        for name, type_ in above.types:
            given.append(f'(with "{name}" (type {scope.ref(type_)}))')
        for function in above.functions:
            path = " ".join(quote(part) for part in (function.owner, function.name) if part)
            given.append(f'(with "f{function.number}" (func $guest {path}))')
        self._lines += [*scope.take(), f"(instance $calls (instantiate $Exports {' '.join(given)}))"]
        self._lines.append(f'(export "{CALL}" (func $calls "call"))')

    # ------------------------------------------------------------ what the guest exports

    def _exports(self) -> None:
        """Export all of the guest's; its resources are known from here on."""
        types = [e.name for e in self._shape.exports if isinstance(e.type, (NamedType, Resource))]
        if types:
            # Exported one by one they would be given another identity than the one functions refer to.
            parts = " ".join(f"(export {quote(name)} (type $guest {quote(name)}))" for name in types)
            self._lines += [f"(instance $root {parts})", f'(export "{_ROOT}" (instance $root))']
        for number, export in enumerate(self._shape.exports):
            self._export(export, f"$g{number}")

    def _export(self, export: Export, local: str) -> None:
        name = quote(export.name)
        if (sort := _SORTS.get(type(export.type))) is not None:
            self._lines.append(f"(export {name} ({sort} $guest {name}))")
        match export.type:
            case InstanceType():
                named = {f"{name} {quote(own)}": r for own, r in export.type.resources.items()}
            case Resource():
                named = {name: export.type}
            case _:
                return
        for number, (path, resource) in enumerate(named.items()):
            if resource.id not in self._types.resources:
                self._types.resources[resource.id] = f"{local}r{number}"
                if isinstance(export.type, InstanceType):
                    self._lines.append(f"(alias export $guest {name} (instance {local}i{number}))")
                    source = f"{local}i{number} {path.removeprefix(name + ' ')}"
                else:
                    source = f"$guest {name}"
                self._lines.append(f"(alias export {source} (type {local}r{number}))")


_SORTS: dict[type, str] = {
    FuncType: "func",
    InstanceType: "instance",
    CoreModuleType: "core module",
    ComponentType: "component",
}
_SERVED = "wasmplex-served"


def compose(outer: bytes, parts: Mapping[int, bytes]) -> bytes:
    """Replace empty nested components by real ones.

    :param outer: the assembled outer component
    :param parts: what to put in place of each empty component, counted from 0
    """
    result, at, seen = bytearray(_PREAMBLE), len(_PREAMBLE), 0
    while at < len(outer):
        section, size, start = outer[at], *_uleb(outer, at + 1)
        body = outer[start : start + size]
        if section == _COMPONENT_SECTION and body == _EMPTY:
            body, seen = parts[seen], seen + 1
        result += as_section(section, body)
        at = start + size
    if seen != len(parts):
        raise AssertionError(f"{seen} places for {len(parts)} components")
    return bytes(result)


def _uleb(data: bytes, at: int) -> tuple[int, int]:
    result = shift = 0
    while True:
        byte = data[at]
        at += 1
        result |= (byte & 0x7F) << shift
        if byte < 0x80:
            return result, at
        shift += 7
