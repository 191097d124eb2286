"""Twins of imported functions: any bytes at any address arrive, and nothing else of a guest changes."""

from __future__ import annotations

import gzip
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import guests
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wasmplex.bridge import BridgedInstance, wanted
from wasmplex.bridge.kinds import inner_types
from wasmplex.bridge.layout import MAX_FLAT_PARAMS, flatten
from wasmplex.bridge.twins import TWIN, double
from wasmplex.bridge.wat import Scope, instance_type
from wasmplex.component import read
from wasmplex.component.shape import InstanceType, NamedType, Shape
from wasmplex.engine import Engine, EngineSettings
from wasmplex.engine.text import assemble
from wasmplex.errors import Trap
from wasmplex.testing.loops import everything
from wasmplex.values import Err
from wasmplex.wit.types import (
    Enum,
    Flags,
    FuncType,
    ListType,
    Param,
    Primitive,
    Record,
    ValueType,
    VariantType,
)

from .echo import running
from .lowered import Lowered, guest
from .witvalues import types

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("transport")]

COPY = (Path(__file__).parent / "guests" / "copy.wat").read_text()
SIZES = [0, 1, 15, 63, 64, 65, 1000, 70_000]


def octets(size: int) -> bytes:
    return random.Random(size).randbytes(size)


class Store:
    """What the guest reads from and writes to."""

    def __init__(self, value: bytes | None) -> None:
        self.value = value
        self.written: list[tuple[str, bytes]] = []

    def read(self, key: str) -> bytes | None:
        if self.value is None:
            raise Err("völlig leer")
        return self.value

    def write(self, key: str, value: bytes) -> None:
        self.written.append((key, value))

    async def put(self, key: str, value: bytes, ttl: int | None) -> bytes | None:
        self.written.append((key, value))
        return value[::-1] if ttl is None else None

    @asynccontextmanager
    async def guest(self) -> AsyncIterator[BridgedInstance]:
        functions: dict[str, Callable[..., Any]] = {"read": self.read, "write": self.write, "put": self.put}
        async with (
            Engine(EngineSettings(use_cache=False)) as engine,
            running(engine, assemble(COPY), {"in": functions}) as instance,
        ):
            yield instance


@pytest.mark.parametrize("export", ["copy", "copy-async"])
async def test_bytes_at_any_address_arrive(export: str) -> None:
    store = Store(b"")
    async with store.guest() as instance:
        for size in SIZES:
            store.value = octets(size)
            for key_shift, shift in ((0, 0), (0, 1), (1, 0), (1, 1)):
                store.written.clear()
                await instance.call(export, key_shift, shift)
                assert store.written == [("käse", store.value)], (size, key_shift, shift)


async def test_results_of_asynchronous_functions_arrive() -> None:
    async with Store(b"").guest() as instance:
        for size in SIZES:
            for shift in (0, 1):
                assert await instance.call("reverse", octets(size), shift) == octets(size)[::-1]


async def test_errors_arrive_as_they_are() -> None:
    async with Store(None).guest() as instance:
        assert await instance.call("failure") == "völlig leer"


@pytest.mark.parametrize("shift", [0, 1])
async def test_a_key_that_is_no_text_is_refused_by_either_version(shift: int) -> None:
    store = Store(b"")
    async with store.guest() as instance:
        with pytest.raises(Trap, match="the guest trapped") as trapped:
            await instance.call("bad-key", shift)
    assert "invalid utf8 encoding" in str(trapped.value)
    assert store.written == []


async def test_a_host_function_that_cannot_decode_is_not_taken_for_the_guest() -> None:
    store = Store(b"")
    store.write = lambda key, value: b"\xff".decode()  # type: ignore[method-assign,assignment]
    async with store.guest() as instance:
        with pytest.raises(Trap, match=r"host function .* failed"):
            await instance.call("copy", 0, 0)


@pytest.mark.parametrize("shift", [0, 1])
async def test_a_length_beyond_all_memory_is_refused_by_either_version(shift: int) -> None:
    store = Store(b"")
    async with store.guest() as instance:
        with pytest.raises(Trap):
            await instance.call("long", shift)
    assert store.written == []


# ---------------------------------------------------------------- definitions around the insertions


ENTANGLED = (Path(__file__).parent / "guests" / "entangled.wat").read_text()


@pytest.mark.parametrize("names", [["first"], ["second"], ["second", "third"], ["first", "second", "third"]])
async def test_whatever_stands_around_twins_is_the_same(names: list[str]) -> None:
    kept: list[tuple[str, bytes]] = []

    def keep(tag: str, value: bytes) -> None:
        kept.append((tag, value))

    functions: dict[str, dict[str, Callable[..., Any]]] = {
        "first": {"swap": lambda value: value[::-1]},
        "second": {"keep": keep},
        "third": {"keep": keep},
    }
    wasm = assemble(ENTANGLED)
    doubled = double(wasm, names, assemble)
    assert (doubled is None) == (names == ["second"]), "a type for two imports has twins for both or none"
    async with (
        Engine(EngineSettings(use_cache=False)) as engine,
        running(engine, wasm, functions, lambda item: item.name in names) as instance,
    ):
        for size in SIZES:
            for how in range(4):
                assert await instance.call("swap", how, octets(size)) == octets(size)[::-1], (size, how)
            await instance.call("keep", octets(size))
            assert kept == [("käse", octets(size))] * 2
            kept.clear()
        assert await instance.call("drop", 7) == 7


async def test_a_guest_may_have_names_of_twins_for_functions_of_its_own() -> None:
    octets_ = ListType(Primitive("u8"))
    functions = {"f": FuncType((Param("p", octets_),), octets_), f"{TWIN}0": FuncType((), None)}
    served: dict[str, Callable[..., Any]] = {"f": lambda value: value, f"{TWIN}0": lambda: None}
    async with (
        Engine(EngineSettings(use_cache=False)) as engine,
        running(engine, guest(functions), {"in": served}) as instance,
    ):
        lowered = Lowered(instance, functions)
        assert await lowered.call("f", b"abc") == b"abc"
        assert await lowered.call(f"{TWIN}0") is None


# ---------------------------------------------------------------- real guests


def components() -> list[Any]:
    folder = guests.__path__[0]
    built = [pytest.param(path, id=path.stem) for path in sorted(Path(folder, "built").glob("*.wasm"))]
    packed = sorted(Path(folder, "oracle").glob("*.wasm.gz"))
    return [*built, *(pytest.param(path, id=path.name.partition(".")[0]) for path in packed)]


def without_twins(shape: Shape) -> dict[str, Any]:
    """Return what the imports are, apart from twins, and the exports."""
    found: dict[str, Any] = {f"export {export.name}": repr(export.type) for export in shape.exports}
    for item in shape.imports:
        exports = item.type.exports if isinstance(item.type, InstanceType) else {"": item.type}
        kept = {name: repr(extern) for name, extern in exports.items() if not name.startswith(TWIN)}
        found[item.name] = (item.implements, kept)
    return found


@pytest.mark.parametrize("path", components())
def test_guests_are_the_same_but_for_their_twins(path: Path) -> None:
    wasm = path.read_bytes()
    wasm = gzip.decompress(wasm) if path.suffix == ".gz" else wasm
    shape = read(wasm)
    names = [item.name for item in shape.imports if isinstance(item.type, InstanceType) and wanted(item)]
    if (doubled := double(wasm, names, assemble)) is None:
        assert path.name.startswith(NEVER), "a guest that moves bytes has no twins"
        return
    after = read(doubled[0])
    assert without_twins(after) == without_twins(shape)
    assert {name for name, _ in doubled[1]} <= set(names)
    assert doubled[1].keys() == {
        (item.name, function)
        for item in after.imports
        if isinstance(item.type, InstanceType)
        for function in item.type.functions
        if function.startswith(TWIN)
    }


NEVER = ("command", "hello", "js-hello", "py-hello", "qjs-hello", "shape-", "wasi-", "wasmcloud-", "proxy",
         "tour", "kvthree", "lab", "kvhttp", "qjs-kv", "qjs-streams", "hostile.", "hostilewasi",
         "counting", "courier", "handler", "answer-old", "sink", "pg", "blobs")  # fmt: skip
"""Guests whose imports move no bytes, or within other types (bodies of messages, values of rows, streams);
that lower none of the functions which do, or in a component within (componentize-qjs composes components)."""


# ---------------------------------------------------------------- any type


def lowering(functions: dict[str, FuncType]) -> bytes:
    """Return a component that imports some functions and lowers each, for a core module that calls none."""
    exports: dict[str, Any] = {}
    parts = [p for f in functions.values() for t in (*(p.type for p in f.params), f.result) for p in _in(t)]
    for part in parts:
        if isinstance(part, (Record, VariantType, Enum, Flags)) and NamedType(part) not in exports.values():
            exports[f"t{len(exports)}"] = NamedType(part)
    exports |= functions
    text, _ = instance_type(InstanceType(exports), Scope("o"), "i")
    options = '(memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))'
    lowered = "\n".join(
        f'(alias export $i "{name}" (func $f{name}))\n'
        f"(core func $l{name} (canon lower (func $f{name}) {options}))"
        for name in functions
    )
    imports = "\n".join(f'(import "h" "{name}" (func {core_type(f)}))' for name, f in functions.items())
    given_ = " ".join(f'(export "{name}" (func $l{name}))' for name in functions)
    return assemble(f"""(component (import "in" (instance $i {text}))
(core module $Libc (memory (export "memory") 1)
  (func (export "realloc") (param i32 i32 i32 i32) (result i32) unreachable))
(core instance $libc (instantiate $Libc))
{lowered}
(core module $Main {imports} (func (export "run")))
(core instance $main (instantiate $Main (with "h" (instance {given_}))))
(func (export "run") (canon lift (core func $main "run"))))""")


def _in(type_: ValueType | None) -> list[ValueType]:
    return list(inner_types(type_))


def core_type(function: FuncType) -> str:
    params = [core for param in function.params for core in flatten(param.type)]
    if len(params) > MAX_FLAT_PARAMS:
        params = ["i32"]
    result = flatten(function.result) if function.result else ()
    if len(result) > 1:
        return f"(param {' '.join([*params, 'i32'])})"
    return f"(param {' '.join(params)}) (result {' '.join(result)})"


@st.composite
def function_types(draw: st.DrawFn) -> FuncType:
    params = draw(st.lists(types(3), max_size=5))
    return FuncType(tuple(Param(f"p{n}", t) for n, t in enumerate(params)), draw(st.none() | types(4)))


@settings(max_examples=60 if everything() else 20, deadline=None)
@given(st.lists(function_types(), min_size=1, max_size=4))
async def test_twins_of_any_function_compile(functions: list[FuncType]) -> None:
    wasm = lowering({f"f{number}": function for number, function in enumerate(functions)})
    imports = {"in": {f"f{number}": lambda *args: None for number in range(len(functions))}}
    async with (
        Engine(EngineSettings(use_cache=False)) as engine,
        running(engine, wasm, imports) as instance,
    ):
        await instance.call("run")
