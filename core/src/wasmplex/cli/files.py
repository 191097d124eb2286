"""Reading and writing component files for the commands that take one."""

from __future__ import annotations

import os
import shlex
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from wasmplex.errors import ComponentError, UsageError, nearest_file

__all__ = ["about", "read_component", "write_file"]


@contextmanager
def about(path: Path) -> Iterator[None]:
    """Have what is wrong with a component say in which file it is."""
    try:
        yield
    except ComponentError as error:
        placed = [replace(d, where=", ".join(filter(None, (str(path), d.where)))) for d in error.diagnostics]
        raise ComponentError(placed) from None


def read_component(path: Path) -> bytes:
    """Return the bytes of a file, or what comes through a pipe.

    :raises ComponentError: it cannot be read, or is a device, which may have no end
    """
    try:
        if path.is_char_device():
            raise ComponentError(f"{path} cannot be read", why="it is a device")
        return path.read_bytes()
    except (OSError, ValueError) as error:
        why = error.strerror or type(error).__name__ if isinstance(error, OSError) else "not a path"
        raise ComponentError(f"{path} cannot be read", why=why.lower(), fix=_similar(path)) from None


def _similar(path: Path) -> str:
    try:
        names = [item.name for item in path.parent.iterdir() if item.suffix == ".wasm"]
    except (OSError, ValueError):
        return ""
    hint = nearest_file(path.name, names)
    return hint if hint.startswith("did you") else ""


def write_file(path: Path, data: bytes) -> None:
    """Write a file as a whole or not at all.

    :raises UsageError: it cannot be written
    """
    temporary = None
    try:
        mode = path.stat().st_mode & 0o777 if path.exists() else 0o666 & ~_umask()
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
            temporary = Path(file.name)
            file.write(data)
        temporary.chmod(mode)
        temporary.replace(path)
    except (OSError, ValueError) as error:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
        why = error.strerror or type(error).__name__ if isinstance(error, OSError) else "not a path"
        fix = f"mkdir -p {shlex.quote(str(path.parent))}" if isinstance(error, FileNotFoundError) else ""
        raise UsageError(f"{path} cannot be written", why=why.lower(), fix=fix) from None


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
