"""What is wrong around the process, and none of its business: it does its work all the same."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Cli = Callable[..., Any]


def distribution(site: Path, entry_points: bytes) -> None:
    """Install a package that has nothing to do with wasmplex."""
    folder = site / "unrelated-1.0.dist-info"
    folder.mkdir(parents=True)
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: unrelated\nVersion: 1.0\n")
    (folder / "entry_points.txt").write_bytes(entry_points)


@pytest.mark.parametrize(
    ("entry_points", "named"),
    [
        (b"[console_scripts]\nfoo\n", "entry_points.txt of unrelated in "),
        (b"[console_scripts]\nfoo = caf\xe9:main\n", "entry_points.txt of unrelated in "),
        (b"[pydantic]\nfoo = raises:plugin\n", "SystemExit: 3"),
        (b"foo = bar:baz\n", None),
    ],
)
@pytest.mark.parametrize("args", [["check", "--json"], ["--no-plugins", "plugins", "list"]])
def test_a_broken_package_of_somebody_else_is_a_warning_at_most(
    process: Cli, tmp_path: Path, args: list[str], entry_points: bytes, named: str | None
) -> None:
    distribution(tmp_path / "site", entry_points)
    (tmp_path / "site" / "raises.py").write_text("raise SystemExit(3)")
    ended = process(*args, env={"PYTHONPATH": str(tmp_path / "site")})
    assert ended.code == 0, ended.err
    if named is None:
        assert ended.err == ""
    else:
        assert ended.err.startswith("WARNING wasmplex.plugins: plugins for pydantic are not used: ")
        assert named in ended.err
        assert len(ended.err.splitlines()) == 1


@pytest.mark.parametrize("what", ["no home", "a cache that is a file"])
def test_no_cache_is_a_warning_at_most(process: Cli, tmp_path: Path, what: str) -> None:
    (tmp_path / "file").touch()
    env = {"HOME": "", "XDG_CACHE_HOME": "" if what == "no home" else str(tmp_path / "file")}
    ended = process("check", "--connect", env=env)
    assert ended.code == 0, ended.err
    assert len(ended.err.splitlines()) == 1
    assert "compiled code is not cached" in ended.err
    assert not [name for name in os.listdir() if name == ".cache"]  # noqa: PTH208
