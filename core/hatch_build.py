"""Puts the plugin template, which stands beside this folder, into the distribution that offers it."""

# ruff: noqa: INP001  (a script of the build, no module)
from __future__ import annotations

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

_PLACES = {"wheel": "wasmplex/cli/template", "sdist": "plugin-template"}
_LEFT_OUT = {"__pycache__", ".venv", "dist", "build"}


class TemplateHook(BuildHookInterface):
    """Adds the template's files; an editable installation reads them where they are."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add the files to what is built."""
        if version == "editable":
            return
        root = Path(self.root)
        places = (root / "plugin-template", root.parent / "plugin-template")  # of an sdist, of a clone
        template = next(place for place in places if place.is_dir())
        for file in sorted(template.rglob("*")):
            path = file.relative_to(template)
            if file.is_file() and not any(_is_left_out(part) for part in path.parts):
                build_data["force_include"][str(file)] = f"{_PLACES[self.target_name]}/{path.as_posix()}"


def _is_left_out(part: str) -> bool:
    return part in _LEFT_OUT or part.endswith(("_cache", ".egg-info", ".pyc")) or part == ".hypothesis"
