"""Reads ``middleware`` of ``trigger.http``: what stands in front of a workload, each with its own grants."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
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


def read_middleware(reader: Reader, path: KeyPath) -> tuple[WorkloadConfig, ...]:
    """Return what stands in front of the workload at `path`; what is wrong with it goes to the reader."""
    chains = [*_chains(reader, (*path, "trigger", _TRIGGER))]
    values = [reader.value(chain) for chain in chains]
    for chain, value in zip(chains, values, strict=True):
        if value != values[0]:
            reader.report(
                chain,
                "the tables of one workload name different middleware",
                why="its instances are composed with it once, whichever route a request came by",
                fix="write the same in each table, or make a second workload of the component",
            )
            return ()
    return () if not chains else tuple(_chain(reader, chains[0], str(path[-1])))


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
    for number, entry in enumerate(entries if isinstance(entries, list) else ()):
        place, name = (*path, number), f"{workload}/middleware-{number + 1}"
        if isinstance(entry, str):
            location = reader.root().where(*place)
            table = Table({"component": entry}, location)
            yield WorkloadConfig(name, reader.existing(place, entry, "file"), location, table=table)
        elif isinstance(entry, dict):
            yield from _granted(reader, place, name)
        else:
            fix = '"auth.wasm", or a table with its grants'
            reader.report(place, f"{describe(place, entry)} is no component", fix=fix)


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
