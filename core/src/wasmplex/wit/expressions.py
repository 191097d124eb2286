"""WIT text for types and functions, with the names that an interface gives to its types."""

from __future__ import annotations

from collections.abc import Iterable

from wasmplex.component.shape import Extern, NamedType
from wasmplex.wit import types as t
from wasmplex.wit.names import FunctionName

__all__ = ["KEYWORDS", "TypeNames", "escape"]

# fmt: off
KEYWORDS = frozenset({
    "_", "as", "async", "bool", "borrow", "char", "constructor", "enum", "error-context", "export", "f32",
    "f64", "flags", "float32", "float64", "from", "func", "future", "import", "include", "interface", "list",
    "map", "option", "own", "package", "record", "resource", "result", "s16", "s32", "s64", "s8", "static",
    "stream", "string", "tuple", "type", "u16", "u32", "u64", "u8", "use", "variant", "with", "world",
})
# fmt: on


def escape(name: str) -> str:
    """Return `name` as WIT writes it: a keyword gets a ``%``."""
    return f"%{name}" if name in KEYWORDS else name


class TypeNames:
    """Prints types with the names that one interface (or a world) has for them.

    A type that has a name is printed by its name, and told from an equal one by being the same object.
    """

    def __init__(self, exports: Iterable[tuple[str, Extern]]) -> None:
        self._names: dict[int, str] = {}
        self._resources: dict[int, str] = {}
        for name, extern in exports:
            if isinstance(extern, NamedType):
                self._names[id(extern.type)] = name
            elif isinstance(extern, t.Resource):
                self._names[id(extern)] = name
                self._resources.setdefault(extern.id, name)

    def resource(self, resource: t.Resource) -> str:
        """Return the name of a resource here; if it has none, the one it was introduced under."""
        name = self._names.get(id(resource)) or self._resources.get(resource.id) or resource.name
        return escape(name or f"resource-{resource.id}")

    def expression(self, value: t.ValueType) -> str:
        """Return the type by its name, or written out."""
        name = self._names.get(id(value))
        return escape(name) if name is not None else self.written_out(value)

    def written_out(self, value: t.ValueType) -> str:
        """Return the type written out, what is inside it by name."""
        match value:
            case t.Primitive():
                return value.name
            case t.ErrorContext():
                return "error-context"
            case t.Own():
                return self.resource(value.resource)
            case t.Borrow():
                return f"borrow<{self.resource(value.resource)}>"
            case t.ListType(length=None):
                return f"list<{self.expression(value.element)}>"
            case t.ListType():
                return f"list<{self.expression(value.element)}, {value.length}>"
            case t.MapType():
                return f"map<{self.expression(value.key)}, {self.expression(value.value)}>"
            case t.Option():
                return f"option<{self.expression(value.element)}>"
            case t.TupleType():
                return f"tuple<{', '.join(self.expression(e) for e in value.elements)}>"
            case t.ResultType():
                return self._result(value)
            case t.StreamType() | t.FutureType():
                keyword = "stream" if isinstance(value, t.StreamType) else "future"
                return keyword if value.element is None else f"{keyword}<{self.expression(value.element)}>"
            case _:
                # Only what has a name can be used; an interface without its types may still lack it.
                return escape(value.name) if value.name else f"{_KEYWORD[type(value)]} {{ .. }}"

    def _result(self, value: t.ResultType) -> str:
        ok = "_" if value.ok is None else self.expression(value.ok)
        if value.err is not None:
            return f"result<{ok}, {self.expression(value.err)}>"
        return "result" if value.ok is None else f"result<{ok}>"

    def definition(self, name: str, value: t.ValueType) -> list[str]:
        """Return the lines that define `value` under `name`."""
        match value:
            case t.Record():
                return _block(
                    "record", name, [f"{escape(f.name)}: {self.expression(f.type)}" for f in value.fields]
                )
            case t.VariantType():
                return _block("variant", name, [self._case(case) for case in value.cases])
            case t.Enum():
                return _block("enum", name, [escape(case) for case in value.cases])
            case t.Flags():
                return _block("flags", name, [escape(flag) for flag in value.names])
            case t.Own():
                return [f"type {escape(name)} = own<{self.resource(value.resource)}>;"]
            case _:
                return [f"type {escape(name)} = {self.written_out(value)};"]

    def _case(self, case: t.Case) -> str:
        return escape(case.name) + (f"({self.expression(case.type)})" if case.type is not None else "")

    def function(self, func: t.FuncType, full_name: str = "") -> str:
        """Return ``async func(a: u8) -> string``; a constructor or method as its `full_name` says."""
        name = FunctionName.parse(full_name)
        params = func.params[1:] if name.kind == "method" else func.params
        listed = ", ".join(f"{escape(p.name)}: {self.expression(p.type)}" for p in params)
        asynchronous = "async " if func.is_async else ""
        if name.kind == "constructor":
            result = "" if isinstance(func.result, t.Own) else self._arrow(func)
            return f"constructor({listed}){result}"
        return f"{asynchronous}{name.accessor or 'func'}({listed}){self._arrow(func)}"

    def _arrow(self, func: t.FuncType) -> str:
        return "" if func.result is None else f" -> {self.expression(func.result)}"

    def member(self, func: t.FuncType, full_name: str) -> str:
        """Return the line for a function in the body of its resource."""
        name = FunctionName.parse(full_name)
        signature = self.function(func, full_name)
        if name.kind == "constructor":
            return f"{signature};"
        static = "static " if name.kind == "static" else ""
        return f"{escape(name.name)}: {static}{signature};"


_KEYWORD: dict[type, str] = {t.Record: "record", t.VariantType: "variant", t.Enum: "enum", t.Flags: "flags"}


def _block(keyword: str, name: str, items: list[str]) -> list[str]:
    return [f"{keyword} {escape(name)} {{", *(f"  {item}," for item in items), "}"]
