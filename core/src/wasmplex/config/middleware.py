"""Reads ``middleware`` of ``trigger.http``: what stands in front of a workload, each with its own grants."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from wasmplex.config.bindings import read_bindings
from wasmplex.config.grants import read_env, read_files, without_nested
from wasmplex.config.model import KeyPath, Table, WorkloadConfig
from wasmplex.config.reading import Reader
from wasmplex.config.references import describe
from wasmplex.config.sections import MiddlewareSection

__all__ = ["read_middleware", "without_middleware"]

_TRIGGER: Final = "http"
_KEY: Final = "middleware"
_MOST: Final = 32
"""Components of a chain: each takes its time to start, and wasmtime takes a thousand modules in all."""


def read_middleware(reader: Reader, path: KeyPath) -> tuple[WorkloadConfig, ...]:
    """Return what stands in front of the workload at `path`; what is wrong with it goes to the reader."""
    chains = [*_chains(reader, (*path, "trigger", _TRIGGER))]
    chains = [chain for chain in chains if isinstance(reader.value(chain), (list, type(None)))]
    values = [reader.value(chain) for chain in chains]  # of others the trigger says what is wrong
    for chain, value in zip(chains, values, strict=True):
        if _normal(value) != _normal(values[0]):
            reader.report(
                chain,
                "the tables of one workload name different middleware",
                why="its instances are composed with it once, whichever route a request came by",
                fix="write the same in each table, or make a second workload of the component",
            )
            return ()
    named = next((c for c, value in zip(chains, values, strict=True) if isinstance(value, list)), None)
    if named is None:
        return ()
    if len(reader.value(named)) > _MOST:
        reader.report(named, f"there are more than {_MOST} components in the chain")
        return ()
    return tuple(_chain(reader, named, str(path[-1])))


def _normal(value: object) -> object:
    """Return a chain as it is compared: a file is a table that names it, and none is an empty one."""
    if not isinstance(value, list):
        return []
    return [{"component": entry} if isinstance(entry, str) else entry for entry in value]


def without_middleware(triggers: Mapping[str, tuple[Table, ...]]) -> dict[str, tuple[Table, ...]]:
    """Return the tables of triggers as the triggers see them."""
    return {
        name: tuple(_without(table) for table in tables) if name == _TRIGGER else tables
        for name, tables in triggers.items()
    }


def _without(table: Table) -> Table:
    if not isinstance(table.values.get(_KEY), list):
        return table  # the trigger says what is wrong with it
    return replace(table, values={key: value for key, value in table.values.items() if key != _KEY})


def _chains(reader: Reader, path: KeyPath) -> Iterator[KeyPath]:
    """Yield where the tables of the trigger say what stands in front; one that says nothing counts."""
    value = reader.value(path)
    places = [(*path, number) for number in range(len(value))] if isinstance(value, list) else [path]
    return ((*place, _KEY) for place in places if isinstance(reader.value(place), dict))


def _chain(reader: Reader, path: KeyPath, workload: str) -> Iterator[WorkloadConfig]:
    entries = reader.value(path)
    names = Counter[str]()
    for number, entry in enumerate(entries if isinstance(entries, list) else ()):
        stem = _stem(entry)
        names[stem] += 1
        same = f"-{names[stem]}" if names[stem] > 1 else ""
        place, name = (*path, number), f"{workload}/{stem}{same}"
        if isinstance(entry, str) and (not entry.strip() or "\0" in entry):
            wrong = "hold a NUL character" if entry.strip() else "be empty"
            reader.report(place, f"{describe(place, entry)} must not {wrong}", fix='"auth.wasm"')
        elif isinstance(entry, str):
            location = reader.root().where(*place)
            table = Table({"component": entry}, location)
            yield WorkloadConfig(name, reader.existing(place, entry, "file"), location, table=table)
        elif isinstance(entry, dict):
            yield from _granted(reader, place, name)
        else:
            fix = '"auth.wasm", or a table with its grants'
            reader.report(place, f"{describe(place, entry)} is no component", fix=fix)


def _stem(entry: object) -> str:
    """Return what a middleware is called: after its file, so that its data stay its own anywhere."""
    component = entry.get("component") if isinstance(entry, dict) else entry
    return re.sub(r"[^\w.-]", "-", Path(component).stem, flags=re.ASCII) if isinstance(component, str) else ""


def _granted(reader: Reader, path: KeyPath, name: str) -> Iterator[WorkloadConfig]:
    """Yield a middleware that has a table, if that can be read."""
    table = reader.table(path)
    section = None if table is None else reader.section(without_nested(table), MiddlewareSection)
    if table is None or section is None:
        return
    component, dirs = read_files(reader, path, table)
    yield WorkloadConfig(
        name=name,
        component=component,
        location=table.location,
        env=read_env(reader, path),
        args=tuple(section.args),
        dirs=dirs,
        network=section.network,
        allowed_hosts=tuple(section.allowed_hosts),
        bindings=read_bindings(reader, path),
        table=table,
    )
