"""What we read in a component is what wasm-tools reads in it (`guests/corpus.py` has recorded that)."""

import json
from pathlib import Path
from typing import Any

import guests
import pytest
from guests import toolchain
from wasmplex.component import Shape, read
from wasmplex.component.shape import InstanceType
from wasmplex.wit import types as t

CORPUS = Path(guests.__file__).with_name("corpus")


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", [*guests.names(), *toolchain.GUESTS])
def test_a_shape_agrees_with_wasm_tools(name: str) -> None:
    path = guests.compiled(name) if name in toolchain.GUESTS else guests.path(name)
    ours, theirs = Ours(read(path.read_bytes())), Theirs(json.loads((CORPUS / f"{name}.json").read_text()))
    assert ours.imports == theirs.imports
    assert ours.exports == theirs.exports
    assert ours.functions == theirs.functions


class Theirs:
    """The JSON of `wasm-tools component wit`, as values that can be compared."""

    def __init__(self, resolve: dict[str, Any]) -> None:
        self.resolve = resolve
        (world,) = [w for w in resolve["worlds"] if w["package"] == len(resolve["packages"]) - 1]
        self.functions: dict[str, Any] = {}
        self.imports = self.externs(world["imports"], "import")
        self.exports = self.externs(world["exports"], "export")

    def externs(self, items: dict[str, Any], way: str) -> dict[str, str]:
        """Return what each extern is; note its functions."""
        found = {}
        for key, item in items.items():
            if "type" in item:
                continue  # a named type: seen wherever it is used
            if "function" in item:
                found[key] = "function"
                self.functions[f"{way} {key}"] = self.function(item["function"])
                continue
            interface = item["interface"]["id"]
            name = self.interface(interface) if key.startswith("interface-") else key
            found[name] = self.interface(interface) or "inline"
            for function in self.resolve["interfaces"][interface]["functions"].values():
                where = f"{way} {self.interface(interface) or name}"
                self.functions[f"{where} {function['name']}"] = self.function(function)
        return found

    def interface(self, number: int) -> str | None:
        interface = self.resolve["interfaces"][number]
        if interface["name"] is None:
            return None
        package, at, version = self.resolve["packages"][interface["package"]]["name"].partition("@")
        return f"{package}/{interface['name']}{at}{version}"

    def function(self, function: dict[str, Any]) -> Any:
        kind = function["kind"] if isinstance(function["kind"], str) else next(iter(function["kind"]))
        params = [(p["name"], self.type(p["type"])) for p in function["params"]]
        return kind.startswith("async"), params, self.type(function.get("result"))

    def type(self, of: str | int | None) -> Any:
        """Return a type with all names of value types expanded; resources by their names."""
        if not isinstance(of, int):
            return of
        kind = self.resolve["types"][of]["kind"]
        if isinstance(kind, str):
            return kind
        ((case, value),) = kind.items()
        match case:
            case "type":
                return self.type(value)
            case "record":
                return case, [(f["name"], self.type(f["type"])) for f in value["fields"]]
            case "variant":
                return case, [(c["name"], self.type(c["type"])) for c in value["cases"]]
            case "enum" | "flags":
                return case, [item["name"] for item in value["cases" if case == "enum" else "flags"]]
            case "tuple":
                return case, [self.type(element) for element in value["types"]]
            case "result":
                return case, self.type(value["ok"]), self.type(value["err"])
            case "handle":
                ((handle, resource),) = value.items()
                return handle, self.resource(resource)
        return case, self.type(value)

    def resource(self, number: int) -> str:
        definition = self.resolve["types"][number]
        if isinstance(definition["kind"], dict):
            return self.resource(definition["kind"]["type"])
        owner = definition["owner"]
        return f"{self.interface(owner['interface']) if owner else ''}.{definition['name']}"


class Ours:
    """A shape, as the same values."""

    def __init__(self, shape: Shape) -> None:
        self.functions: dict[str, Any] = {}
        self.owners = {
            extern.name: extern.implements or extern.name for extern in (*shape.imports, *shape.exports)
        }
        self.imports = self.externs(shape.imports, "import")
        self.exports = self.externs(shape.exports, "export")

    def externs(self, items: tuple[Any, ...], way: str) -> dict[str, str]:
        found = {}
        for item in items:
            if isinstance(item.type, t.FuncType):
                found[item.name] = "function"
                self.functions[f"{way} {item.name}"] = self.function(item.type)
            elif isinstance(item.type, InstanceType):
                interface = item.implements or (item.name if ":" in item.name else None)
                found[item.name] = interface or "inline"
                for name, function in item.type.functions.items():
                    self.functions[f"{way} {interface or item.name} {name}"] = self.function(function)
        return found

    def function(self, function: t.FuncType) -> Any:
        params = [(p.name, self.type(p.type)) for p in function.params]
        return function.is_async, params, self.type(function.result)

    def type(self, of: t.ValueType | None) -> Any:
        match of:
            case t.Primitive(name):
                return name
            case t.Record(fields):
                return "record", [(f.name, self.type(f.type)) for f in fields]
            case t.VariantType(cases):
                return "variant", [(c.name, self.type(c.type)) for c in cases]
            case t.Enum(names) | t.Flags(names):
                return "enum" if isinstance(of, t.Enum) else "flags", list(names)
            case t.TupleType(elements):
                return "tuple", [self.type(element) for element in elements]
            case t.ResultType(ok, err):
                return "result", self.type(ok), self.type(err)
            case t.Own(resource) | t.Borrow(resource):
                owner = self.owners.get(resource.owner, resource.owner)
                return type(of).__name__.lower(), f"{owner}.{resource.name}"
            case t.Option() | t.ListType() | t.StreamType() | t.FutureType():
                return type(of).__name__.removesuffix("Type").lower(), self.type(of.element)
        return of
