"""Settings of the engine."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from wasmplex.errors import UsageError

__all__ = ["EngineSettings", "check_python", "default_cache_dir"]


@dataclass(frozen=True)
class EngineSettings:
    """How components are compiled and run.

    :ivar proposals: what `proposals.parse` returned; what is not named is as wasmtime has it by default
    :ivar cache_dir: where compiled components are kept; None for the user's cache directory
    :ivar use_cache: False to compile every time
    """

    proposals: Mapping[str, bool] = field(default_factory=dict)
    cache_dir: Path | None = None
    use_cache: bool = True


def default_cache_dir() -> Path:
    """Return the directory for compiled components below the user's cache directory."""
    if base := os.environ.get("XDG_CACHE_HOME"):
        return Path(base) / "wasmplex"
    if sys.platform == "win32" and (base := os.environ.get("LOCALAPPDATA")):
        return Path(base) / "wasmplex" / "cache"
    return Path.home() / ".cache" / "wasmplex"


def check_python(version: tuple[int, int, int], implementation: str) -> None:
    """Refuse a Python that guests cannot be run on.

    :raises UsageError: for one that is not CPython, and for CPython 3.14.0
    """
    shown = ".".join(map(str, version))
    if implementation != "cpython":
        raise UsageError(
            f"the engine does not run on {implementation} {shown}",
            why="it relies on CPython's ctypes and object layout", fix="use CPython 3.11 or newer",
        )  # fmt: skip
    if version == (3, 14, 0):
        raise UsageError(
            "the engine does not run on CPython 3.14.0",
            why="that release mistakes a guest's stack for an overflow of its own (python/cpython#139653)",
            fix="use CPython 3.11 to 3.13, or 3.14.1 or newer",
        )
