"""Fixtures: an engine, and guests written as text."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from wasmplex.component import read
from wasmplex.engine import Engine, EngineSettings, Instance, Linked
from wasmplex.plugins.limits import Limits
from wasmtime import wat2wasm

GUESTS = Path(__file__).parent / "guests"

LinkWat = Callable[..., Awaitable[Linked]]
NewInstance = Callable[..., Awaitable[Instance]]


@pytest.fixture
def engine() -> Iterator[Engine]:
    engine = Engine(EngineSettings(use_cache=False))
    yield engine
    engine.close()


@pytest.fixture
def guest_text() -> Callable[[str], str]:
    """Return the text of a guest by its name."""
    return lambda name: (GUESTS / f"{name}.wat").read_text()


@pytest.fixture
def link_wat(engine: Engine, guest_text: Callable[[str], str]) -> LinkWat:
    """Return a function that compiles and links a guest given by name, or by its text."""

    async def link(guest: str, imports: dict[str, Any], workload: str = "shop", **limits: Any) -> Linked:
        wasm = bytes(wat2wasm(guest if guest.lstrip().startswith("(") else guest_text(guest)))
        return engine.link(await engine.compile(wasm, read(wasm)), imports, workload, Limits(**limits))

    return link


@pytest.fixture
async def new_instance(link_wat: LinkWat) -> AsyncIterator[NewInstance]:
    """Return a function that links and instantiates a guest; instances are closed after the test."""
    made: list[Instance] = []

    async def new(guest: str, imports: dict[str, Any], **limits: Any) -> Instance:
        instance = await (await link_wat(guest, imports, **limits)).instantiate()
        made.append(instance)
        return instance

    yield new
    for instance in made:
        instance.close()
