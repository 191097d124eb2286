"""Puts what stands beside this folder into the distribution: the plugin template, the WIT that is served."""

# ruff: noqa: INP001  (a script of the build, no module)
from __future__ import annotations

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

_FOLDERS = {"plugin-template": "wasmplex/cli/template", "wit": "wasmplex/wit/packages"}
"""Where each folder goes in a wheel; in an sdist it keeps its name."""
_LEFT_OUT = {"__pycache__", ".venv", "dist", "build"}


class FoldersHook(BuildHookInterface):
    """Adds the files of these folders; an editable installation reads them where they are."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add the files to what is built."""
        if version == "editable":
            return
        root = Path(self.root)
        for name, place in _FOLDERS.items():
            folder = next(path for path in (root / name, root.parent / name) if path.is_dir())  # sdist, clone
            target = place if self.target_name == "wheel" else name
            for file in sorted(folder.rglob("*")):
                path = file.relative_to(folder)
                if file.is_file() and not any(_is_left_out(part) for part in path.parts):
                    build_data["force_include"][str(file)] = f"{target}/{path.as_posix()}"


def _is_left_out(part: str) -> bool:
    return part in _LEFT_OUT or part.endswith(("_cache", ".egg-info", ".pyc")) or part == ".hypothesis"
