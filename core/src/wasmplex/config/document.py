"""One parsed configuration file: its values and the line of every key, whatever it was written in."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from wasmplex.config.model import EnvRef, FileRef, KeyPath, Location, Table
from wasmplex.errors import Diagnostic
from wasmplex.escaping import escape

__all__ = ["Document", "Parsed", "assignment", "header", "quoted", "show", "spell", "table_lines"]

_BARE = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-")
_SHOWN = 60  # characters of a value that a message repeats


@dataclass(frozen=True)
class Parsed:
    """What a parser of one notation returns.

    :ivar values: nested dicts and lists of plain values
    :ivar lines: the line, from 1, of every key and array item
    :ivar problems: what was wrong without making the rest unreadable
    """

    values: dict[str, Any]
    lines: Mapping[KeyPath, int]
    problems: list[Diagnostic] = field(default_factory=list)


@dataclass(frozen=True)
class Document:
    """A parsed file under the name it is called by in messages."""

    file: str
    values: dict[str, Any]
    lines: Mapping[KeyPath, int]

    @cached_property
    def _children(self) -> Mapping[KeyPath, list[KeyPath]]:
        children: dict[KeyPath, list[KeyPath]] = {}
        for path in self.lines:
            children.setdefault(path[:-1], []).append(path)
        return children

    def _below(self, path: KeyPath) -> Iterator[KeyPath]:
        """Yield every path inside `path`."""
        for child in self._children.get(path, ()):
            yield child
            yield from self._below(child)

    def location(self, path: KeyPath) -> Location:
        """Return the place of `path`; its line is that of the nearest key outside it that has one."""
        known = path
        while known and known not in self.lines:
            known = known[:-1]
        return Location(self.file, self.lines.get(known, 1), spell(path))

    def value(self, path: KeyPath) -> Any:
        """Return what stands at `path`, None if nothing does."""
        value: Any = self.values
        for key in path:
            try:
                value = value[key]
            except (KeyError, IndexError, TypeError):
                return None
        return value

    def written(self, path: KeyPath) -> Any:
        """Return what stands at `path`, references turned into `EnvRef` and `FileRef`."""
        return _reference(self.value(path))

    def table(self, path: KeyPath) -> Table:
        """Return the table at `path`, references turned into `EnvRef` and `FileRef`; empty if it is none."""
        value = self.value(path)
        depth = len(path)
        locations = {at[depth:]: self.location(at) for at in self._below(path)}
        return Table(_referenced(value) if isinstance(value, dict) else {}, self.location(path), locations)


def _referenced(value: Any) -> Any:
    """Return `value` as it is, with references in the tables inside it replaced."""
    if isinstance(value, dict):
        return {key: _reference(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_reference(item) for item in value]
    return value


def _reference(value: Any) -> Any:
    match value:
        case {"env": str(name), **rest} if not rest:
            return EnvRef(name)
        case {"file": str(name), **rest} if not rest:
            return FileRef(Path(name))
        case _:
            return _referenced(value)


def quoted(text: str) -> str:
    """Return `text` as a quoted string that fits on one line."""
    return escape(json.dumps(text, ensure_ascii=False))


def spell(path: KeyPath) -> str:
    """Return a path as TOML spells it: ``workload.shop.default."wasi:keyvalue".interfaces[0]``."""
    text = ""
    for key in path:
        if isinstance(key, int):
            text += f"[{key}]"
            continue
        bare = bool(key) and _BARE.issuperset(key)
        text += ("." if text else "") + (key if bare else quoted(key))
    return text


def assignment(key: str, value: str, file: str) -> str:
    """Return the line that sets a key, in the notation of `file`."""
    return f"{spell((key,))}: {value}" if file.endswith((".yaml", ".yml")) else f"{spell((key,))} = {value}"


def header(path: KeyPath, file: str) -> str:
    """Return the line that begins a table, in the notation of `file`."""
    if file.endswith((".yaml", ".yml")):
        return f"{spell(path[-1:])}:"
    return f"[{spell(path)}]" if all(isinstance(key, str) for key in path) else ""


def table_lines(path: KeyPath, values: Mapping[str, str], file: str) -> list[str]:
    """Return the lines of a table with texts in it; in YAML they are those below ``workload.NAME``."""
    if not file.endswith((".yaml", ".yml")):
        return [header(path, file), *(assignment(key, quoted(value), file) for key, value in values.items())]
    keys = [*path[2:]]
    lines = [f"{'  ' * depth}{header((key,), file)}" for depth, key in enumerate(keys)]
    return lines + [
        f"{'  ' * len(keys)}{assignment(key, quoted(value), file)}" for key, value in values.items()
    ]


def show(value: Any) -> str:
    """Return a plain value for a message: as TOML writes it, shortened. Not for secrets."""
    match value:
        case dict():
            return "{...}" if value else "{}"
        case list():
            return "[...]" if value else "[]"
        case bool():
            return str(value).lower()
        case None:
            return "nothing"
        case str():
            text = quoted(value)
        case _:
            text = _number(value)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 4]}...{text[-1]}"


def _number(value: Any) -> str:
    try:
        return str(value)
    except ValueError:  # an int of more digits than Python is willing to print
        return "a number of thousands of digits"
