"""Puts adapters and a guest together into one component; the bytes it is given of the guest stay as they are.

The outer component is written as text with an empty component where the guest goes, assembled, and the
guest's bytes are put in the place of the empty one: a nested component is a section (id 4) of its parent,
with the length in front of it, and nothing else refers to its offset.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from wasmplex.bridge.custody import Custody, keeper_types
from wasmplex.bridge.elsewhere import end_name
from wasmplex.bridge.errors import BridgeError
from wasmplex.bridge.exports import BODIES, CALL, HOST_EXPORTS, SERIES, ExportAdapter
from wasmplex.bridge.imports import TYPES, ImportAdapter
from wasmplex.bridge.kinds import functions_of, mentioned
from wasmplex.bridge.parts import host_instance
from wasmplex.bridge.shapes import shaped
from wasmplex.bridge.transport import Transport
from wasmplex.bridge.wat import BagScope, ImportScope, Scope, instance_type, quote
from wasmplex.component.binary import Budget, Cursor
from wasmplex.component.encoding import as_section
from wasmplex.component.sections import COMPONENT_MAGIC
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

__all__ = ["KEEPER", "Adapters", "compose", "outer_text"]

_COMPONENT_SECTION = 4
_STEPS = 1_000_000


KEEPER = "wasmplex:bridge/resources"
"""The instance of functions by which adapters deal with resources that are linked directly."""
_TYPES, _ROOT, _PUT_TOGETHER = "wasmplex-types", "wasmplex-root", "wasmplex-put-together"


@dataclass(frozen=True)
class Adapters:
    """The adapters of a component.

    :ivar linked: the resources that are linked directly and adapters have to do with, in the order of their
        numbers
    """

    below: ImportAdapter | None = None
    aside: ImportAdapter | None = None
    above: ExportAdapter | None = None
    linked: tuple[int, ...] = ()

    def serving(self) -> dict[tuple[str, str], str]:
        """Return where each function of an import comes from that goes through an adapter."""
        found = {}
        for adapter in filter(None, (self.below, self.aside)):
            for function in adapter.functions:
                where = f'${adapter.role.name} "f{function.number}"'
                found[function.owner, function.export] = where
        return found


def outer_text(shape: Shape, adapters: Adapters, transport: Transport) -> str:
    """Return the outer component: what passes by the adapters is imported, the rest goes through them."""
    return _Outer(shape, adapters, transport).text()


class _Outer:
    """The outer component while it is written.

    The guest finds every type under the name it expects. What it exports is exported again as it is: each
    type in it has a name here if it had one in the guest, for the guest's imports are imported here, and the
    types of what is put together are exported before anything of the guest's.
    """

    def __init__(self, shape: Shape, adapters: Adapters, transport: Transport) -> None:
        self._shape, self._adapters, self._transport = shape, adapters, transport
        self._imports = ImportScope("p")
        self._types = BagScope("o", self._imports)
        self._served = adapters.serving()
        self._keeps = {} if adapters.below is None else adapters.below.keeps
        self._lines: list[str] = []
        self._arguments: list[str] = []

    def text(self) -> str:
        """Return the text."""
        adapters = self._adapters
        every = [adapter for adapter in (adapters.below, adapters.aside, adapters.above) if adapter]
        self._lines.append("(component")
        self._hosts()
        for number, item in enumerate(self._shape.imports):
            self._pass(item, number)
        self._keepers()
        self._types.resources |= self._imports.resources
        self._lines += [adapter.text for adapter in every]
        self._lines.append("(component)")  # the guest's place; without a name, or it would not be empty
        self._instantiate_below()
        self._give()
        self._lines.append(f"(instance $guest (instantiate {len(every)} {' '.join(self._arguments)}))")
        self._exports()
        if (above := adapters.above) is not None:
            given = [
                f'(with "f{f.number}" (func $guest {" ".join(quote(p) for p in (f.owner, f.name) if p)}))'
                for f in above.functions
            ]
            self._instantiate("above", above, given)
            self._lines.append(f'(export "{CALL}" (func $above "call"))')
            self._lines.append(f'(export "{SERIES}" (func $above "series"))')
            if above.has_bodies:
                self._lines.append(f'(export "{BODIES}" (func $above "bodies"))')
        for adapter in (adapters.below, adapters.aside):
            if adapter is not None and adapter.needs_start:
                self._lines.append(f'(export "{adapter.role.start}" (func ${adapter.role.name} "start"))')
        return "\n".join([*self._lines, ")"])

    def _hosts(self) -> None:
        """Import what the adapters ask the host for."""
        adapters = self._adapters
        for adapter in (adapters.below, adapters.aside):
            if adapter is not None:
                functions = host_instance(self._transport, adapter.bare.values())
                name = f"$host_{adapter.role.name}"
                self._lines.append(f'(import "{adapter.role.host}" (instance {name}\n{functions}))')
        if adapters.above is not None:
            functions = host_instance(self._transport)
            self._lines.append(f'(import "{HOST_EXPORTS}" (instance $host_above\n{functions}))')

    def _argument(self, name: str, text: str) -> None:
        self._arguments.append(f"(with {quote(name)} ({text}))")

    # ------------------------------------------------------------ what passes by

    def _defined_here(self, item: Import) -> bool:
        """Say whether an import's resources are the first adapter's."""
        return any(resource.id in self._keeps for resource in mentioned(item.type))

    def _pass(self, item: Import, number: int) -> None:
        """Import what the guest imports, with the guest's own types; its resources are known from here on.

        Where an adapter serves some of its functions, and defines none of its resources, the others pass by.
        """
        scope, name, local = self._imports, quote(item.name), f"$p{number}"
        functions = functions_of(item)
        served = functions and all((item.name, function) in self._served for function in functions)
        if served and (isinstance(item.type, FuncType) or not mentioned(item.type)):
            return
        match item.type:
            case FuncType():
                text = scope.func(item.type)
                self._lines += [*scope.take(), f"(import {name} (func {local} {text}))"]
            case InstanceType() if not self._defined_here(item):
                text, _ = instance_type(item.type, scope, f"p{number}x")
                self._lines.append(f"(import {name} (instance {local}\n{text}))")
                for resource, extern in item.type.resources.items():
                    self._learn(extern, f"alias export {local} {quote(resource)} (type TYPE)")
            case Resource() if not self._defined_here(item):
                self._learn(item.type, f"import {name} (type TYPE (sub resource))")
            case InstanceType() | Resource() | NamedType():
                pass
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
        """Import the functions by which adapters deal with resources that pass by."""
        texts = [
            f'(export "{name}{number}" (func {type_}))'
            for number, id_ in enumerate(self._adapters.linked)
            for name, type_ in keeper_types(self._imports.resources[id_]).items()
        ]
        if texts:
            self._lines.append(f'(import "{KEEPER}" (instance $keeper {" ".join(texts)}))')

    # ------------------------------------------------------------ the adapters

    def _instantiate_below(self) -> None:
        adapters = self._adapters
        if adapters.below is not None:
            self._instantiate("below", adapters.below)
            if adapters.below.keeps:
                self._lines.append(f'(alias export $below "{TYPES}" (instance $below_types))')
            for id_, name in adapters.below.keeps.items():
                self._types.resources[id_] = local = self._types.fresh()
                self._lines.append(f'(alias export $below_types "{name}" (type {local}))')
        if adapters.aside is not None:
            self._instantiate("aside", adapters.aside)

    def _instantiate(
        self, name: str, adapter: ImportAdapter | ExportAdapter, more: Sequence[str] = ()
    ) -> None:
        """Instantiate an adapter with the host, types, and what deals with handles and ends for it."""
        scope, kinds = self._types, adapter.kinds
        given = [f'(with "host" (instance $host_{name}))', *more]
        for number, resource in enumerate(kinds.resources):
            custody = kinds.custody(resource)
            if custody is not Custody.DEFINED:
                given.append(f'(with "r{number}" (type {scope.resources[resource.id]}))')
            if custody.elsewhere:
                keeper, at = ("$below", self._keeps[resource.id][1:]) if custody is Custody.KEPT else (
                    "$keeper", str(self._adapters.linked.index(resource.id)))  # fmt: skip
                given += [f'(with "{n}{number}" (func {keeper} "{n}{at}"))' for n in keeper_types("")]
        given += [f'(with "{name}" (type {scope.ref(type_)}))' for name, type_ in adapter.types]
        if (below := self._adapters.below) is not None:
            for end in adapter.elsewhere:
                here, there = (f"make-{end_name(end, k)}" for k in (kinds, below.kinds))
                given.append(f'(with "{here}" (func $below "{there}"))')
        component = "$Exports" if name == "above" else f"${name}_adapter"
        self._lines += [*scope.take(), f"(instance ${name} (instantiate {component} {' '.join(given)}))"]

    # ------------------------------------------------------------ what the guest is given

    def _give(self) -> None:
        """Put together what the guest imports, and export the types of it before the guest's exports."""
        exports: list[str] = []
        for number, item in enumerate(self._shape.imports):
            match item.type:
                case InstanceType():
                    self._argument(item.name, f"instance {self._instance(item, item.type, number, exports)}")
                case FuncType():
                    where = self._served.get((item.name, item.name), f"$p{number}")
                    self._argument(item.name, f"func {where}")
                case Resource():
                    self._argument(item.name, f"type {self._types.resources[item.type.id]}")
                case NamedType(type_):
                    anew = isinstance(type_, Primitive)
                    text = self._types.define(type_) if anew else self._types.ref(type_)
                    self._argument(item.name, f"type {text}")
        self._lines += self._types.take()
        resources = {f"r{id_}": self._types.resources[id_] for id_ in self._keeps}
        if (bag := self._types.bag("$types", resources)) is not None:
            self._lines += [bag, f'(export "{_TYPES}" (instance $types))']
        self._lines += exports

    def _instance(self, item: Import, type_: InstanceType, number: int, exports: list[str]) -> str:
        """Return the instance that stands for an import; note what exports its types."""
        functions = {
            name: self._served.get((item.name, name), f"$p{number} {quote(name)}") for name in type_.functions
        }
        if not self._defined_here(item) and all(where.startswith("$p") for where in functions.values()):
            return f"$p{number}"
        local = f"i{number}"
        made = shaped(local, type_, functions, self._types)
        self._lines += [*self._types.take(), *made]
        types = [name for name, extern in type_.exports.items() if isinstance(extern, (NamedType, Resource))]
        if types:
            parts = [f"(export {quote(name)} (type ${local} {quote(name)}))" for name in types]
            exports.append(f"(instance $types_{local} {' '.join(parts)})")
            exports.append(f'(export "{_PUT_TOGETHER}-{local}" (instance $types_{local}))')
        return f"${local}"

    # ------------------------------------------------------------ what the guest exports

    def _exports(self) -> None:
        """Export all of the guest's; its resources are known from here on."""
        types = [e.name for e in self._shape.exports if isinstance(e.type, (NamedType, Resource))]
        if types:
            # Exported one by one they would be given another identity than the one functions refer to.
            parts = " ".join(f"(export {quote(name)} (type $guest {quote(name)}))" for name in types)
            self._lines += [f"(instance $root {parts})", f'(export $rooted "{_ROOT}" (instance $root))']
        for number, export in enumerate(self._shape.exports):
            if isinstance(export.type, Resource):
                self._types.resources[export.type.id] = local = f"$root{number}"
                name = quote(export.name)
                self._lines.append(f"(export {local} {name} (type $guest {name}))")
        self._bound()
        for number, export in enumerate(self._shape.exports):
            self._export(export, f"$g{number}")

    def _bound(self) -> None:
        """Export the functions of the root that belong to a resource: by the name that this has here."""
        scope = Scope("b", self._types)
        scope.named(self._imports)
        scope.named(self._types)
        if not any(export.name.startswith("[") for export in self._shape.exports):
            return
        for export in self._shape.exports:
            if isinstance(export.type, NamedType):
                local = scope.fresh()
                self._lines.append(f"(alias export $rooted {quote(export.name)} (type {local}))")
                scope.name(export.type.type, local)
        for export in self._shape.exports:
            if isinstance(export.type, FuncType) and export.name.startswith("["):
                name, type_ = quote(export.name), scope.func(export.type)
                self._lines += [*scope.take(), f"(export {name} (func $guest {name}) (func {type_}))"]

    def _export(self, export: Export, local: str) -> None:
        name = quote(export.name)
        if export.name.startswith("["):
            return
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


def compose(outer: bytes, *guests: bytes) -> bytes:
    """Put guests in the places of the empty components in the outer one.

    :param outer: the assembled outer component
    :param guests: one for each of its empty components, in their order
    """
    left = iter(guests)
    cursor = Cursor(outer, len(COMPONENT_MAGIC), len(outer), "an outer component", Budget(_STEPS))
    result = bytearray(COMPONENT_MAGIC)
    while cursor.pos < cursor.end:
        start = cursor.pos
        section, inner = cursor.part("an outer component")
        if section == _COMPONENT_SECTION and outer[inner.pos : inner.end] == COMPONENT_MAGIC:
            result += as_section(section, next(left))
        else:
            result += outer[start : inner.end]
    return bytes(result)
