"""What to type to install something: the command that works in the environment that is there."""

from __future__ import annotations

from pathlib import Path

import pytest
from wasmplex.plugins.installation import Installation

RECEIPT = """
[tool]
requirements = [{ name = "wasmplex" }, { name = "host-plugin-redis", specifier = ">=0" }, { name = "uvloop" }]
"""


def commands(found: Installation) -> list[str]:
    return [
        found.install("host-plugin-nats"),
        found.upgrade("host-plugin-redis", "wasmplex"),
        found.reinstall("host-plugin-redis"),
        found.uninstall("host-plugin-redis"),
    ]


def test_an_environment_that_is_activated(tmp_path: Path) -> None:
    found = Installation.detect(tmp_path, "/srv/bin/python", "/srv/bin/pip", has_pip=True)
    assert commands(found) == [
        "pip install host-plugin-nats",
        "pip install --upgrade host-plugin-redis wasmplex",
        "pip install --force-reinstall host-plugin-redis",
        "pip uninstall host-plugin-redis",
    ]


@pytest.mark.parametrize("pip", [None, "/usr/bin/pip"])
def test_an_environment_that_is_not(tmp_path: Path, pip: str | None) -> None:
    found = Installation.detect(tmp_path, "/srv/my host/bin/python", pip, has_pip=True)
    assert found.install("host-plugin-nats") == "'/srv/my host/bin/python' -m pip install host-plugin-nats"
    assert found.uninstall("a") == "'/srv/my host/bin/python' -m pip uninstall a"


def test_an_environment_without_pip(tmp_path: Path) -> None:
    found = Installation.detect(tmp_path, "/srv/bin/python", "/usr/bin/pip", has_pip=False)
    assert commands(found) == [
        "uv pip install --python /srv/bin/python host-plugin-nats",
        "uv pip install --upgrade --python /srv/bin/python host-plugin-redis wasmplex",
        "uv pip install --reinstall --python /srv/bin/python host-plugin-redis",
        "uv pip uninstall --python /srv/bin/python host-plugin-redis",
    ]


def test_pipx(tmp_path: Path) -> None:
    (tmp_path / "wasmplex").mkdir()
    (tmp_path / "wasmplex/pipx_metadata.json").write_text("{}")
    found = Installation.detect(tmp_path / "wasmplex", "/x/bin/python", None, has_pip=True)
    assert commands(found) == [
        "pipx inject wasmplex host-plugin-nats",
        "pipx runpip wasmplex install --upgrade host-plugin-redis wasmplex",
        "pipx runpip wasmplex install --force-reinstall host-plugin-redis",
        "pipx uninject wasmplex host-plugin-redis",
    ]


def test_uv_tool_is_told_of_everything_that_is_to_stay(tmp_path: Path) -> None:
    (tmp_path / "wasmplex").mkdir()
    (tmp_path / "wasmplex/uv-receipt.toml").write_text(RECEIPT)
    found = Installation.detect(tmp_path / "wasmplex", "/x/bin/python", None, has_pip=False)
    assert commands(found) == [
        "uv tool install wasmplex --with host-plugin-redis --with uvloop --with host-plugin-nats",
        "uv tool install --upgrade wasmplex --with uvloop --with host-plugin-redis",
        "uv tool install --reinstall wasmplex --with uvloop --with host-plugin-redis",
        "uv tool install wasmplex --with uvloop",
    ]
    assert found.uninstall("Host_Plugin.Redis") == "uv tool install wasmplex --with uvloop"


@pytest.mark.parametrize("receipt", ["", "[tool", "[tool]\nrequirements = 3", "\xff"])
def test_a_receipt_that_cannot_be_read(tmp_path: Path, receipt: str) -> None:
    (tmp_path / "wasmplex").mkdir()
    (tmp_path / "wasmplex/uv-receipt.toml").write_text(receipt, "latin-1")
    found = Installation.detect(tmp_path / "wasmplex", "/x/bin/python", None, has_pip=False)
    assert found.install("host-plugin-nats") == "uv tool install wasmplex --with host-plugin-nats"
