"""What the machine has for this process: of a container, if it runs in one."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

__all__ = ["memory"]

_GROUPS = Path("/sys/fs/cgroup")


def memory(groups: Path = _GROUPS, process: Path = Path("/proc/self/cgroup")) -> int:
    """Return how many bytes of memory this process may use; more than there can be if nobody knows.

    :param groups: where the control groups of Linux are
    :param process: the file that says which of them this process is in
    """
    return min([_physical(), *_limits(groups, process)])


def _physical() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # Windows has no sysconf
        return sys.maxsize


def _limits(groups: Path, process: Path) -> Iterator[int]:
    """Yield the limits of the process's control group and of those around it, version 2 and 1."""
    try:
        lines = process.read_text().splitlines()
    except OSError:
        return
    for _, controllers, path in (line.split(":", 2) for line in lines if line.count(":") >= 2):
        if not controllers:
            base, name = groups, "memory.max"
        elif "memory" in controllers.split(","):
            base, name = groups / "memory", "memory.limit_in_bytes"
        else:
            continue
        inner = base / path.lstrip("/")
        for folder in (inner, *inner.parents):
            if not folder.is_relative_to(base):
                break
            try:
                yield int((folder / name).read_text())
            except (OSError, ValueError):  # none, or "max"
                continue
