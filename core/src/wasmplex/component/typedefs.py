"""Reading type definitions: value types, function types, resources, instance and component types."""

from __future__ import annotations

from collections.abc import Callable

from wasmplex.component import coretypes
from wasmplex.component.binary import Cursor
from wasmplex.component.entities import ComponentDef, InstanceDef, Item, Sort, TypeEntry
from wasmplex.component.scope import Attributes, Scope, module_item, read_sort
from wasmplex.component.substitution import instantiate
from wasmplex.wit import types as t
from wasmplex.wit.walk import children, func_children, labels

__all__ = [
    "PRIMITIVES", "read_alias", "read_attributes", "read_declaration", "read_extern", "read_result",
    "read_type", "read_value",
]  # fmt: skip

PRIMITIVES: dict[int, t.ValueType] = {
    0x7F: t.Primitive("bool"),
    0x7E: t.Primitive("s8"),
    0x7D: t.Primitive("u8"),
    0x7C: t.Primitive("s16"),
    0x7B: t.Primitive("u16"),
    0x7A: t.Primitive("s32"),
    0x79: t.Primitive("u32"),
    0x78: t.Primitive("s64"),
    0x77: t.Primitive("u64"),
    0x76: t.Primitive("f32"),
    0x75: t.Primitive("f64"),
    0x74: t.Primitive("char"),
    0x73: t.Primitive("string"),
    0x64: t.ErrorContext(),
}

_ASYNC = "component-model-async"


def read_type(cursor: Cursor, scope: Scope) -> TypeEntry:
    """Read one type definition, whatever its kind."""
    cursor.spend()
    opcode = cursor.byte("a type")
    if (primitive := PRIMITIVES.get(opcode)) is not None:
        _note_error_context(scope, opcode)
        return primitive
    if (read := _DEFINITIONS.get(opcode)) is None:
        cursor.unexpected(opcode, "a type")
    entry = read(cursor, scope)
    if isinstance(entry, t.FuncType):
        scope.context.weigh(cursor, entry, func_children(entry))
    elif not isinstance(entry, t.Resource | InstanceDef | ComponentDef):
        value = scope.defined(entry, cursor, cursor.pos)
        scope.context.weigh(cursor, entry, (*children(value), *labels(value)))
    return entry


def read_value(cursor: Cursor, scope: Scope) -> t.ValueType:
    """Read a value type: a primitive, or the index of a definition."""
    start = cursor.pos
    byte = cursor.peek("a value type")
    if (primitive := PRIMITIVES.get(byte)) is not None:
        cursor.pos += 1
        _note_error_context(scope, byte)
        return primitive
    index = cursor.s33("a value type")
    space = scope.spaces[Sort.TYPE]
    if index < 0:
        cursor.fail(f"expected a value type, found byte {byte:#04x}", start)
    if index >= len(space):
        cursor.fail(f"the type index {index} is out of range", start, why=f"there are {len(space)} so far")
    return scope.defined(space[index], cursor, start)  # type: ignore[arg-type]


def _note_error_context(scope: Scope, opcode: int) -> None:
    if opcode == 0x64:
        scope.context.proposals.add("component-model-error-context")


def _optional(cursor: Cursor, scope: Scope) -> t.ValueType | None:
    return read_value(cursor, scope) if cursor.flag("whether there is a type") else None


def _labels(cursor: Cursor, what: str) -> tuple[str, ...]:
    start = cursor.pos
    names = cursor.many(lambda: cursor.name(f"the name of a {what}"), f"{what}s")
    _distinct(cursor, names, what, start)
    return names


def _distinct(cursor: Cursor, names: tuple[str, ...], what: str, start: int, *, empty: bool = False) -> None:
    if not names and not empty:
        cursor.fail(f"there is no {what} at all", start)
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        cursor.fail(f"the {what} {twice!r} is there twice", start)


def _record(cursor: Cursor, scope: Scope) -> t.Record:
    start = cursor.pos
    fields = cursor.many(lambda: t.Field(cursor.name("a field name"), read_value(cursor, scope)), "fields")
    _distinct(cursor, tuple(field.name for field in fields), "field", start)
    return t.Record(fields)


def _case(cursor: Cursor, scope: Scope) -> t.Case:
    name = cursor.name("a case name")
    value = _optional(cursor, scope)
    if (end := cursor.byte("the end of a case")) != 0:
        cursor.unexpected(end, "the zero byte that ends a case")
    return t.Case(name, value)


def _variant(cursor: Cursor, scope: Scope) -> t.VariantType:
    start = cursor.pos
    cases = cursor.many(lambda: _case(cursor, scope), "cases")
    _distinct(cursor, tuple(case.name for case in cases), "case", start)
    return t.VariantType(cases)


def _fixed_list(cursor: Cursor, scope: Scope) -> t.ListType:
    scope.context.proposals.add("component-model-fixed-length-lists")
    element, start = read_value(cursor, scope), cursor.pos
    length = cursor.u32("the length of a list")
    if length == 0:
        cursor.fail("a list of fixed length 0 is not allowed", start)
    return t.ListType(element, length)


def _map(cursor: Cursor, scope: Scope) -> t.MapType:
    scope.context.proposals.add("component-model-map")
    start, key = cursor.pos, read_value(cursor, scope)
    if not isinstance(key, t.Primitive) or key.name in ("f32", "f64"):
        cursor.fail("the key of a map must be a bool, an integer, a char or a string", start)
    return t.MapType(key, read_value(cursor, scope))


def _tuple(cursor: Cursor, scope: Scope) -> t.TupleType:
    start = cursor.pos
    elements = cursor.many(lambda: read_value(cursor, scope), "elements")
    if not elements:
        cursor.fail("a tuple has no element at all", start)
    return t.TupleType(elements)


def _stream(cursor: Cursor, scope: Scope) -> t.StreamType:
    scope.context.proposals.add(_ASYNC)
    return t.StreamType(_optional(cursor, scope))


def _future(cursor: Cursor, scope: Scope) -> t.FutureType:
    scope.context.proposals.add(_ASYNC)
    return t.FutureType(_optional(cursor, scope))


def read_result(cursor: Cursor, scope: Scope) -> t.ValueType | None:
    """Read the result of a function type."""
    kind = cursor.byte("the result of a function")
    if kind == 0x00:
        return read_value(cursor, scope)
    if kind != 0x01:
        cursor.unexpected(kind, "the result of a function (0 or 1)")
    start = cursor.pos
    if cursor.u32("the number of named results"):
        cursor.fail("named function results are no longer part of the component model", start)
    return None


def _func(cursor: Cursor, scope: Scope, *, is_async: bool) -> t.FuncType:
    start = cursor.pos
    params = cursor.many(
        lambda: t.Param(cursor.name("a parameter name"), read_value(cursor, scope)), "parameters"
    )
    _distinct(cursor, tuple(param.name for param in params), "parameter", start, empty=True)
    return t.FuncType(params, read_result(cursor, scope), is_async)


def _async_func(cursor: Cursor, scope: Scope) -> t.FuncType:
    scope.context.proposals.add(_ASYNC)
    return _func(cursor, scope, is_async=True)


def _resource(cursor: Cursor, scope: Scope) -> t.Resource:
    if not scope.concrete:
        cursor.fail("a resource can only be defined in a component, not in a type", cursor.pos - 1)
    coretypes.read_pointer(cursor, scope.context.proposals)
    if cursor.flag("whether there is a destructor"):
        scope.core_index(cursor, 0x00)
    return scope.context.fresh()


def _async_resource(cursor: Cursor, scope: Scope) -> t.Resource:
    # An older draft: a destructor that is async and may have a callback.
    coretypes.read_pointer(cursor, scope.context.proposals)
    scope.core_index(cursor, 0x00)
    if cursor.flag("whether there is a callback"):
        scope.core_index(cursor, 0x00)
    return scope.context.fresh()


def _instance_type(cursor: Cursor, scope: Scope) -> InstanceDef:
    inner = Scope.inside(scope, cursor, concrete=False)
    for _ in cursor.vec("declarations"):
        read_declaration(cursor, inner, cursor.byte("a declaration"))
    definition = InstanceDef(inner.exports, inner.low, scope.context.next_resource)
    scope.context.weigh(cursor, definition, [item.entity for item in inner.exports.values()])
    return definition


def _component_type(cursor: Cursor, scope: Scope) -> ComponentDef:
    inner = Scope.inside(scope, cursor, concrete=False)
    for _ in cursor.vec("declarations"):
        kind = cursor.byte("a declaration")
        if kind == 0x03:
            _import_declaration(cursor, inner)
        else:
            read_declaration(cursor, inner, kind)
    definition = ComponentDef(inner.imports, inner.exports, inner.low, scope.context.next_resource)
    items = (*inner.imports.values(), *inner.exports.values())
    scope.context.weigh(cursor, definition, [item.entity for item in items])
    return definition


def read_declaration(cursor: Cursor, scope: Scope, kind: int) -> None:
    """Read a declaration of an instance or component type whose first byte was `kind`; not an import."""
    match kind:
        case 0x00:
            scope.add_core(0x10, coretypes.read_component_core_type(cursor, scope.context.proposals))
        case 0x01:
            scope.add(Item(Sort.TYPE, read_type(cursor, scope)))
        case 0x02:
            read_alias(cursor, scope)
        case 0x04:
            start = cursor.pos
            name, _ = read_attributes(cursor)
            scope.declare(cursor, scope.exports, name, read_extern(cursor, scope, name), start)
        case _:
            cursor.unexpected(kind, "a declaration")


def _import_declaration(cursor: Cursor, scope: Scope) -> None:
    start = cursor.pos
    name, _ = read_attributes(cursor)
    scope.declare(cursor, scope.imports, name, read_extern(cursor, scope, name), start)


def read_attributes(cursor: Cursor) -> tuple[str, Attributes]:
    """Read the name of an import or export and what stands beside it."""
    form = cursor.byte("a name")
    # 0x01 once marked interface names; it means the same as 0x00 now.
    if form > 0x02:
        cursor.unexpected(form, "a name (0, 1 or 2)")
    name = cursor.name("a name")
    if form != 0x02:
        return name, Attributes()
    given: dict[int, str] = {}
    for _ in cursor.vec("attributes"):
        kind = cursor.byte("an attribute")
        if kind > 0x02:
            cursor.unexpected(kind, "an attribute (0 implements, 1 version suffix, 2 external id)")
        if kind in given:
            cursor.fail(f"{name!r} has the same attribute twice")
        given[kind] = cursor.text("an attribute") if kind == 0x02 else cursor.name("an attribute")
    return name, Attributes(given.get(0), given.get(1), given.get(2))


def read_extern(cursor: Cursor, scope: Scope, name: str) -> Item:
    """Read the type of an import or export called `name`; resources in it are fresh."""
    kind = cursor.byte("the type of an import or export")
    match kind:
        case 0x00:
            if (module := cursor.byte("a core module type")) != 0x11:
                cursor.unexpected(module, "a core module type")
            scope.core_index(cursor, 0x10)
            return module_item()
        case 0x01:
            return Item(Sort.FUNC, scope.func(cursor))
        case 0x02:
            return Item(Sort.VALUE, _value_bound(cursor, scope))
        case 0x03:
            if cursor.flag("the bound of a type"):
                return Item(Sort.TYPE, scope.context.fresh())
            return Item(Sort.TYPE, scope.named(cursor, scope.type(cursor), name))
        case 0x04:
            return Item(Sort.COMPONENT, scope.component_type(cursor))
        case 0x05:
            return Item(Sort.INSTANCE, instantiate(scope.context, cursor, scope.instance_type(cursor)))
        case _:
            raise cursor.error(f"expected the type of an import or export, found {kind:#04x}", cursor.pos - 1)


def _value_bound(cursor: Cursor, scope: Scope) -> t.ValueType:
    # Binary.md has a bound before the type; the tools write none, so none is what there is.
    scope.context.proposals.add("component-model-values")
    return read_value(cursor, scope)


def read_alias(cursor: Cursor, scope: Scope) -> None:
    """Read an alias and add what it stands for."""
    cursor.spend()
    sort = read_sort(cursor)
    kind = cursor.byte("the target of an alias")
    match kind:
        case 0x00 if isinstance(sort, Sort):
            scope.add(_instance_export(cursor, scope, sort))
        case 0x01 if scope.concrete:
            _core_export(cursor, scope, sort)
        case 0x02:
            _outer(cursor, scope, sort)
        case _:
            cursor.unexpected(kind, "the target of an alias")


def _instance_export(cursor: Cursor, scope: Scope, sort: Sort) -> Item:
    instance = scope.item(cursor, Sort.INSTANCE).entity
    start = cursor.pos
    name = cursor.name("the name of an export")
    item = instance.exports.get(name) if isinstance(instance, InstanceDef) else None
    if item is None:
        cursor.fail(f"an alias names {name!r}, which the instance does not export", start)
    if item.sort is not sort:
        found, wanted = item.sort.name.lower(), sort.name.lower()
        cursor.fail(f"an alias takes {name!r} for a {wanted}, it is a {found}", start)
    return item


def _core_export(cursor: Cursor, scope: Scope, sort: Sort | int) -> None:
    if isinstance(sort, Sort):
        cursor.fail("an alias takes a component item from a core instance")
    scope.core_index(cursor, 0x12)
    cursor.text("the name of a core export")
    scope.add_core(sort)


def _outer(cursor: Cursor, scope: Scope, sort: Sort | int) -> None:
    target = scope.outward(cursor, cursor.u32("the number of levels"))
    if sort == 0x10:
        target.core_index(cursor, 0x10)
        scope.add_core(0x10)
    elif sort in (Sort.TYPE, Sort.COMPONENT, Sort.MODULE):
        scope.add(target.item(cursor, Sort(sort)))
    else:
        cursor.fail("an outer alias can only be of a type, a component or a core module")


_DEFINITIONS: dict[int, Callable[[Cursor, Scope], TypeEntry]] = {
    0x72: _record,
    0x71: _variant,
    0x70: lambda cursor, scope: t.ListType(read_value(cursor, scope)),
    0x67: _fixed_list,
    0x6F: _tuple,
    0x6E: lambda cursor, _: t.Flags(_labels(cursor, "flag")),
    0x6D: lambda cursor, _: t.Enum(_labels(cursor, "case")),
    0x6B: lambda cursor, scope: t.Option(read_value(cursor, scope)),
    0x6A: lambda cursor, scope: t.ResultType(_optional(cursor, scope), _optional(cursor, scope)),
    0x69: lambda cursor, scope: t.Own(scope.resource(cursor)),
    0x68: lambda cursor, scope: t.Borrow(scope.resource(cursor)),
    0x66: _stream,
    0x65: _future,
    0x63: _map,
    0x40: lambda cursor, scope: _func(cursor, scope, is_async=False),
    0x43: _async_func,
    0x41: _component_type,
    0x42: _instance_type,
    0x3F: _resource,
    0x3E: _async_resource,
}
