"""How much memory there is for a process in a container."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from wasmplex import machine


def groups(folder: Path, **files: str) -> Path:
    for path, text in files.items():
        file = folder / path.replace("__", "/").replace("_DOT_", ".")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return folder


@pytest.mark.parametrize(
    ("process", "files", "expected"),
    [
        ("0::/a/b\n", {"a__memory_DOT_max": "1000\n", "a__b__memory_DOT_max": "max\n"}, 1000),
        ("0::/a/b\n", {"memory_DOT_max": "3000", "a__b__memory_DOT_max": "2000"}, 2000),
        ("1:cpu:/x\n2:memory,hugetlb:/y\n", {"memory__y__memory.limit_in_bytes": "4000\n"}, 4000),
        ("0::/\n", {}, sys.maxsize),
        ("nonsense\n", {}, sys.maxsize),
    ],
)
def test_the_least_of_all_limits_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, process: str, files: dict[str, str], expected: int
) -> None:
    monkeypatch.setattr(machine, "_physical", lambda: sys.maxsize)
    (tmp_path / "cgroup").write_text(process)
    assert machine.memory(groups(tmp_path / "groups", **files), tmp_path / "cgroup") == expected


def test_this_machine_has_some() -> None:
    assert 2**24 < machine.memory() <= sys.maxsize


def test_without_control_groups_it_is_the_machines(tmp_path: Path) -> None:
    assert machine.memory(tmp_path, tmp_path / "none") == machine._physical()
