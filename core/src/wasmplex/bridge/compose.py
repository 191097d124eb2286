"""Puts adapters and a guest together into one component; the bytes it is given of the guest stay as they are.

The outer component is written as text with an empty component where the guest goes, assembled, and the
guest's bytes are put in the place of the empty one: a nested component is a section (id 4) of its parent,
with the length in front of it, and nothing else refers to its offset.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from wasmplex.bridge.errors import BridgeError
from wasmplex.bridge.exports import CALL, HOST_EXPORTS, ExportAdapter, arguments
from wasmplex.bridge.imports import HOST, ImportAdapter
from wasmplex.bridge.parts import host_instance
from wasmplex.bridge.transport import Transport
from wasmplex.bridge.wat import Scope, instance_type, nameless, quote
from wasmplex.component.encoding import as_section
from wasmplex.component.shape import Export, Import, InstanceType, NamedType, Shape
from wasmplex.wit.types import FuncType

__all__ = ["GIVEN", "START", "compose", "outer_text"]

_PREAMBLE = b"\0asm\x0d\0\x01\0"
_EMPTY = _PREAMBLE
_COMPONENT_SECTION = 4


def outer_text(
    shape: Shape,
    below: ImportAdapter | None,
    above: ExportAdapter | None,
    exports: Iterable[Export],
    transport: Transport,
) -> str:
    """Return the outer component: what passes by the adapters is imported, the rest goes through them.

    :param below: the import adapter, if the guest needs one
    :param above: the export adapter, if the guest needs one
    :param exports: what of the guest is exported as it is
    """
    served = {} if below is None else below.instances
    passing = [item for item in shape.imports if item.name not in served]
    scope = Scope("o")
    lines = ["(component"]
    for name, adapter in (("$host", below), ("$above", above)):
        if adapter is not None:
            path = HOST if adapter is below else HOST_EXPORTS
            bare = below.bare.values() if adapter is below and below is not None else ()
            lines.append(f'(import "{path}" (instance {name}\n{host_instance(transport, bare)}))')
    withs = []
    for number, item in enumerate(passing):
        lines += _import(item, number, scope)
        sort = "instance" if isinstance(item.type, InstanceType) else "func"
        withs.append(f"(with {quote(item.name)} ({sort} $p{number}))")
    lines += [below.text if below else "", above.text if above else ""]
    lines.append("(component)")  # the guest's place; without a name, or it would not be empty
    if below is not None:
        lines.append('(instance $adapter (instantiate $Imports (with "host" (instance $host))))')
    for name, given in served.items():
        sort = "instance" if isinstance(_type_of(shape, name), InstanceType) else "func"
        withs.append(f"(with {quote(name)} ({sort} $adapter {quote(given)}))")
    guest = (below is not None) + (above is not None)
    lines.append(f"(instance $guest (instantiate {guest} {' '.join(withs)}))")
    lines += _resources(served, shape, scope)
    for number, export in enumerate(exports):
        lines += _export(export, number, scope)
    if above is not None:
        to = " ".join(['(with "host" (instance $above))', *arguments(above)])
        lines.append(f"(instance $calls (instantiate $Exports {to}))")
        lines.append(f'(export "{CALL}" (func $calls "call"))')
    for function, name in below.givers.values() if below is not None else ():
        lines.append(f'(alias export $adapter "{name}" (type ${name}))')
        lines.append(f'(export $x{name} "{GIVEN}{name}" (type ${name}))')
        type_ = f'(func (param "rep" u32) (result (own $x{name})))'
        lines.append(f'(export "{GIVEN}{function}" (func $adapter "{function}") {type_})')
    if below is not None and below.needs_start:
        lines.append(f'(export "{START}" (func $adapter "start"))')
    return "\n".join([*lines, ")"])


GIVEN = "wasmplex-"
"""What the names of `ImportAdapter.givers` are exported with in front."""
START = "wasmplex-start"
"""Name of the export that must be called once in a fresh instance, where the adapter has one."""


def _type_of(shape: Shape, name: str) -> object:
    return next(item.type for item in shape.imports if item.name == name)


def _import(item: Import, number: int, scope: Scope) -> list[str]:
    """Import what the guest imports, with the guest's own types; its resources are known from here on."""
    if isinstance(item.type, FuncType):
        text = scope.func(item.type)
        lines, scope.lines[:] = list(scope.lines), []
        return [*lines, f"(import {quote(item.name)} (func $p{number} {text}))"]
    if not isinstance(item.type, InstanceType):
        raise BridgeError(f"import {item.name!r}: only instances and functions can pass by an adapter")
    text, _ = instance_type(item.type, scope, f"p{number}x")
    lines = [f"(import {quote(item.name)} (instance $p{number}\n{text}))"]
    for name, resource in item.type.resources.items():
        if resource.id not in scope.resources:
            scope.resources[resource.id] = local = scope.fresh()
            lines.append(f"(alias export $p{number} {quote(name)} (type {local}))")
    for name, extern in item.type.exports.items():
        if isinstance(extern, NamedType):
            scope.named[id(extern)] = local = scope.fresh()
            lines.append(f"(alias export $p{number} {quote(name)} (type {local}))")
    return lines


def _resources(served: Mapping[str, str], shape: Shape, scope: Scope) -> list[str]:
    """Let the resources that the import adapter defines be known outside of it."""
    lines = []
    for item in shape.imports:
        if item.name not in served or not isinstance(item.type, InstanceType):
            continue
        fresh = {name: r for name, r in item.type.resources.items() if r.id not in scope.resources}
        if fresh:
            instance = served[item.name]
            lines.append(f"(alias export $adapter {quote(instance)} (instance ${instance}))")
        for name, resource in fresh.items():
            scope.resources[resource.id] = local = scope.fresh()
            lines.append(f"(alias export ${instance} {quote(name)} (type {local}))")
    return lines


def _export(export: Export, number: int, scope: Scope) -> list[str]:
    """Export something of the guest's.

    An instance that uses types of an import is exported with a type of its own: what these types are made of
    had a name in the guest, where the import is, and must have one here.
    """
    name = quote(export.name)
    match export.type:
        case FuncType():
            return [f"(export {name} (func $guest {name}))"]
        case InstanceType() if any(
            isinstance(e, NamedType) and e.source for e in export.type.exports.values()
        ):
            lines = []
            for part in nameless(export.type):
                if part not in scope.exported:
                    given = scope.fresh()
                    body = scope.define(part)
                    lines += [*scope.lines, f'(export {given} "wasmplex-type-{given[2:]}" (type {body}))']
                    scope.lines.clear()
                    scope.exported[part] = given
            text, _ = instance_type(export.type, scope, f"e{number}x")
            return [*lines, f"(export {name} (instance $guest {name}) (instance\n{text}))"]
        case InstanceType():
            return [f"(export {name} (instance $guest {name}))"]
    return []


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
