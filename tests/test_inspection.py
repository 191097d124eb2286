"""What we read in a component is what wasm-tools reads in it (recorded by `guests/oracle.py` and
`guests/corpus.py`), and what the engine finds when it compiles it.
"""

import gzip
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import guests
import pytest
import wasmtime
from wasmplex.component import InstanceType, Shape, read
from wasmplex.component.shape import Export, Import
from wasmplex.wit import types as t
from wasmplex.wit.render import interface_of, render
from wasmtime import component as wt
from wasmtime.component import _types as wt_types

HERE = Path(guests.__file__).parent
ORACLE, CORPUS = HERE / "oracle", HERE / "corpus"


def names(folder: Path, suffix: str) -> list[str]:
    return sorted(file.name.removesuffix(suffix) for file in folder.glob(f"*{suffix}"))


def load(name: str) -> bytes:
    """Return a guest, a component in text, or one that was kept without its code."""
    if name in guests.names():
        return guests.component(name)
    if (text := ORACLE / f"{name}.wat").exists():
        return bytes(wasmtime.wat2wasm(text.read_text()))
    return gzip.decompress((ORACLE / f"{name}.wasm.gz").read_bytes())


def test_there_are_enough_components_of_different_toolchains() -> None:
    known = names(ORACLE, ".wit")
    assert len(known) >= 12
    assert {"kv", "qjs-kv", "js-hello", "py-kv-async", "wasi-exports", "composed"} <= set(known)


@pytest.mark.parametrize("name", names(ORACLE, ".wit"))
def test_the_wit_we_print_is_what_wasm_tools_prints(name: str) -> None:
    expected = (ORACLE / f"{name}.wit").read_text().rstrip()
    assert render(read(load(name))).rstrip() == expected


# Types are compared written out in full, with whatever stands for a resource.


Resources = Callable[[t.Resource], str]
Write = Callable[[t.ValueType | None], str]

WRITTEN: dict[type, Callable[[Any, Write], str]] = {
    t.Primitive: lambda v, _: v.name,
    t.ErrorContext: lambda v, _: "error-context",
    t.ListType: lambda v, w: f"list<{w(v.element)}{f'*{v.length}' if v.length else ''}>",
    t.MapType: lambda v, w: f"map<{w(v.key)},{w(v.value)}>",
    t.Option: lambda v, w: f"option<{w(v.element)}>",
    t.ResultType: lambda v, w: f"result<{w(v.ok)},{w(v.err)}>",
    t.TupleType: lambda v, w: f"tuple<{','.join(map(w, v.elements))}>",
    t.Record: lambda v, w: f"record<{','.join(f'{f.name}:{w(f.type)}' for f in v.fields)}>",
    t.VariantType: lambda v, w: f"variant<{','.join(f'{c.name}:{w(c.type)}' for c in v.cases)}>",
    t.Enum: lambda v, _: f"enum<{','.join(v.cases)}>",
    t.Flags: lambda v, _: f"flags<{','.join(v.names)}>",
    t.StreamType: lambda v, w: f"stream<{w(v.element)}>",
    t.FutureType: lambda v, w: f"future<{w(v.element)}>",
}


def written(value: t.ValueType | None, resource: Resources) -> str:
    if isinstance(value, t.Own | t.Borrow):
        return f"{type(value).__name__.lower()}<{resource(value.resource)}>"
    return "_" if value is None else WRITTEN[type(value)](value, lambda inner: written(inner, resource))


def signature(func: t.FuncType, resource: Resources) -> str:
    params = ",".join(f"{p.name}:{written(p.type, resource)}" for p in func.params)
    return f"{'async ' if func.is_async else ''}({params})->{written(func.result, resource)}"


def functions(shape: Shape) -> Iterator[tuple[str, str, t.FuncType]]:
    """Yield all functions with where they are: ``import wasi:io/poll@0.2.0``, or ``import`` at the root."""
    for side, items in (("import", shape.imports), ("export", shape.exports)):
        for item in items:
            if isinstance(item.type, InstanceType):
                place = str(interface_of(item) or item.name)
                yield from ((f"{side} {place}", name, func) for name, func in item.type.functions.items())
            elif isinstance(item.type, t.FuncType):
                yield side, item.name, item.type


class FromJson:
    """The types in what `wasm-tools component wit --json` says."""

    def __init__(self, said: dict[str, Any]) -> None:
        self.said = said

    def interface(self, number: int) -> str:
        interface = self.said["interfaces"][number]
        if interface["name"] is None:
            return ""
        package, _, version = self.said["packages"][interface["package"]]["name"].partition("@")
        return f"{package}/{interface['name']}{'@' * bool(version)}{version}"

    def resource(self, number: int) -> str:
        entry = self.said["types"][number]
        if isinstance(entry["kind"], dict):
            return self.resource(entry["kind"]["type"])
        owner = entry["owner"].get("interface")
        return f"{'' if owner is None else self.interface(owner)}#{entry['name']}"

    def written(self, value: int | str | None) -> str:
        if value is None or isinstance(value, str):
            return value or "_"
        kind = self.said["types"][value]["kind"]
        if kind == "resource":
            return f"own<{self.resource(value)}>"
        ((word, inner),) = kind.items()
        match word:
            case "type":
                return self.written(inner)
            case "handle":
                ((how, number),) = inner.items()
                return f"{how}<{self.resource(number)}>"
            case "record":
                return self.listed("record", inner["fields"])
            case "variant":
                return self.listed("variant", inner["cases"])
            case "enum":
                return f"enum<{','.join(case['name'] for case in inner['cases'])}>"
            case "flags":
                return f"flags<{','.join(flag['name'] for flag in inner['flags'])}>"
            case "tuple":
                return f"tuple<{','.join(map(self.written, inner['types']))}>"
            case "result":
                return f"result<{self.written(inner['ok'])},{self.written(inner['err'])}>"
            case _:
                return f"{word}<{self.written(inner)}>"

    def listed(self, word: str, items: list[dict[str, Any]]) -> str:
        inside = ",".join(f"{item['name']}:{self.written(item['type'])}" for item in items)
        return f"{word}<{inside}>"

    def signature(self, func: dict[str, Any]) -> str:
        kind = func["kind"] if isinstance(func["kind"], str) else next(iter(func["kind"]))
        params = ",".join(f"{p['name']}:{self.written(p['type'])}" for p in func["params"])
        return f"{'async ' * kind.startswith('async')}({params})->{self.written(func.get('result'))}"

    def functions(self) -> dict[tuple[str, str], str]:
        found = {}
        for side in ("import", "export"):
            for name, item in self.said["worlds"][0][f"{side}s"].items():
                if "function" in item:
                    found[side, name] = self.signature(item["function"])
                elif "interface" in item:
                    number = item["interface"]["id"]
                    place = f"{side} {self.interface(number) or name}"
                    for inner, func in self.said["interfaces"][number]["functions"].items():
                        found[place, inner] = self.signature(func)
        return found


@pytest.mark.parametrize("name", names(CORPUS, ".json"))
def test_every_function_has_the_type_that_wasm_tools_says(name: str) -> None:
    expected = FromJson(json.loads((CORPUS / f"{name}.json").read_text())).functions()
    shape = read(load(name))
    externs: tuple[Import | Export, ...] = (*shape.imports, *shape.exports)
    places = {i.name: str(interface_of(i) or "") for i in externs}

    def resource(found: t.Resource) -> str:
        return f"{places.get(found.owner, '')}#{found.name}"

    ours = {(place, inner): signature(func, resource) for place, inner, func in functions(shape)}
    # An interface on both sides is one to wasm-tools: either side shows the functions of both.
    both = {f"{side} {name}" for side in ("import", "export") for name in places.values() if name}
    assert {key: text for key, text in expected.items() if key in ours} == ours
    assert {key for key in expected.keys() - ours.keys() if key[0] not in both} == set()


def payload(value: Any, read: Callable[[Any], t.ValueType | None]) -> t.ValueType | None:
    """Return what is in a stream or future; one of nothing is one of bool to the engine's interface."""
    return None if isinstance(value.payload, wt_types.Bool) else read(value.payload)


FROM_ENGINE: dict[type, Callable[[Any, Callable[[Any], Any]], t.ValueType]] = {
    wt_types.ListType: lambda v, r: t.ListType(r(v.element)),
    wt_types.RecordType: lambda v, r: t.Record(tuple(t.Field(name, r(inner)) for name, inner in v.fields)),
    wt_types.TupleType: lambda v, r: t.TupleType(tuple(map(r, v.elements))),
    wt_types.VariantType: lambda v, r: t.VariantType(
        tuple(t.Case(name, r(inner)) for name, inner in v.cases)
    ),
    wt_types.EnumType: lambda v, _: t.Enum(tuple(v.names)),
    wt_types.FlagsType: lambda v, _: t.Flags(tuple(v.names)),
    wt_types.OptionType: lambda v, r: t.Option(r(v.payload)),
    wt_types.ResultType: lambda v, r: t.ResultType(r(v.ok), r(v.err)),
    wt_types.StreamType: lambda v, r: t.StreamType(payload(v, r)),
    wt_types.FutureType: lambda v, r: t.FutureType(payload(v, r)),
}


def primitive(value: Any, _: Any) -> t.ValueType:
    return t.Primitive(cast(t.PrimitiveName, type(value).__name__.lower()))


class FromEngine:
    """The types in what the engine says; resources are numbered as they are met."""

    def __init__(self) -> None:
        self.resources: list[wt.ResourceType] = []

    def value(self, value: Any) -> Any:
        if isinstance(value, wt_types.OwnType | wt_types.BorrowType):
            kind = t.Own if isinstance(value, wt_types.OwnType) else t.Borrow
            return kind(self.resource(value.ty))
        if value is None:
            return None
        read: Callable[[Any, Any], t.ValueType] = FROM_ENGINE.get(type(value), primitive)
        return read(value, self.value)

    def resource(self, resource: wt.ResourceType) -> t.Resource:
        if resource not in self.resources:
            self.resources.append(resource)
        return t.Resource(self.resources.index(resource))

    def func(self, func: Any, *, is_async: bool) -> t.FuncType:
        params = tuple(t.Param(name, self.value(value)) for name, value in func.params)
        return t.FuncType(params, self.value(func.result), is_async)


def engine_functions(engine: wasmtime.Engine, found: wt.Component) -> Iterator[tuple[str, str, Any]]:
    for side, items in (("import", found.type.imports(engine)), ("export", found.type.exports(engine))):
        for name, item in items.items():
            if isinstance(item.ty, wt_types.ComponentInstanceType):
                for inner, func in item.ty.exports(engine).items():
                    if isinstance(func.ty, wt_types.FuncType):
                        yield f"{side} {name}", inner, func.ty
            elif isinstance(item.ty, wt_types.FuncType):
                yield side, name, item.ty


@pytest.mark.parametrize("name", [*guests.names(), "composed"])
def test_every_function_has_the_type_that_the_engine_finds(name: str) -> None:
    config = wasmtime.Config()
    config.wasm_component_model_implements = True
    engine = wasmtime.Engine(config)
    wasm = load(name)
    shape = read(wasm)
    ours: dict[tuple[str, str], t.FuncType] = {}
    for side, items in (("import", shape.imports), ("export", shape.exports)):
        for item in items:
            if isinstance(item.type, InstanceType):
                ours |= {(f"{side} {item.name}", name): func for name, func in item.type.functions.items()}
            elif isinstance(item.type, t.FuncType):
                ours[side, item.name] = item.type
    theirs = list(engine_functions(engine, wt.Component(engine, wasm)))
    assert {(place, inner) for place, inner, _ in theirs} == ours.keys()
    from_engine = FromEngine()
    numbers: dict[Any, Any] = {}
    for place, inner, func in theirs:
        mine = ours[place, inner]
        expected = from_engine.func(func, is_async=mine.is_async)

        def number(resource: t.Resource) -> str:
            return str(numbers.setdefault(resource.id, len(numbers)))

        assert signature(mine, number) == signature(expected, lambda resource: str(resource.id)), inner
