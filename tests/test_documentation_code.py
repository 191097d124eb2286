"""What the documentation shows in Python runs, and the pages that are made from code are up to date."""

from __future__ import annotations

import importlib.util
import inspect
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import guests
import pytest
from wasmplex.plugins import hooks
from wasmplex.plugins.validation import HOOKS

DOCS = Path(__file__).resolve().parents[1] / "docs"
FENCE = re.compile(r"^```python(?P<info>[^\n`]*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
PAGES = [page for page in sorted(DOCS.glob("*.md")) if FENCE.search(page.read_text())]
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


@pytest.mark.parametrize("name", ["configuration.md", "kit.md"])
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


@pytest.mark.timeout(300)
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_runs(page: Path, tmp_path: Path) -> None:
    shutil.copy(guests.path("kv"), tmp_path / "kv.wasm")
    (tmp_path / "host.toml").write_text(HOST)
    commands = []
    for number, fence in enumerate(FENCE.finditer(page.read_text())):
        info, text = fence["info"].strip(), fence["text"]
        compile(text, str(page), "exec")
        if info.startswith("file="):
            (tmp_path / info.removeprefix("file=")).write_text(text)
            commands.append(["-c", f"import {info.removeprefix('file=').removesuffix('.py')}"])
        elif info == "run":
            commands.append(["-c", text])
        elif info == "test":
            (tmp_path / f"test_{number}.py").write_text(text)
            commands.append(["-m", "pytest", "-q", "--basetemp=tmp", f"test_{number}.py"])
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
