"""A directory with what configurations refer to, and a way to load text from it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from wasmplex.config import HostConfig, load
from wasmplex.errors import ConfigError

Load = Callable[..., HostConfig]
Problems = Callable[..., str]


def _cases(name: str) -> list[Any]:
    """Read ``=== title``, a configuration, ``>>>`` and what is printed, as often as the file has them."""
    blocks = (Path(__file__).parent / name).read_text(encoding="utf-8").split("=== ")[1:]
    parts = [(block.partition("\n")[0], *block.partition("\n")[2].split(">>>\n")) for block in blocks]
    return [pytest.param(text, expected.strip(), id=title) for title, text, expected in parts]


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "cases(file): run with each `text` and `expected` of a file")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    for mark in metafunc.definition.iter_markers("cases"):
        metafunc.parametrize(("text", "expected"), _cases(mark.args[0]))


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current directory, with a component and a data directory."""
    (tmp_path / "shop.wasm").touch()
    (tmp_path / "extra.py").touch()
    (tmp_path / "data").mkdir()
    (tmp_path / "password.txt").write_text("hunter2\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def load_text(home: Path) -> Load:
    def loads(text: str, name: str = "host.toml", environ: Mapping[str, str] | None = None) -> HostConfig:
        (home / name).write_text(text, encoding="utf-8")
        return load(Path(name), environ or {})

    return loads


@pytest.fixture
def problems(load_text: Load) -> Problems:
    def rendered(text: str, name: str = "host.toml", environ: Mapping[str, str] | None = None) -> str:
        with pytest.raises(ConfigError) as caught:
            load_text(text, name, environ)
        return caught.value.render()

    return rendered
