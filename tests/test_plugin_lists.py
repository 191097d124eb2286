"""Every plugin of the repository stands where plugins are listed, and is what its metadata says."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from wasmplex.plugins import Registry
from wasmplex.plugins.identity import PluginState

ROOT = Path(__file__).resolve().parents[1]
PLUGINS = sorted(path.parent.name for path in ROOT.glob("plugins/*/pyproject.toml"))
LIBRARIES = {
    "wasmtime", "redis", "hiredis", "nats", "sqlite3", "aiosqlite", "cachetools", "aiohappyeyeballs", "httpx",
    "diskcache", "obstore", "asyncpg", "httptools", "uvloop",
}  # fmt: skip
"""What plugins and the host import when they open something, and not before."""


@pytest.mark.parametrize("name", PLUGINS)
def test_a_plugin_is_listed_everywhere(name: str) -> None:
    assert f"-e ./plugins/{name}\n" in (ROOT / "requirements-dev.txt").read_text()
    assert f"(plugins/{name}/README.md)" in (ROOT / "README.md").read_text()
    entries = tomllib.loads((ROOT / f"plugins/{name}/pyproject.toml").read_text())["project"]["entry-points"]
    if "wasmplex.plugins" in entries:
        assert f'## `backend = "{name}"`' in (ROOT / "docs/configuration.md").read_text()


def test_plugins_register_what_their_metadata_announces() -> None:
    registry = Registry(disable="")
    statuses = registry.status(load=True)
    assert {status.identity.name for status in statuses} >= {*PLUGINS}
    for entry in registry._entries:
        assert entry.state is PluginState.READY, entry.status()
        assert entry.contribution.offers == entry.offers, entry.identity


def test_loading_every_plugin_imports_no_library_of_theirs() -> None:
    code = (
        "import json, sys\n"
        "from wasmplex.plugins import Registry\n"
        "Registry(disable='').status(load=True)\n"
        "print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    modules = {*json.loads(done.stdout)}
    assert {f"host_plugin_{name}" for name in PLUGINS} <= modules
    assert modules & LIBRARIES == set()
