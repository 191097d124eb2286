"""What the import rules of pyproject.toml cannot say: for every plugin there is, and for circles."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import grimp
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
PLUGINS = sorted(f"host_plugin_{path.parent.name}" for path in ROOT.glob("plugins/*/pyproject.toml"))
TEMPLATES = sorted(
    path.parent.relative_to(ROOT) for path in (ROOT / "plugin-template").glob("**/pyproject.toml")
)
FACADE = ("wasmplex.plugin", "wasmplex.capabilities", "wasmplex.testing")
"""What a plugin may import of the host."""


@cache
def graph(package: str) -> grimp.ImportGraph:
    """Return who imports whom, for types alone included."""
    return grimp.build_graph(package, "wasmplex", include_external_packages=True)


def below(module: str, *packages: str) -> bool:
    return any(module == package or module.startswith(f"{package}.") for package in packages)


@pytest.mark.parametrize("plugin", PLUGINS)
def test_a_plugin_imports_the_facade_and_nothing_else_of_ours(plugin: str) -> None:
    found = graph(plugin)
    imported = {
        (module, other)
        for module in found.find_descendants(plugin) | {plugin}
        for other in found.find_modules_directly_imported_by(module)
    }
    assert {(m, o) for m, o in imported if below(o, "wasmplex") and not below(o, *FACADE)} == set()
    assert {(m, o) for m, o in imported if below(o, *PLUGINS) and not below(o, plugin)} == set()
    assert {(m, o) for m, o in imported if below(o, "wasmtime")} == set()


@pytest.mark.parametrize("plugin", PLUGINS)
def test_a_plugin_requires_what_it_imports_and_nothing_else(plugin: str) -> None:
    found = graph(plugin)
    imported = {
        other.partition(".")[0]
        for module in found.find_descendants(plugin) | {plugin}
        for other in found.find_modules_directly_imported_by(module)
    }
    folder = ROOT / "plugins" / plugin.removeprefix("host_plugin_")
    assert required(folder) == offering(imported - {plugin})


@pytest.mark.parametrize("project", TEMPLATES, ids=str)
def test_a_template_requires_what_it_imports_and_nothing_else(project: Path) -> None:
    folder = ROOT / project
    imported = {
        name.partition(".")[0]
        for file in folder.glob("src/**/*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        for name in imports(node)
    }
    assert required(folder) == offering(imported - {"host_plugin_example"})


def imports(node: ast.AST) -> list[str]:
    if isinstance(node, ast.ImportFrom):
        return [node.module or ""]
    return [name.name for name in node.names] if isinstance(node, ast.Import) else []


def required(folder: Path) -> set[str]:
    """Return the distributions that a project requires."""
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    return {canonicalize_name(Requirement(text).name) for text in project["dependencies"]}


def offering(packages: set[str]) -> set[str]:
    """Return the distributions that packages are of, Python's own aside."""
    known = packages_distributions()
    return {canonicalize_name(known.get(name, [name])[0]) for name in packages - sys.stdlib_module_names}


def test_the_host_imports_no_plugin() -> None:
    found = graph("wasmplex")
    assert {module for module in found.modules if below(module, *PLUGINS)} == set()


# ---------------------------------------------------------------- circles

STRAIGHT = (
    "wasmplex.capabilities", "wasmplex.interfaces", "wasmplex.plugins", "wasmplex.policy", "wasmplex.routing",
    "wasmplex.testing", "wasmplex.triggers", "wasmplex.backends", "wasmplex.bridge", "wasmplex.config",
    "wasmplex.cli", "wasmplex.component", "wasmplex.engine", "wasmplex.logs", "wasmplex.wit",
)  # fmt: skip
"""The packages whose modules form no circle, imports for types alone included; more are to be added."""


def circles(found: grimp.ImportGraph, package: str) -> list[set[str]]:
    """Return the sets of modules of a package that import each other, in whatever number of steps."""
    modules = found.find_descendants(package) | {package}
    imports = {module: found.find_modules_directly_imported_by(module) & modules for module in modules}

    def reached(module: str) -> set[str]:
        seen: set[str] = set()
        left = [*imports[module]]
        while left:
            if (next_ := left.pop()) not in seen:
                seen.add(next_)
                left += imports[next_]
        return seen

    reach = {module: reached(module) for module in modules}
    return [{other for other in reach[m] if m in reach[other]} for m in sorted(modules) if m in reach[m]]


@pytest.mark.parametrize("package", STRAIGHT)
def test_there_is_no_circle(package: str) -> None:
    assert circles(graph("wasmplex"), package) == []


def test_every_layer_of_the_host_has_its_place() -> None:
    rules: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    layers = next(rule for rule in rules["contracts"] if rule["id"] == "layers")
    assert layers["exhaustive"]


# ---------------------------------------------------------------- __all__

ALL = re.compile(r"^__all__ = \[(.*?)\]", re.DOTALL | re.MULTILINE)
IMPORT = re.compile(
    r"^ *from ((?:wasmplex|host_plugin_)[\w.]*) import (?:\((.*?)\)|(.*?)$)", re.DOTALL | re.MULTILINE
)


def test_what_one_module_imports_from_another_is_in_its_all() -> None:
    text = {
        ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__"): path.read_text()
        for root in (ROOT / "core" / "src", *ROOT.glob("plugins/*/src"))
        for path in root.rglob("*.py")
    }
    said = {
        module: {*re.findall(r'"(\w+)"', found[1])} if (found := ALL.search(code)) else set[str]()
        for module, code in text.items()
    }
    imported = {
        (module, name)
        for code in text.values()
        for module, several, one in IMPORT.findall(code)
        if module in said
        for name in re.findall(r"(?m)(?:^|,) *(\w+)", re.sub("#.*", "", several or one))
    }
    assert len(imported) > 1000
    assert {(m, n) for m, n in imported if n not in said[m] and f"{m}.{n}" not in said} == set()
