"""A ``host.toml`` in the making: workloads with their tables, and what could not be said in it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from wasmplex.config.model import EnvRef, KeyPath
from wasmplex.escaping import escape

__all__ = ["FRESH", "Imported", "WorkloadDraft", "workload_name"]

FRESH = (
    "instances.reuse = 1: each call gets an instance of its own, as there; calls are faster without this line"
)
_UNPRINTABLE = re.compile(r"[\x7f-\x9f\xad\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]")


@dataclass
class WorkloadDraft:
    """One workload.

    :ivar component: the component's file, relative to the manifest
    :ivar keys: what stands in its own table
    :ivar tables: its other tables, by their path inside it, ``("import", "cache")``
    :ivar triggers: the tables of each trigger
    """

    name: str
    component: str
    keys: dict[str, Any] = field(default_factory=dict)
    tables: dict[KeyPath, dict[str, Any]] = field(default_factory=dict)
    triggers: dict[str, list[dict[str, Any]]] = field(default_factory=dict)


@dataclass
class Imported:
    """What a manifest became.

    :ivar source: what it was, for the first line
    :ivar notes: what has no counterpart, and what has one that is not the same
    """

    source: str
    workloads: list[WorkloadDraft] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def note(self, text: str) -> None:
        """Say something once."""
        if text not in self.notes:
            self.notes.append(text)

    def text(self, listen: str = "127.0.0.1:8080") -> str:
        """Return the text of a ``host.toml``."""
        blocks = [[f"# Made by `wasmplex import` from {escape(self.source)}.", *_comments(self.notes)]]
        if any("http" in workload.triggers for workload in self.workloads):
            blocks.append([_header("http"), _line("listen", listen)])
        for workload in self.workloads:
            blocks += _workload_blocks(workload)
        return "\n\n".join("\n".join(block) for block in blocks) + "\n"


def workload_name(text: str, taken: Iterable[str]) -> str:
    """Return a name for a workload that is like a text, and that no other has."""
    base = re.sub(r"[^A-Za-z0-9_-]+", "-", text).strip("-_")[:60].strip("-_") or "app"
    names, number, name = {*taken}, 2, base
    while name in names:
        name, number = f"{base}-{number}", number + 1
    return name


def _comments(notes: Iterable[str]) -> list[str]:
    lines = [f"# - {escape(note)}" for note in notes]
    return ["#", "# What is not the same here:", *lines] if lines else []


def _workload_blocks(workload: WorkloadDraft) -> list[list[str]]:
    path: KeyPath = ("workload", workload.name)
    own = [_header(*path), _line("component", workload.component)]
    own += [_line(key, value) for key, value in workload.keys.items()]
    for name, tables in workload.triggers.items():
        value = tables[0] if len(tables) == 1 else tables
        own.append(f"trigger.{_key(name)} = {_value(value)}")
    blocks = [own]
    for below, values in workload.tables.items():
        plain = {key: value for key, value in values.items() if not _is_nested(value)}
        lines = [_header(*path, *below), *(_line(key, value) for key, value in plain.items())]
        if plain or len(plain) == len(values):
            blocks.append(lines)
        blocks += [
            [_header(*path, *below, key), *(_line(name, item) for name, item in value.items())]
            for key, value in values.items()
            if _is_nested(value)
        ]
    return blocks


def _is_nested(value: Any) -> bool:
    """Say whether a table is one of tables, which gets a header of its own."""
    return isinstance(value, Mapping) and any(isinstance(item, Mapping) for item in value.values())


def _header(*path: str | int) -> str:
    return f"[{'.'.join(_key(str(key)) for key in path)}]"


def _line(key: str, value: Any) -> str:
    return f"{_key(key)} = {_value(value)}"


def _value(value: Any) -> str:
    match value:
        case bool():
            return str(value).lower()
        case int() | float():
            return str(value)
        case EnvRef(name=name):
            return f"{{ env = {_string(name)} }}"
        case Mapping():
            inner = ", ".join(f"{_key(key)} = {_value(item)}" for key, item in value.items())
            return f"{{ {inner} }}" if inner else "{}"
        case list() | tuple():
            return f"[{', '.join(map(_value, value))}]"
    return _string(str(value))


def _key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else _string(key)


def _string(text: str) -> str:
    """Return a text as TOML has it: JSON's escapes, and those of what no terminal should be sent."""
    return _UNPRINTABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", json.dumps(text, ensure_ascii=False))
