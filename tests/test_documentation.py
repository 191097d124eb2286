"""What the documentation shows is so: configurations are accepted, targets and linked files exist."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import guests
import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = [
    page
    for pattern in (
        "*.md",
        "docs/*.md",
        "examples/*/*.md",
        "core/*.md",
        "plugins/*/*.md",
        "plugin-template/*.md",
    )
    for page in sorted(ROOT.glob(pattern))
]
FENCE = re.compile(r"^```(?P<info>[^\n`]*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\((?P<target>[^)#\s]+)(?:#[^)]*)?\)")


def fences(words: str) -> list[Any]:
    """Return the fences whose info has all of some words, as parameters of a test."""
    return [
        pytest.param(fence["text"], fence["info"], id=f"{page.relative_to(ROOT)}-{number}")
        for page in PAGES
        for number, fence in enumerate(FENCE.finditer(page.read_text()))
        if {*words.split()} <= {*fence["info"].split()}
    ]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files(page: Path) -> None:
    text = FENCE.sub("", page.read_text())
    targets = [link["target"] for link in LINK.finditer(text) if "://" not in link["target"]]
    missing = [target for target in targets if not (page.parent / target).exists()]
    assert not missing


@pytest.mark.parametrize(("text", "info"), fences("toml"))
def test_configurations_are_accepted(text: str, info: str, tmp_path: Path) -> None:
    parsed = tomllib.loads(text)
    name = re.search(r"file=(\S+)", info)
    if name is None:
        return  # a part of a file
    (tmp_path / name[1]).write_text(text)
    for workload in parsed["workload"].values():
        (tmp_path / workload["component"]).write_bytes(guests.component("kvhttp"))
    command = [Path(sys.executable).with_name("wasmplex"), "check", tmp_path / name[1]]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=50)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("text", "info"), fences("sh run"))
def test_commands_to_run_are_targets_of_make(text: str, info: str) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    commands = text.strip().splitlines()
    assert commands
    assert {command.removeprefix("make ") for command in commands} <= targets


def test_there_is_something_to_test() -> None:
    assert {page.name for page in PAGES} >= {"README.md", "ARCHITECTURE.md", "guests.md"}
    assert fences("run")
    assert any("file=" in parameter.values[1] for parameter in fences("toml"))
