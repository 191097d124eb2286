"""Types that are deep or wide: code is generated for all that the reader lets through."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from wasmplex.component import read
from wasmplex.engine import Engine, EngineSettings
from wasmplex.engine.codec.generate import Codec
from wasmplex.wit.types import (
    Case,
    FuncType,
    ListType,
    Option,
    Param,
    Primitive,
    Record,
    ResultType,
    TupleType,
    ValueType,
    VariantType,
)
from wasmtime import wat2wasm

U32, TEXT = Primitive("u32"), Primitive("string")


def nested(times: int, wrap: Callable[[Any], Any], inner: Any = U32) -> Any:
    for _ in range(times):
        inner = wrap(inner)
    return inner


def distinct(count: int) -> list[ValueType]:
    """Return so many small types, each unlike the others."""
    plain = [Primitive(name) for name in ("u8", "u16", "u32", "u64", "s8", "s16", "s32", "s64", "f32", "f64")]
    return [
        TupleType((plain[i % 10], plain[i // 10 % 10], plain[i // 100 % 10], plain[i // 1000]))
        for i in range(count)
    ]


TYPES: dict[str, ValueType] = {
    "lists": nested(60, ListType),
    "options": nested(60, Option),
    "tuples": nested(60, lambda t: TupleType((t, TEXT))),
    "results": nested(60, lambda t: ResultType(t, TEXT)),
    "lists of variants": nested(30, lambda t: ListType(VariantType((Case("a", t), Case("b", None)), "v"))),
    "a variant of one type": VariantType(tuple(Case(f"n{i}", TEXT) for i in range(3000)), "v"),
    "a variant of many types": VariantType(
        tuple(Case(f"n{i}", t) for i, t in enumerate(distinct(1100))), "v"
    ),
    "a tuple": TupleType((TEXT,) * 2000),
    "nothing": Record((), "r"),
}


@pytest.mark.parametrize("name", TYPES)
def test_both_ways(name: str) -> None:
    type_ = TYPES[name]
    codec = Codec({}, lambda ctx, function, error: 0)
    function = FuncType((Param("given", type_),), type_)
    codec.sync_import("f", function, lambda given: given, False)
    codec.async_import("f", function, lambda given: given, False)
    codec.export("f", function)


def test_many_parameters() -> None:
    codec = Codec({}, lambda ctx, function, error: 0)
    function = FuncType(tuple(Param(f"p{i}", TEXT) for i in range(2000)), None)
    codec.sync_import("f", function, lambda *given: None, False)
    assert codec.export("f", function).count == 2000


@pytest.mark.anyio
async def test_many_imports_with_long_names() -> None:
    long_one = "a" + "-b" * 1000
    function = f'(export "{long_one}" (func (param "p" u32) (result u32)))'
    imports = "\n".join(f'(import "test:many/{long_one}{i}" (instance {function}))' for i in range(1000))
    wasm = bytes(wat2wasm(f"(component {imports})"))
    served = {f"test:many/{long_one}{i}": {long_one: lambda p: p} for i in range(1000)}
    async with Engine(EngineSettings(use_cache=False)) as engine:
        linked = engine.link(await engine.compile(wasm, read(wasm)), served, "shop")
        (await linked.instantiate()).close()
