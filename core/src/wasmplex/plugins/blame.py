"""Finds the plugin that a piece of code belongs to: by its file, the innermost one that is any plugin's."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import FrameType, TracebackType

from wasmplex.plugins.identity import PluginIdentity

__all__ = ["blamed", "files_of_frames", "files_of_traceback", "root_of"]

_HOST = Path(__file__).parents[1]


def root_of(plugin: object) -> str:
    """Return the directory of a plugin's top-level package (with a separator at its end), or its one file.

    Empty if it has none, as what is typed into an interpreter has not.
    """
    name = getattr(plugin, "__name__", "") if hasattr(plugin, "__file__") else type(plugin).__module__
    top = sys.modules.get(name.partition(".")[0]) or sys.modules.get(name)
    file = getattr(top, "__file__", None)
    if not file:
        return ""
    path = Path(file)
    if path.is_relative_to(_HOST):  # an object that a class of the host itself made
        return ""
    return f"{path.parent}/" if path.name == "__init__.py" else str(path)


def blamed(files: Iterable[str], owners: Mapping[str, PluginIdentity]) -> PluginIdentity | None:
    """Return whose file comes first.

    :param files: the innermost first
    :param owners: what `root_of` said of each plugin
    """
    for file in files:
        for root, identity in owners.items():
            if file == root or (root.endswith("/") and file.startswith(root)):
                return identity
    return None


def files_of_traceback(error: BaseException | None) -> Iterator[str]:
    """Return the files that an exception came through, the innermost first, then those of its cause."""
    while error is not None:
        files: list[str] = []
        traceback: TracebackType | None = error.__traceback__
        while traceback is not None:
            files.append(traceback.tb_frame.f_code.co_filename)
            traceback = traceback.tb_next
        yield from reversed(files)
        error = error.__cause__


def files_of_frames(frame: FrameType | None) -> Iterator[str]:
    """Return the files of a stack, the innermost first."""
    while frame is not None:
        yield frame.f_code.co_filename
        frame = frame.f_back
