"""A plugin that breaks whatever imports it: every way out works, and none of them imports it."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest

PROGRAM = "from wasmplex.cli import main; main()"
BOMB = """\
import os, pathlib
pathlib.Path(__file__).with_name("imported").touch()
os._exit(70)
"""
ENTRIES = """\
[wasmplex.plugins]
bomb = host_plugin_bomb
memory = host_plugin_bomb

[wasmplex.commands]
bomb = host_plugin_bomb
check = host_plugin_bomb

[wasmplex.interfaces]
wasi.io = host_plugin_bomb

[wasmplex.triggers]
http = host_plugin_bomb
"""


class Environment(NamedTuple):
    """A virtual environment that has a plugin of its own, and otherwise what this one has."""

    python: Path
    site: Path

    @property
    def imported(self) -> bool:
        return (self.site / "imported").exists()

    def run(self, *args: str, **env: str) -> subprocess.CompletedProcess[str]:
        command: list[str | Path] = [self.python, "-c", PROGRAM, *args]
        return subprocess.run(
            command, env={**os.environ, **env}, capture_output=True, text=True, timeout=50, check=False
        )


@pytest.fixture
def environment(tmp_path: Path) -> Environment:
    root = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", root], check=True, timeout=50)
    site = next(root.glob("lib/python*/site-packages"))
    packages = [path for path in sys.path if path.endswith("site-packages")]
    (site / "host.pth").write_text("".join(f"import site; site.addsitedir({path!r})\n" for path in packages))
    info = site / "host_plugin_bomb-1.0.dist-info"
    info.mkdir()
    (site / "host_plugin_bomb.py").write_text(BOMB)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: host-plugin-bomb\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(ENTRIES)
    (info / "INSTALLER").write_text("pip\n")
    names = ["METADATA", "entry_points.txt", "INSTALLER", "RECORD"]
    record = ["host_plugin_bomb.py", *(f"{info.name}/{name}" for name in names)]
    (info / "RECORD").write_text("".join(f"{name},,\n" for name in record))
    return Environment(root / "bin/python", site)


@pytest.mark.usefixtures("home")
def test_it_is_switched_off_before_it_is_imported(environment: Environment) -> None:
    assert environment.run("--help").returncode == 0
    assert "host-plugin-bomb==1.0" in environment.run("plugins", "freeze").stdout
    listed = environment.run("plugins", "list")
    assert (listed.returncode, "available" in listed.stdout) == (0, True)
    for switch in ("bomb", "host-plugin-bomb", "other,bomb@host-plugin-bomb"):
        done = environment.run("check", WASMPLEX_DISABLE_PLUGINS=switch)
        assert done.returncode == 0, done.stderr
    without = environment.run("--no-plugins", "plugins")
    assert without.returncode == 0
    assert "disabled" in without.stdout
    unknown = environment.run("--no-plugins", "bomb")
    assert (unknown.returncode, "there is no command 'bomb'" in unknown.stderr) == (2, True)
    assert not environment.imported
    environment.run("bomb")  # which shows that it would have been noticed
    assert environment.imported


@pytest.mark.usefixtures("home")
def test_it_is_removed_by_the_command_that_is_printed(environment: Environment) -> None:
    shown = environment.run("--no-plugins", "plugins", "show", "bomb").stdout
    command = next(line for line in shown.splitlines() if line.startswith("to remove it")).split("it", 1)[1]
    words = shlex.split(command)
    assert words[-2:] == ["uninstall", "host-plugin-bomb"]
    done = subprocess.run([*words, "-y"], capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode == 0, done.stderr
    assert "host-plugin-bomb" not in environment.run("plugins", "list").stdout
    assert environment.run("check").returncode == 0
    assert not environment.imported


def test_doctor_names_both_sides_of_a_conflict(tmp_path: Path, process: Any) -> None:
    (tmp_path / "host.toml").unlink()
    info = tmp_path / "packages/host_plugin_late-1.0.dist-info"
    info.mkdir(parents=True)
    (info.parent / "host_plugin_late.py").write_text("raise ImportError('no')\n")
    (info / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: host-plugin-late\nVersion: 1.0\nRequires-Dist: pluggy<1\n"
    )
    (info / "entry_points.txt").write_text("[wasmplex.plugins]\nlate = host_plugin_late\n")
    ended = process("doctor", env={"PYTHONPATH": str(info.parent), "WASMPLEX_DISABLE_PLUGINS": "late"})
    assert ended.code == 2
    assert "error: plugin 'late' does not have what it requires" in ended.err
    assert "at: plugin late (host-plugin-late==1.0)" in ended.err
    assert "because: host-plugin-late==1.0 requires pluggy<1, and pluggy==1." in ended.err
    assert "pip install 'pluggy<1'" in ended.err
