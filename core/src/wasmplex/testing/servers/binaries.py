"""Where the programs of the servers are."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
from pathlib import Path

__all__ = ["VARIABLE", "ServerMissing", "find"]

VARIABLE = "WASMPLEX_TEST_SERVERS"
"""Set to ``path``, it makes tests use the servers that are installed on the machine."""


class ServerMissing(Exception):
    """Raised when a server's program is nowhere to be found."""


def find(distribution: str, *programs: str) -> Path:
    """Return the first of `programs` that is there.

    :param distribution: the wheel that brings one of them
    :raises ServerMissing: if none is
    """
    if os.environ.get(VARIABLE) == "path":
        for program in programs:
            if found := shutil.which(program):
                return Path(found)
        raise ServerMissing(f"none of {', '.join(programs)} is on PATH; unset {VARIABLE} to use wheels")
    try:
        files = importlib.metadata.files(distribution) or ()
    except importlib.metadata.PackageNotFoundError:
        raise ServerMissing(f"{distribution} is not installed; pip install {distribution}") from None
    for file in files:
        if file.name in programs:
            return Path(str(file.locate())).resolve()
    raise ServerMissing(f"{distribution} has no {' or '.join(programs)} for this machine")
