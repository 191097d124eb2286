"""The pages in docs/internals name tests: each of them is there."""

from __future__ import annotations

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
