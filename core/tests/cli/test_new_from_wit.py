"""`wasmplex new plugin --wit`: what is made serves the package, as far as it is written."""

from __future__ import annotations

import importlib.util
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from wasmplex.plugins import Registry

Cli = Callable[..., Any]

WIT = """
package acme:shop@1.0.0;
interface lookup {
    find: async func(place: string, class: u32) -> result<string, string>;
    resource listing {
        constructor(prefix: string);
        next-page: func() -> list<string>;
        open: static func() -> listing;
    }
}
interface path { ping: func(); }
interface types { record point { x: u8 } }
"""


def test_what_is_made_fits_the_wit(cli: Cli, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "any.wit").write_text(WIT)
    ended = cli("new", "plugin", "acme-shop", "--wit", "any.wit")
    assert ended.code == 0, ended.err
    folder = home / "host-plugin-acme-shop"
    made = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    package = "src/host_plugin_acme_shop"
    assert made == {
        "pyproject.toml", "README.md", "tests/test_classes.py", f"{package}/__init__.py",
        f"{package}/shop.wit", f"{package}/py.typed",
    }  # fmt: skip
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    assert project["entry-points"]["wasmplex.interfaces"] == {"acme.shop": "host_plugin_acme_shop"}
    spec = importlib.util.spec_from_file_location("acme_shop_made", folder / package / "__init__.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    registry = Registry(path=[], disable="")
    registry.add(module)
    (provider,) = registry.interfaces("acme:shop")
    assert provider.interfaces == {"lookup", "path"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "any.wit cannot be read"),
        ("package acme", "any.wit is not WIT"),
        ("package a:b; interface types { record point { x: u8 } }", "nothing to serve"),
    ],
)
def test_what_cannot_be_served_is_said(cli: Cli, home: Path, text: str | None, words: str) -> None:
    if text is not None:
        (home / "any.wit").write_text(text)
    ended = cli("new", "plugin", "acme", "--wit", "any.wit")
    assert ended.code == 2
    assert words in ended.err
    assert not (home / "host-plugin-acme").exists()


def test_a_package_is_no_trigger(cli: Cli, home: Path) -> None:
    (home / "any.wit").write_text(WIT)
    ended = cli("new", "plugin", "acme", "--wit", "any.wit", "--capability", "trigger")
    assert (ended.code, ended.err.splitlines()[0]) == (
        2,
        "error: --wit and --capability trigger exclude each other",
    )
