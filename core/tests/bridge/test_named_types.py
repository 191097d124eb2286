"""Types with names, which components must give to records and their like: shared, nested, aliased."""

from __future__ import annotations

from typing import Any

import pytest
from wasmplex.bridge import bridge
from wasmplex.component import read
from wasmplex.engine import Engine, EngineSettings
from wasmplex.engine.text import assemble

from .echo import running

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("transport")]


def same(value: Any) -> Any:
    return value


async def same_later(value: Any) -> Any:
    return value


# `b` uses a record of `a` without naming the enum and the record in it: only `a` names those.
USING = """
(component
  (import "a" (instance $a
    (type $1 (enum "red" "green")) (export "colour" (type $colour (eq $1)))
    (type $2 (record (field "colour" $colour))) (export "inner" (type $inner (eq $2)))
    (type $3 (record (field "inner" $inner) (field "text" string))) (export "outer" (type (eq $3)))))
  (alias export $a "outer" (type $outer))
  (import "b" (instance $b
    (export "outer" (type $t (eq $outer)))
    (export "f" (func (param "v" $t) (result $t)))))
  (import "c" (instance $c (export "f" (func (param "v" string) (result string)))))
  (export "out" (instance $c)))
"""
FUNCTIONS: dict[str, dict[str, Any]] = {"a": {}, "b": {"f": same}, "c": {"f": same}}

ALIAS = """
(component
  (import "in" (instance $i
    (type $1 string) (export "version" (type $version (eq $1)))
    (export "f" (func async (param "v" $version) (result $version)))))
  (export "out" (instance $i)))
"""


async def test_an_alias_of_a_primitive_type() -> None:
    async with (
        Engine(EngineSettings(use_cache=False)) as engine,
        running(engine, assemble(ALIAS), {"in": {"f": same_later}}) as instance,
    ):
        assert await instance.call("out#f", "v1") == "v1"


@pytest.mark.parametrize("chosen", ["bc", "c"])
async def test_a_record_whose_parts_have_their_names_in_another_interface(
    chosen: str,
) -> None:
    """The one that uses it through the adapter (b), and past it."""
    wasm = assemble(USING)
    bridged = bridge(wasm, read(wasm), FUNCTIONS, assemble, lambda item: item.name in chosen)
    assert bridged is not None
    async with Engine(EngineSettings(use_cache=False)) as engine:
        compiled = await engine.compile(bridged.wasm, read(bridged.wasm))
        instance = await engine.link(compiled, bridged.link(FUNCTIONS), "test").instantiate()
        assert await instance.call("out#f", "x") == "x"
        instance.close()
