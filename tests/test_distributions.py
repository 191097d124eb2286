"""What every distribution of the repository has to bring: one version, one licence, the same metadata."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
import wasmplex

ROOT = Path(__file__).resolve().parents[1]
DISTRIBUTIONS = [ROOT / "core", *sorted(path.parent for path in ROOT.glob("plugins/*/pyproject.toml"))]
PLUGINS = [path.name for path in DISTRIBUTIONS[1:]]
MINOR = ".".join(wasmplex.__version__.split(".")[:2])
RANGE = f">={MINOR},<{MINOR.split('.')[0]}.{int(MINOR.split('.')[1]) + 1}"
"""The versions that are made for one another, while the first number is 0."""


def project(folder: Path) -> dict[str, Any]:
    return tomllib.loads((folder / "pyproject.toml").read_text())["project"]  # type: ignore[no-any-return]


CORE = project(DISTRIBUTIONS[0])
each = pytest.mark.parametrize("folder", DISTRIBUTIONS, ids=lambda folder: folder.name)


@each
def test_there_is_one_version(folder: Path) -> None:
    assert project(folder)["version"] == wasmplex.__version__
    text = (ROOT / "CHANGELOG.md").read_text()
    assert f"## [{wasmplex.__version__}]" in text or "[Unreleased]" in text


def test_no_line_of_the_changelog_is_wider_than_a_screen() -> None:
    lines = (ROOT / "CHANGELOG.md").read_text().splitlines()
    assert [number for number, line in enumerate(lines, 1) if len(line) > 120] == []


@each
def test_the_licence_is_in_it(folder: Path) -> None:
    described = project(folder)
    assert (described["license"], described["license-files"]) == ("Apache-2.0", ["LICENSE"])
    assert (folder / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()


@each
def test_what_an_index_shows_is_there(folder: Path) -> None:
    described = project(folder)
    assert described["authors"] == CORE["authors"]
    assert described["keywords"]
    assert described["requires-python"] == CORE["requires-python"] == ">=3.11"
    assert {"Homepage", "Documentation", "Source", "Changelog", "Issues"} == set(described["urls"])
    pythons = {c for c in described["classifiers"] if c.startswith("Programming Language :: Python :: 3.")}
    assert pythons == {c for c in CORE["classifiers"] if c.startswith("Programming Language :: Python :: 3.")}
    assert not any(
        c.startswith("License ::") for c in described["classifiers"]
    )  # the licence is an expression


@each
def test_who_says_that_it_is_typed_marks_it(folder: Path) -> None:
    assert "Typing :: Typed" in project(folder)["classifiers"]
    packages = [path for path in (folder / "src").iterdir() if (path / "__init__.py").exists()]
    assert packages
    assert all((package / "py.typed").exists() for package in packages)


@pytest.mark.parametrize("name", PLUGINS)
def test_a_plugin_is_an_extra_of_the_host(name: str) -> None:
    extras = CORE["optional-dependencies"]
    assert extras[name] == [f"host-plugin-{name}{RANGE}"]
    assert extras["all"] == [f"wasmplex[{','.join(PLUGINS)}]"]
    requirements = project(ROOT / "plugins" / name)["dependencies"]
    assert f"wasmplex{RANGE}" in requirements
