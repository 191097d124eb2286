"""What the documentation shows is so: configurations are accepted, WIT can be read, files are there."""

import re
import sqlite3
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import fences
import guests
import pytest
import wasmtime
from fences import PAGES, ROOT, Fence, parameters
from host_plugin_sqlite import statements
from wasmplex.config import load
from wasmplex.errors import PluginError
from wasmplex.interfaces.blobstore.policy import BlobStoreSettings
from wasmplex.interfaces.keyvalue.policy import KeyValueSettings
from wasmplex.interfaces.messaging.policy import MessagingSettings
from wasmplex.interfaces.postgres.policy import PostgresPolicySettings
from wasmplex.plugins import Registry
from wasmplex.plugins.identity import Group
from wasmplex.plugins.validation import RESERVED_KEYS
from wasmplex.settings import Settings
from wasmplex.wit.source import parse

LINK = re.compile(r"\[[^\]]*\]\((?P<target>[^)#\s]+)(?:#[^)]*)?\)")
LANGUAGES = {
    "sh": {"run", "by", "skip"},
    "toml": {"file", "manifest", "made", "component"},
    "yaml": {"manifest", "component"},
    "python": {"run", "test", "file"},
    "ini": {"file"},
    "dockerfile": {"file"},
    "wit": set(),
    "wat": set(),
    "sql": set(),
    "c": set(),
    "rust": set(),
    "text": set(),
}
"""The languages of fences, and what may stand behind them."""
OWN = {'backend = "example"', 'interface = "example:geo/lookup"', 'backend = "diskcache"'}
"""Bindings of plugins that are to be written or installed first."""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files(page: Path) -> None:
    text = fences.text_without_fences(page)
    targets = [link["target"] for link in LINK.finditer(text) if "://" not in link["target"]]
    missing = [target for target in targets if not (page.parent / target).exists()]
    assert not missing


@pytest.mark.parametrize("fence", parameters())
def test_every_fence_says_what_may_be_done_with_it(fence: Fence) -> None:
    assert fence.language in LANGUAGES, "name the language of the fence"
    assert {*fence.words, *fence.values} <= LANGUAGES[fence.language], "see CONTRIBUTING.md"


@pytest.mark.parametrize("fence", parameters("toml"))
def test_configurations_are_accepted(fence: Fence, tmp_path: Path) -> None:
    parsed = tomllib.loads(fence.text)
    if "manifest" in fence.values:
        return  # somebody else's: tests/test_import.py reads it
    if "workload" not in parsed:
        assert "project" in parsed, "neither a configuration nor a pyproject.toml"
        return
    path = tmp_path / fence.values.get("file", "part.toml")
    if "file" not in fence.values:
        _check_part(path, parsed, fence.text)
        return
    path.write_text(fence.text)
    for workload in parsed["workload"].values():
        (tmp_path / workload["component"]).write_bytes(guests.component("kvhttp"))
    command: list[str | Path] = [Path(sys.executable).with_name("wasmplex"), "check", path]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=50)
    assert done.returncode == 0, done.stderr


def _check_part(path: Path, parsed: Mapping[str, Any], text: str) -> None:
    """Hold a part of a file to the tables and keys that there are."""
    (path.parent / "part.wasm").touch()
    for name in re.findall(r'"(\w+\.wasm)"', text):
        (path.parent / name).touch()
    for name, workload in parsed["workload"].items():
        if "component" in workload:
            text = text.replace(f'"{workload["component"]}"', '"part.wasm"')
        else:
            text = f'[workload.{name}]\ncomponent = "part.wasm"\n' + text
    path.write_text(text)
    registry = Registry()
    config = load(path, triggers=registry.names(Group.TRIGGERS))
    for workload in config.workloads.values():
        for binding in workload.bindings:
            if any(line in text for line in OWN):
                continue
            models = [provider.settings for provider in registry.interfaces(binding.package or "")]
            if binding.backend is not None:
                models = _models(registry, binding.backend)
            known = {*RESERVED_KEYS, *(field for model in models for field in model.model_fields)}
            assert {*binding.settings.values} <= known


def _models(registry: Registry, backend: str) -> list[type[Settings]]:
    """Return the settings of a binding with this backend, for any of its capabilities."""
    models: list[type[Settings]] = []
    policies: dict[str, type[Settings]] = {
        "keyvalue": KeyValueSettings, "blobstore": BlobStoreSettings, "postgres": PostgresPolicySettings,
        "messaging": MessagingSettings,
    }  # fmt: skip
    for capability, policy in policies.items():
        with suppress(PluginError):
            models += [registry.backend(backend, capability).settings, policy]
    assert models, f"no backend {backend}"
    return models


@pytest.mark.parametrize("fence", parameters("wit"))
def test_wit_can_be_read(fence: Fence) -> None:
    text = fence.text if "package " in fence.text else f"package docs:page;\n{fence.text}"
    parse(text)


@pytest.mark.parametrize("fence", parameters("wat"))
def test_wat_can_be_assembled(fence: Fence) -> None:
    assert wasmtime.wat2wasm(fence.text)


@pytest.mark.parametrize("fence", parameters("sql"))
def test_sql_is_that_of_the_store(fence: Fence) -> None:
    def layout(script: str) -> list[str]:
        with sqlite3.connect(":memory:") as db:
            db.executescript(script)
            rows = db.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY name")
            found = [re.sub(r"\s*--[^\n]*", "", row[0]) for row in rows]
        db.close()
        return [" ".join(text.split()) for text in found]

    assert {*layout(fence.text)} <= {*layout(";".join(statements.LAYOUT))}


def test_what_is_on_no_index_is_not_only_said_to_be_installed_from_one() -> None:
    """As long as README.md says that it is on none: a page that names a distribution to pip says so too."""
    if "on no index" not in (ROOT / "README.md").read_text():
        return
    named = re.compile(r"pip install(?: \S+)* '?(?:wasmplex|host-plugin-)")
    texts = {page: page.read_text() for page in PAGES if page.name != "CHANGELOG.md"}
    assert [page for page, text in texts.items() if named.search(text) and "on no index" not in text] == []


def test_there_is_something_to_test() -> None:
    assert {page.name for page in PAGES} >= {"README.md", "ARCHITECTURE.md", "guests.md"}
    for language in LANGUAGES:
        assert parameters(language), f"no fence is in {language}"
