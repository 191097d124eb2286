"""What the operating system knows of this process, under the names that Prometheus has for that."""

from __future__ import annotations

import os
import platform
import sys
import time
from importlib.metadata import version
from pathlib import Path

from wasmplex.metrics.families import Family

__all__ = ["of_build", "of_process"]

_PROC = Path("/proc/self")


def of_build() -> Family:
    """Return which version this is."""
    found = Family(
        "wasmplex_build_info", "gauge", "1, for the version of wasmplex and of Python.", ("version", "python")
    )
    return found.add((version("wasmplex"), platform.python_version()), 1)


def of_process() -> list[Family]:
    """Return CPU time and blocks of memory, and on Linux resident memory and descriptors too.

    Resident memory says what the system has given; the blocks say what of it Python has a use for.
    """
    blocks = sys.getallocatedblocks()
    seconds = time.process_time()
    found = [
        Family("process_cpu_seconds", "counter", "CPU time, of user and system.").add((), seconds),
        Family("python_allocated_blocks", "gauge", "Blocks of memory that Python uses.").add((), blocks),
    ]
    try:
        pages = int((_PROC / "statm").read_text().split()[1])
        descriptors = len(os.listdir(_PROC / "fd"))  # noqa: PTH208  no paths are wanted
    except OSError:
        return found
    resident = pages * os.sysconf("SC_PAGE_SIZE")
    return [
        *found,
        Family("process_resident_memory_bytes", "gauge", "Memory that is in RAM.").add((), resident),
        Family("process_open_fds", "gauge", "Open file descriptors.").add((), descriptors),
    ]
