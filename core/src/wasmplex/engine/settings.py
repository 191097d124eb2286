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


def default_cache_dir() -> Path | None:
    """Return the directory for compiled components below the user's cache directory; None without a home.

    A relative ``XDG_CACHE_HOME`` does not count, as the XDG Base Directory Specification has it; nor does a
    relative home, for what is found there depends on where the command is typed.
    """
    if (base := _absolute(os.environ.get("XDG_CACHE_HOME"))) is not None:
        return base / "wasmplex"
    if sys.platform == "win32" and (base := _absolute(os.environ.get("LOCALAPPDATA"))) is not None:
        return base / "wasmplex" / "cache"
    if os.environ.get("HOME") == "":  # expanduser would take the root directory for it
        return None
    try:
        home = _absolute(str(Path.home()))
    except (RuntimeError, KeyError):  # no HOME, and no such user: a container with a user of its own
        return None
    return None if home is None else home / ".cache" / "wasmplex"


def _absolute(text: str | None) -> Path | None:
    return Path(text) if text and Path(text).is_absolute() else None


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
