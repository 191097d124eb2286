"""How components are run: decided from their size and the configuration, and switched off as a whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import guests
import pytest
from wasmplex import workload
from wasmplex.host import Host
from wasmplex.strategy import choose, strategy

pytestmark = pytest.mark.anyio


def test_bytes_go_through_memory_unless_the_configuration_says_otherwise() -> None:
    assert choose({}).transport == "memory"
    assert choose({}, reuse=10).transport == "memory"
    assert choose({}, optimize=False).transport == "strings"
    assert choose({}, transport="strings").transport == "strings"
    assert choose({}, transport="memory", optimize=False).transport == "memory"


def test_what_makes_instances_quickly_is_for_those_that_serve_one_call() -> None:
    once, often = choose({}), choose({}, reuse=10)
    assert (once.lazy_tables, once.kept_memories, once.made_ahead) == (True, True, True)
    assert (often.lazy_tables, often.kept_memories, often.made_ahead) == (False, True, False)
    assert not choose({"bulk-memory": False}).lazy_tables
    assert not choose({"simd": False}).vectors


def test_nothing_is_left_where_it_is_switched_off() -> None:
    plain = choose({}, optimize=False)
    assert plain.describe() == "bytes through strings"
    assert not plain.bytes_bridged


@pytest.mark.parametrize(("host", "own", "expected"), [
    ("", "", True), ("optimize = false", "", False), ("optimize = false", "optimize = true", True),
    ("", "optimize = false", False),
])  # fmt: skip
async def test_a_workload_may_say_otherwise_than_its_host(
    host: str, own: str, expected: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []

    def noting(planned: Any, engine: Any) -> Any:
        seen.append(strategy(planned, engine))
        return seen[-1]

    monkeypatch.setattr(workload, "strategy", noting)
    (tmp_path / "adder.wasm").write_bytes(guests.component("adder"))
    path = tmp_path / "host.toml"
    path.write_text(f'[engine]\n{host}\n[workload.adder]\ncomponent = "adder.wasm"\n{own}\n')
    async with Host.from_config(path) as opened:
        assert opened.workload("adder") is not None
    [chosen] = seen
    assert chosen.twins is expected
