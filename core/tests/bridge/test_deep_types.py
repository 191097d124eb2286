"""Types that are deep or wide: what the reader lets through is served, by either transport."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from wasmplex.engine import Engine, EngineSettings
from wasmplex.values import Err, Ok, Some, Variant
from wasmplex.wit.types import (
    Case,
    Enum,
    Field,
    ListType,
    Option,
    Primitive,
    Record,
    ResultType,
    TupleType,
    ValueType,
    VariantType,
)

from .echo import echo, running

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("transport")]

TEXT, BYTE = Primitive("string"), Primitive("u8")
WIDE = 1100


def nested(times: int, wrap: Callable[[Any], Any], inner: Any) -> Any:
    for _ in range(times):
        inner = wrap(inner)
    return inner


def names(count: int) -> list[str]:
    return [f"n{i}" for i in range(count)]


CASES: dict[str, tuple[ValueType, Any]] = {
    "lists": (nested(60, ListType, BYTE), nested(59, lambda v: [v, v][:1], b"\1\2")),
    "lists of options": (nested(28, lambda t: ListType(Option(t)), BYTE), nested(28, lambda v: [v], 1)),
    "options": (nested(60, Option, BYTE), nested(59, Some, 1)),
    "tuples": (nested(60, lambda t: TupleType((t, TEXT)), BYTE), nested(60, lambda v: (v, "x"), 1)),
    "results": (
        TupleType((nested(50, lambda t: ResultType(t, TEXT), BYTE),)),
        (nested(25, Ok, Err("no")),),
    ),
    "lists in variants": (
        nested(25, lambda t: VariantType((Case("a", None), Case("b", ListType(t))), None), BYTE),
        nested(24, lambda v: Variant("b", [v, Variant("a")]), Variant("b", b"\1")),
    ),
    "a variant": (
        VariantType(tuple(Case(n, TEXT) for n in names(WIDE)), "v"),
        Variant(f"n{WIDE - 1}", "last"),
    ),
    "an enum": (Enum(tuple(names(WIDE)), "e"), f"n{WIDE - 1}"),
    "a record": (Record(tuple(Field(n, TEXT) for n in names(WIDE)), "r"), dict.fromkeys(names(WIDE), "x")),
    "a tuple": (TupleType((BYTE,) * WIDE), (7,) * WIDE),
}


@pytest.mark.parametrize("name", CASES)
async def test_they_cross(name: str) -> None:
    type_, value = CASES[name]

    async def give_back(given: Any) -> Any:
        assert given == value
        return given

    wasm = echo(type_, asynchronous=True)
    async with (
        Engine(EngineSettings(use_cache=False)) as engine,
        running(engine, wasm, {"in": {"f0": give_back}}) as instance,
    ):
        assert await instance.call("out#f0", value) == value
