"""Fake distributions: real metadata and real modules in a directory of the import path."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from wasmplex.plugins import Registry

BACKEND = """
    from wasmplex.plugin import Backend, BackendProvider, hookimpl

    class Open(Backend):
        async def close(self): pass

    class Provider(BackendProvider):
        name = {name!r}
        capability = {capability!r}
        async def open(self, settings, context): return Open()

    @hookimpl
    def wasmplex_backends(): return [Provider()]
"""


class Site:
    """A directory that looks like site-packages."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def module(self, name: str, source: str) -> None:
        (self.root / f"{name}.py").write_text(textwrap.dedent(source))

    def distribution(
        self,
        name: str,
        entries: Mapping[str, Mapping[str, str]] | str,
        *,
        version: str = "1.2",
        requires: tuple[str, ...] = (),
    ) -> None:
        folder = self.root / f"{name.replace('-', '_')}-{version}.dist-info"
        folder.mkdir()
        lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
        lines += [f"Requires-Dist: {line}" for line in requires]
        (folder / "METADATA").write_text("\n".join(lines) + "\n")
        if not isinstance(entries, str):
            groups = [
                f"[{group}]\n" + "\n".join(f"{key} = {value}" for key, value in names.items())
                for group, names in entries.items()
            ]
            entries = "\n\n".join(groups)
        (folder / "entry_points.txt").write_text(entries + "\n")

    def backend(
        self,
        name: str,
        *,
        distribution: str = "",
        module: str = "",
        capability: str = "keyvalue",
        requires: tuple[str, ...] = (),
        version: str = "1.2",
        source: str | None = None,
    ) -> str:
        """Install a plugin with one backend; return the name of its module."""
        distribution = distribution or f"host-plugin-{name}"
        module = module or distribution.replace("-", "_")
        self.module(module, BACKEND.format(name=name, capability=capability) if source is None else source)
        self.distribution(
            distribution, {"wasmplex.plugins": {name: module}}, requires=requires, version=version
        )
        return module

    def registry(self, *, no_plugins: bool = False, disable: str = "") -> Registry:
        return Registry(path=[str(self.root)], no_plugins=no_plugins, disable=disable)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """An empty site-packages on the import path; what is imported from it is forgotten afterwards."""
    root = tmp_path / "site"
    root.mkdir()
    monkeypatch.syspath_prepend(str(root))
    for name in [name for name in sys.modules if name.startswith("host_plugin_")]:
        monkeypatch.delitem(sys.modules, name)  # what is installed for real, and was imported by other tests
    before = set(sys.modules)
    yield Site(root)
    for name in set(sys.modules) - before:
        if (file := getattr(sys.modules[name], "__file__", None)) and file.startswith(str(root)):
            del sys.modules[name]


@pytest.fixture
def imported() -> Callable[[str], bool]:
    return lambda module: module in sys.modules
