"""A component's shape for people and programs: rows for a table, and a dictionary for JSON."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from wasmplex.component.shape import Export, Extern, Import, InstanceType, NamedType, Shape
from wasmplex.wit import types as t
from wasmplex.wit.expressions import TypeNames
from wasmplex.wit.render import interface_of, kind_of

__all__ = ["Row", "as_dict", "rows"]


@dataclass(frozen=True, slots=True)
class Row:
    """One import or export in a table.

    :ivar label: the label, or a plain name; empty for what goes by its interface id
    :ivar interface: the interface id; empty for what is not an interface
    :ivar kind: ``instance``, ``func``, ``async func``, ``type``, ``resource``, ...
    :ivar functions: how many functions it has
    :ivar asynchronous: how many of these are async
    :ivar resources: how many resources it has, those it only uses included
    """

    label: str
    interface: str
    kind: str
    functions: int
    asynchronous: int
    resources: int


def rows(items: Iterable[Import | Export]) -> list[Row]:
    """Return a row for each import or export, in their order."""
    return [_row(item) for item in items]


def _row(item: Import | Export) -> Row:
    interface = interface_of(item)
    label = item.name if item.label is not None or interface is None else ""
    functions: list[t.FuncType] = []
    resources: set[int] = set()
    if isinstance(item.type, InstanceType):
        functions += item.type.functions.values()
        resources |= {resource.id for resource in item.type.resources.values()}
    elif isinstance(item.type, t.FuncType):
        functions.append(item.type)
    asynchronous = sum(func.is_async for func in functions)
    name = str(interface) if interface is not None else ""
    return Row(label, name, kind_of(item.type), len(functions), asynchronous, len(resources))


def as_dict(shape: Shape) -> dict[str, Any]:
    """Return the shape as a dictionary of strings, lists and numbers, for `json.dumps`.

    Types of functions are WIT text (``result<list<u8>, error>``) with the names that ``types`` beside them
    defines. A resource has a number: the same one wherever it is the same resource. ``proposals`` are the
    wasm proposals needed, by their names in ``[engine] wasm_proposals``.
    """
    root: list[Import | Export] = [*shape.imports, *shape.exports]
    names = TypeNames((item.name, item.type) for item in root)
    sources = {
        id(named): (item.name, name)
        for item in reversed(root)
        for name, named in (item.type.exports.items() if isinstance(item.type, InstanceType) else ())
        if isinstance(named, NamedType)
    }
    writer = _Writer(sources)
    return {
        "imports": [writer.item(item, names) for item in shape.imports],
        "exports": [writer.item(item, names) for item in shape.exports],
        "proposals": sorted(shape.proposals),
        "unknown_sections": [
            {"id": section.id, "offset": section.offset, "size": section.size}
            for section in shape.unknown_sections
        ],
    }


class _Writer:
    """Writes externs, with what is known of where named types come from."""

    def __init__(self, sources: dict[int, tuple[str, str]]) -> None:
        self._sources = sources

    def item(self, item: Import | Export, names: TypeNames) -> dict[str, Any]:
        interface = interface_of(item)
        given = {
            "label": item.label,
            "interface": str(interface) if interface is not None else None,
            "external_id": item.external_id,
        }
        head = {"name": item.name, **{key: value for key, value in given.items() if value is not None}}
        return head | self.extern(item.name, item.name, item.type, names)

    def extern(self, owner: str, name: str, extern: Extern, names: TypeNames) -> dict[str, Any]:
        match extern:
            case InstanceType():
                return {"kind": "instance", **self._instance(owner, extern)}
            case t.FuncType():
                return {"kind": "func", **_function(extern, names)}
            case t.Resource() | NamedType():
                return {"kind": "type", "type": self._type(owner, name, extern, names)}
            case _:
                return {"kind": kind_of(extern)}

    def _instance(self, owner: str, instance: InstanceType) -> dict[str, Any]:
        names = TypeNames(instance.exports.items())
        types, functions, others = {}, {}, {}
        for name, extern in instance.exports.items():
            if isinstance(extern, t.FuncType):
                functions[name] = _function(extern, names)
            elif isinstance(extern, t.Resource | NamedType):
                types[name] = self._type(owner, name, extern, names)
            else:
                others[name] = self.extern(owner, name, extern, names)
        return {"types": types, "functions": functions} | ({"others": others} if others else {})

    def _type(
        self, owner: str, name: str, extern: t.Resource | NamedType, names: TypeNames
    ) -> dict[str, Any]:
        if isinstance(extern, t.Resource):
            described: dict[str, Any] = {"kind": "resource", "resource": extern.id}
            here = extern.owner in (owner, "") and extern.name == name
            return described if here else described | {"from": extern.owner, "name": extern.name}
        described = _definition(extern.type, names)
        source = self._sources.get(id(extern.source))
        return described if source is None else described | {"from": source[0], "name": source[1]}


def _function(func: t.FuncType, names: TypeNames) -> dict[str, Any]:
    return {
        "async": func.is_async,
        "params": [{"name": p.name, "type": names.expression(p.type)} for p in func.params],
        "result": None if func.result is None else names.expression(func.result),
    }


def _definition(value: t.ValueType, names: TypeNames) -> dict[str, Any]:
    match value:
        case t.Record():
            fields = [{"name": f.name, "type": names.expression(f.type)} for f in value.fields]
            return {"kind": "record", "fields": fields}
        case t.VariantType():
            cases = [
                {"name": c.name, "type": None if c.type is None else names.expression(c.type)}
                for c in value.cases
            ]
            return {"kind": "variant", "cases": cases}
        case t.Enum():
            return {"kind": "enum", "cases": list(value.cases)}
        case t.Flags():
            return {"kind": "flags", "flags": list(value.names)}
        case _:
            return {"kind": "alias", "type": names.written_out(value)}
