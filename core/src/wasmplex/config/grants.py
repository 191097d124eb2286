"""Reads what a component may see of the world: its environment and its directories."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from wasmplex.config.document import assignment, quoted
from wasmplex.config.model import EnvRef, FileRef, KeyPath, Table
from wasmplex.config.reading import Reader
from wasmplex.config.references import UNRESOLVED, describe
from wasmplex.config.sections import NESTED

__all__ = ["read_env", "read_files", "without_nested"]


def read_files(reader: Reader, path: KeyPath, table: Table) -> tuple[Path, dict[str, Path]]:
    """Return the paths that a component's table names, those that are not there reported."""
    values = reader.resolved(table)
    component, dirs = values.get("component"), values.get("dirs")
    return (
        reader.existing((*path, "component"), component, "file"),
        {
            guest: reader.existing((*path, "dirs", guest), host, "directory")
            for guest, host in (dirs.items() if isinstance(dirs, dict) else ())
        },
    )


def without_nested(table: Table) -> Table:
    """Return a component's table with those parts emptied that are read on their own."""
    values = dict(table.values)
    for key in values.keys() & {*NESTED}:
        if isinstance(values[key], (Mapping, EnvRef, FileRef, type(None))):  # a variable may be called env
            values[key] = {}
    if "hostInterfaces" in values:  # as Kubernetes manifests spell it
        values["host_interfaces"] = values.pop("hostInterfaces")
    if isinstance(values.get("host_interfaces"), list):
        values["host_interfaces"] = []
    return replace(table, values=values)


def read_env(reader: Reader, path: KeyPath) -> dict[str, str | EnvRef | FileRef]:
    """Return the environment of a component, its references unresolved: they are needed when it starts."""
    at = (*path, "env")
    found: dict[str, str | EnvRef | FileRef] = {}
    for name, value in reader.written_values(at):
        if not name or set(name) & {"=", "\0"}:
            reader.report((*at, name), f"{quoted(name)} cannot name an environment variable")
        elif isinstance(value, (str, EnvRef, FileRef)):
            found[name] = value
        elif value is not UNRESOLVED:
            fix = assignment(name, '"..."', reader.file) if isinstance(value, (int, float)) else ""
            reader.report((*at, name), f"{describe((name,), value, secret=True)} is not text", fix=fix)
    return found
