"""ARCHITECTURE.md names modules, the pages in docs/internals name tests: each of them is there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted(ROOT.glob("docs/internals/*.md"))
NAMED = re.compile(r"`(test_[a-z0-9_]+)`")
DEFINED = re.compile(r"^(?:async )?def (test_\w+)", re.MULTILINE)


@pytest.fixture(scope="module")
def defined() -> set[str]:
    files = [
        *ROOT.glob("core/tests/**/*.py"),
        *ROOT.glob("plugins/*/tests/**/*.py"),
        *ROOT.glob("tests/*.py"),
    ]
    return {name for file in files for name in DEFINED.findall(file.read_text())}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_tests_that_a_page_names_are_there(page: Path, defined: set[str]) -> None:
    named = NAMED.findall(page.read_text())
    assert sorted({*named} - defined) == []


def test_every_rule_of_the_client_has_a_test() -> None:
    page = (ROOT / "docs/internals/http-client.md").read_text()
    rows = [line for line in page.split("## The rules")[1].splitlines() if line.startswith("| ")]
    rules = [row for row in rows if not row.startswith("| case |")]
    assert len(rules) > 40
    assert [row for row in rules if not NAMED.search(row)] == []


HOUSE = ROOT / "core/src/wasmplex"
MAP = (ROOT / "ARCHITECTURE.md").read_text()


def test_every_module_at_the_top_is_on_the_map() -> None:
    there = {path.name + "/" * path.is_dir() for path in HOUSE.iterdir() if not path.name.startswith("_")}
    assert sorted(name for name in there - {"py.typed"} if f"`{name}`" not in MAP) == []


def test_every_place_on_the_map_is_there() -> None:
    named = re.findall(r"`([a-z0-9_/-]+(?:/|\.py|/[a-z0-9_]+))`", MAP)
    assert len(named) > 40
    bases = (ROOT, HOUSE, *HOUSE.iterdir())
    assert [name for name in named if not any((base / name).exists() for base in bases)] == []


def test_every_package_says_what_it_is() -> None:
    said = {path: ast.get_docstring(ast.parse(path.read_text())) for path in HOUSE.rglob("__init__.py")}
    assert len(said) > 20
    assert [path for path, text in said.items() if text is None or len(text.split()) < 3] == []
