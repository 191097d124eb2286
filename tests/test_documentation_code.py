"""What the documentation shows in Python runs, and the pages that are made from code are up to date."""

from __future__ import annotations

import ast
import importlib.util
import inspect
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import fences
import guests
import pytest
from wasmplex.plugins import hooks
from wasmplex.plugins.validation import HOOKS
from wasmplex.testing.loops import everything

DOCS = Path(__file__).resolve().parents[1] / "docs"
PAGES = [page for page in fences.PAGES if any(fences.fences(page, "python"))]
HOST = """
[workload.kv]
component = "kv.wasm"
[workload.kv.import.cache]
backend = "memory"
[workload.kv.import.store]
backend = "memory"
"""


def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", DOCS / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["configuration.md", "kit.md", "internals/http.md"])
def test_pages_made_from_code_are_up_to_date(name: str) -> None:
    assert (DOCS / name).read_text() == generator().PAGES[name](), "python docs/generate.py"


def test_every_key_of_the_configuration_is_described() -> None:
    rows = [
        line.split(" | ")
        for line in (DOCS / "configuration.md").read_text().splitlines()
        if line[:3] == "| `"
    ]
    assert len(rows) > 70
    assert [row[0] for row in rows if not row[-1].strip(" |")] == []


def test_types_are_what_one_writes() -> None:
    """None is the name of a class of Python."""
    rows = re.findall(r"^\| `[^`]+` \| `([^`]+)` \|", (DOCS / "configuration.md").read_text(), re.MULTILINE)
    assert len(rows) > 70
    assert [type_ for type_ in rows if re.search("[A-Z]", type_.replace("URL", ""))] == []


@pytest.mark.timeout(300)
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_runs(page: Path, tmp_path: Path) -> None:
    for guest in ("kv", "handler"):
        shutil.copy(guests.path(guest), tmp_path / f"{guest}.wasm")
    (tmp_path / "host.toml").write_text(HOST)
    commands = []
    for fence in fences.fences(page, "python"):
        compile(fence.text, str(page), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        if name := fence.values.get("file"):
            (tmp_path / name).write_text(fence.text)
            commands.append(["-c", f"import {name.removesuffix('.py')}"])
        elif "run" in fence.words:
            commands.append(["-c", fence.text])
        elif "test" in fence.words:
            (tmp_path / f"test_{fence.number}.py").write_text(fence.text)
            part = [] if everything() else ["-k", "not AsyncGuest and not LabelledGuest"]
            commands.append(["-m", "pytest", "-q", "--basetemp=tmp", *part, f"test_{fence.number}.py"])
    for command in commands:
        done = subprocess.run(
            [sys.executable, *command], cwd=tmp_path, capture_output=True, text=True, timeout=250, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_every_hook_is_described_with_its_signature() -> None:
    text = (DOCS / "plugin-authors.md").read_text()
    for name in HOOKS:
        signature = inspect.signature(getattr(hooks, name))
        assert f"`{name}{str(signature).replace(chr(39), '')}`" in text
