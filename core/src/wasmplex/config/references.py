"""``{ env = "NAME" }`` and ``{ file = "path" }``: resolving them, and saying where a value came from."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wasmplex.config.document import quoted, show, spell
from wasmplex.config.model import EnvRef, FileRef, KeyPath, Table
from wasmplex.errors import ConfigError, Diagnostic
from wasmplex.escaping import escape

__all__ = ["UNRESOLVED", "attempt", "describe", "refers_to_files", "resolve"]

_MAX_FILE = 2**20


class _Unresolved:
    """Stands where a reference could not be resolved, which has been reported already."""

    def __repr__(self) -> str:
        return "UNRESOLVED"


UNRESOLVED = _Unresolved()


def resolve(table: Table, base: Path, environ: Mapping[str, str]) -> dict[str, Any]:
    """Return the values of `table` with every reference replaced by what it refers to.

    :param base: the directory that the paths of ``{ file = ... }`` start from
    :raises ConfigError: a variable is not set or a file cannot be read; all of them are reported
    """
    values, problems = attempt(table, base, environ)
    if problems:
        raise ConfigError(problems)
    return values


def attempt(table: Table, base: Path, environ: Mapping[str, str]) -> tuple[dict[str, Any], list[Diagnostic]]:
    """Resolve what can be resolved, leave `UNRESOLVED` in the place of the rest, and say why."""
    problems: list[Diagnostic] = []

    def walk(value: Any, path: KeyPath) -> Any:
        match value:
            case Mapping():
                return {key: walk(item, (*path, key)) for key, item in value.items()}
            case list():
                return [walk(item, (*path, number)) for number, item in enumerate(value)]
            case EnvRef(name=name):
                found: str | Diagnostic = environ[name] if name in environ else _unset(name)
            case FileRef(path=file):
                found = _contents(base / file, file)
            case _:
                return value
        if isinstance(found, str):
            return found
        problems.append(Diagnostic(found.what, str(table.where(*path)), found.why, found.fix))
        return UNRESOLVED

    return {key: walk(item, (key,)) for key, item in table.values.items()}, problems


def refers_to_files(value: Any) -> bool:
    """Return whether there is a ``{ file = ... }`` in a table, however deep."""
    match value:
        case FileRef():
            return True
        case Mapping():
            return any(map(refers_to_files, value.values()))
        case list():
            return any(map(refers_to_files, value))
    return False


def _unset(name: str) -> Diagnostic:
    if not name:
        return Diagnostic("{ env = ... } names no environment variable", fix='{ env = "NAME" }')
    what = f"the environment variable {name} is not set"
    return Diagnostic(what, fix=f"export {name}=...")


def _contents(path: Path, written: Path) -> str | Diagnostic:
    what = f"the file {quoted(str(written))} cannot be read"
    try:
        # A pipe would be waited for, until somebody writes to it.
        with open(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK), "rb") as file:  # noqa: PTH123
            mode = os.fstat(file.fileno()).st_mode
            if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
                return Diagnostic(what, why="it is not a file that can be read again", fix=f"check {path}")
            data = file.read(_MAX_FILE + 1)
        text = data.decode()
    except OSError as error:
        return Diagnostic(what, why=(error.strerror or type(error).__name__).lower(), fix=f"check {path}")
    except UnicodeDecodeError:
        return Diagnostic(what, why="it is not UTF-8 text")
    except ValueError:
        return Diagnostic(what, why="its path holds a NUL character")
    if len(data) > _MAX_FILE:
        return Diagnostic(what, why=f"it is larger than {_MAX_FILE} bytes")
    return text.removesuffix("\n").removesuffix("\r") if text.endswith("\n") else text


def describe(path: KeyPath, written: Any, *, secret: bool = False) -> str:
    """Return the subject of a sentence about a value: ``timeout = "soon"``, or where it came from.

    :param written: the value as the file has it, a reference included
    :param secret: True if nothing of it may be shown
    """
    name = spell(path[-2:] if isinstance(path[-1], int) else path[-1:])
    match written:
        case EnvRef(name=variable):
            return f"{name}, from the environment variable {escape(variable)},"
        case FileRef(path=file):
            return f"{name}, from the file {quoted(str(file))},"
        case _ if secret:
            return name
        case _:
            return f"{name} = {show(written)}"
