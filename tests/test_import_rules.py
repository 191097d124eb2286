"""The import rules of pyproject.toml know every plugin there is."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
PLUGINS = {f"host_plugin_{path.parent.name}" for path in ROOT.glob("plugins/*/pyproject.toml")}
RULES: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]


def test_every_plugin_is_analysed() -> None:
    assert set(RULES["root_packages"]) == {"wasmplex", *PLUGINS}


@pytest.mark.parametrize(
    ("contract", "field"),
    [
        ("facade", "source_modules"),
        ("plugins", "modules"),
        ("core-without-plugins", "forbidden_modules"),
        ("wasmtime", "source_modules"),
    ],
)
def test_every_plugin_is_under_the_contract(contract: str, field: str) -> None:
    found = next(rule for rule in RULES["contracts"] if rule["id"] == contract)
    assert set(found[field]) >= PLUGINS
