"""The sections of a component, read in order; nested components are read to the end when they are met."""

from __future__ import annotations

import re
from collections.abc import Callable

from wasmplex.component import coretypes
from wasmplex.component.binary import Budget, Cursor
from wasmplex.component.canon import read_canon
from wasmplex.component.capacity import UNKNOWN, module_capacity, total
from wasmplex.component.entities import ComponentDef, InstanceDef, Item, Sort
from wasmplex.component.module import note_module
from wasmplex.component.scope import Attributes, Scope, module_item, read_sort
from wasmplex.component.shape import CoreModuleType, UnknownSection
from wasmplex.component.substitution import instantiate_as, instantiate_component
from wasmplex.component.typedefs import read_alias, read_attributes, read_extern, read_type, read_value
from wasmplex.wit import types as t

__all__ = ["COMPONENT_MAGIC", "DEFINITIONS", "SECTION_NAMES", "read_section", "read_sections"]

COMPONENT_MAGIC = b"\0asm\x0d\0\x01\0"

SECTION_NAMES = {
    0: "custom",
    1: "core module",
    2: "core instance",
    3: "core type",
    4: "component",
    5: "instance",
    6: "alias",
    7: "type",
    8: "canon",
    9: "start",
    10: "import",
    11: "export",
    12: "value",
}


# Two colons before the version, or two slashes. Names of functions and such never look so.
_NESTED = re.compile(r"[^@:/\[]+(:[^@:/]+:|:[^@/]+/[^@/]+/)")


def read_sections(cursor: Cursor, scope: Scope, modules: Budget) -> None:
    """Read all sections of the component that `cursor` covers, its first eight bytes included.

    :param modules: what looking into core modules may cost
    """
    if not cursor.data.startswith(COMPONENT_MAGIC, cursor.pos, cursor.end):
        cursor.fail("this is not a component", why="it does not start with 00 61 73 6d 0d 00 01 00")
    place = cursor.section
    cursor.pos += len(COMPONENT_MAGIC)
    while cursor.pos < cursor.end:
        cursor.spend()
        start = cursor.pos
        section = cursor.byte("a section")
        name = f"{SECTION_NAMES.get(section, f'unknown ({section})')} section"
        cursor.section = f"{name} of {place}"
        size = cursor.u32("the size of a section")
        if size > cursor.end - cursor.pos:
            cursor.fail(
                f"it ends in the middle of its {name}",
                cursor.end,
                why=f"the section starts at byte {start:#x} and says it has {size} bytes, "
                f"{cursor.end - cursor.pos} are there",
            )
        inner = cursor.sub(size, cursor.section)
        cursor.section = place
        read_section(inner, scope, section, modules)


def read_section(cursor: Cursor, scope: Scope, section: int, modules: Budget) -> None:
    """Read what is in one section.

    :param section: its number
    """
    match section:
        case 0:
            return
        case 1:
            capacity = module_capacity(cursor.data, cursor.pos, cursor.end, modules)
            note_module(cursor, scope.context.proposals, modules)
            scope.add(module_item(capacity))
        case 4:
            cursor.section = f"the component at byte {cursor.pos:#x}"
            scope.add(_nested(cursor, scope, modules))
        case 9:
            _start(cursor, scope)
            cursor.done()
        case _ if (read := DEFINITIONS.get(section)) is not None:
            for _ in cursor.vec("definitions"):
                read(cursor, scope)
            cursor.done()
        case _:
            size = cursor.end - cursor.pos
            scope.context.unknown.append(UnknownSection(section, cursor.pos, size))


def _nested(cursor: Cursor, scope: Scope, modules: Budget) -> Item:
    inner = Scope.inside(scope, cursor, concrete=True)
    read_sections(cursor, inner, modules)
    high = scope.context.next_resource
    component = ComponentDef(inner.imports, inner.exports, inner.low, high, total(inner.made))
    items = (*inner.imports.values(), *inner.exports.values())
    scope.context.weigh(cursor, component, [item.entity for item in items])
    return Item(Sort.COMPONENT, component)


def _core_instance(cursor: Cursor, scope: Scope) -> None:
    cursor.spend()
    kind = cursor.byte("a core instance")
    if kind == 0x00:
        module = scope.spaces[Sort.MODULE][scope.core_index(cursor, Sort.MODULE)]
        scope.made.append(module.capacity if isinstance(module, CoreModuleType) else UNKNOWN)
        for _ in cursor.vec("arguments"):
            cursor.text("the name of an argument")
            if (sort := cursor.byte("a core instance")) != 0x12:
                cursor.unexpected(sort, "a core instance (0x12)")
            scope.core_index(cursor, 0x12)
    elif kind == 0x01:
        for _ in cursor.vec("exports"):
            cursor.text("the name of an export")
            sort = cursor.byte("a core sort")
            if sort not in scope.core:
                cursor.unexpected(sort, "a core sort")
            scope.core_index(cursor, sort)
    else:
        cursor.unexpected(kind, "a core instance")
    scope.add_core(0x12)


def _core_type(cursor: Cursor, scope: Scope) -> None:
    scope.add_core(0x10, coretypes.read_component_core_type(cursor, scope.context.proposals))


def _item(cursor: Cursor, scope: Scope) -> Item:
    sort = read_sort(cursor)
    if not isinstance(sort, Sort):
        cursor.unexpected(
            cursor.data[cursor.pos - 1], "a function, value, type, component, instance or module"
        )
    return scope.item(cursor, sort)


def _instance(cursor: Cursor, scope: Scope) -> None:
    cursor.spend()
    kind = cursor.byte("an instance")
    if kind == 0x00:
        component = scope.item(cursor, Sort.COMPONENT).entity
        arguments = _arguments(cursor, scope)
        instance = instantiate_component(scope.context, cursor, component, arguments)  # type: ignore[arg-type]
        scope.made.append(component.capacity if isinstance(component, ComponentDef) else UNKNOWN)
    elif kind == 0x01:
        exports = _inline_exports(cursor, scope)
        instance = InstanceDef(exports)
        scope.context.weigh(cursor, instance, [item.entity for item in exports.values()])
    else:
        cursor.unexpected(kind, "an instance")
    scope.add(Item(Sort.INSTANCE, instance))


def _arguments(cursor: Cursor, scope: Scope) -> dict[str, Item]:
    items: dict[str, Item] = {}
    for _ in cursor.vec("arguments"):
        start, name = cursor.pos, cursor.text("the name of an argument")
        if name in items:
            cursor.fail(f"the argument {name!r} is there twice", start)
        items[name] = _item(cursor, scope)
    return items


def _inline_exports(cursor: Cursor, scope: Scope) -> dict[str, Item]:
    items: dict[str, Item] = {}
    for _ in cursor.vec("exports"):
        start, (name, _attributes) = cursor.pos, read_attributes(cursor)
        if name in items:
            cursor.fail(f"{name!r} is exported twice", start)
        items[name] = _exported(cursor, scope, _item(cursor, scope), name)
    return items


def _exported(cursor: Cursor, scope: Scope, item: Item, name: str) -> Item:
    if item.sort is not Sort.TYPE:
        return item
    return Item(Sort.TYPE, scope.named(cursor, item.entity, name))  # type: ignore[arg-type]


def _type(cursor: Cursor, scope: Scope) -> None:
    scope.add(Item(Sort.TYPE, read_type(cursor, scope)))


def _start(cursor: Cursor, scope: Scope) -> None:
    func = scope.item(cursor, Sort.FUNC).entity
    for _ in cursor.vec("arguments"):
        scope.item(cursor, Sort.VALUE)
    start = cursor.pos
    results = cursor.u32("the number of results")
    value = func.result if isinstance(func, t.FuncType) else None
    if results != (value is not None):
        cursor.fail(f"the start function does not give {results} results", start)
    if value is not None:
        scope.add(Item(Sort.VALUE, value))
    scope.context.proposals.add("component-model-values")


def _value(cursor: Cursor, scope: Scope) -> None:
    value = read_value(cursor, scope)
    start, size = cursor.pos, cursor.u32("the size of a value")
    if size > cursor.end - cursor.pos:
        cursor.fail("a value does not fit", start)
    cursor.pos += size
    scope.add(Item(Sort.VALUE, value))
    scope.context.proposals.add("component-model-values")


def _attributes(cursor: Cursor, scope: Scope, item: Item, name: str, attributes: Attributes) -> None:
    if _NESTED.match(attributes.implements or name):
        scope.context.proposals.add("component-model-nested-names")
    if attributes == Attributes():
        return
    if attributes.implements is not None:
        if item.sort is not Sort.INSTANCE:
            cursor.fail(f"{name!r} says what it implements, and is not an instance")
        scope.context.proposals.add("component-model-implements")
    if attributes.external_id is not None:
        scope.context.proposals.add("component-model-implements")
    if attributes.version_suffix is not None:
        scope.context.proposals.add("component-model-canonical-names")


def _import(cursor: Cursor, scope: Scope) -> None:
    cursor.spend()
    start = cursor.pos
    name, attributes = read_attributes(cursor)
    item = read_extern(cursor, scope, name)
    _attributes(cursor, scope, item, name, attributes)
    scope.declare(cursor, scope.imports, name, item, start)
    scope.import_attributes[name] = attributes


def _export(cursor: Cursor, scope: Scope) -> None:
    cursor.spend()
    start = cursor.pos
    name, attributes = read_attributes(cursor)
    item = _item(cursor, scope)
    if cursor.flag("whether an export has a type of its own"):
        item = _ascribed(cursor, scope, item, name)
    else:
        item = _exported(cursor, scope, item, name)
    _attributes(cursor, scope, item, name, attributes)
    scope.declare(cursor, scope.exports, name, item, start)
    scope.export_attributes[name] = attributes


def _ascribed(cursor: Cursor, scope: Scope, actual: Item, name: str) -> Item:
    # Read without instantiating: the resources of the type are those of what is exported.
    if cursor.peek("a type") == Sort.INSTANCE and isinstance(actual.entity, InstanceDef):
        cursor.pos += 1
        definition = scope.instance_type(cursor)
        instance = instantiate_as(scope.context, cursor, definition, actual.entity, repr(name))
        return Item(Sort.INSTANCE, instance)
    start = cursor.pos
    item = read_extern(cursor, scope, name)
    if item.sort is not actual.sort:
        given, found = item.sort.name.lower(), actual.sort.name.lower()
        cursor.fail(f"{name!r} is exported as a {given}, it is a {found}", start)
    return actual if isinstance(item.entity, t.Resource) else item


DEFINITIONS: dict[int, Callable[[Cursor, Scope], None]] = {
    2: _core_instance,
    3: _core_type,
    5: _instance,
    6: read_alias,
    7: _type,
    8: read_canon,
    10: _import,
    11: _export,
    12: _value,
}
