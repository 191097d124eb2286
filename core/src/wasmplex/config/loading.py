"""Reads a configuration file into a `HostConfig`, or says everything that is wrong with it."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from wasmplex.config.bindings import read_bindings
from wasmplex.config.document import Document, quoted
from wasmplex.config.fields import names_at
from wasmplex.config.grants import read_env, read_files, without_nested
from wasmplex.config.handlers import split_handlers
from wasmplex.config.middleware import read_middleware, without_middleware
from wasmplex.config.model import (
    AdminConfig,
    BackendsConfig,
    EngineConfig,
    HostConfig,
    InstancesConfig,
    KeyPath,
    LogConfig,
    Table,
    WorkloadConfig,
)
from wasmplex.config.reading import Reader
from wasmplex.config.sections import (
    AdminSection,
    EngineSection,
    HostSection,
    LogSection,
    PluginsSection,
    WorkloadSection,
    check_workload_name,
)
from wasmplex.config.source import find, read
from wasmplex.config.validation import likely
from wasmplex.errors import ConfigError, Diagnostic, nearest
from wasmplex.settings import Settings

__all__ = ["load", "loads", "unknown_triggers"]

S = TypeVar("S", bound=Settings)

_CORE = ("host", "engine", "log", "admin", "plugins", "workload")


def load(
    path: Path,
    environ: Mapping[str, str] = os.environ,
    *,
    triggers: Collection[str] | None = None,
    partial: bool = False,
) -> HostConfig:
    """Read a TOML or YAML file.

    :param path: the file, or a directory with a ``host.toml``, ``host.yaml`` or ``host.yml`` in it
    :param environ: what ``{ env = ... }`` refers to
    :param triggers: the names of the triggers there are; any other top-level table is an error then.
        Without it, see `unknown_triggers`
    :param partial: whether what is wrong with keys and values is returned as `HostConfig.problems`, for
        `wasmplex.assembly.assemble` to raise with all that it finds itself
    :raises ConfigError: it cannot be read, or says what it should not; all that is wrong with it at once
    """
    file = find(Path(path))
    document, problems = read(file)
    return _loaded(document, problems, file, environ, triggers, partial=partial)


def loads(text: str, path: Path, *, name: str, environ: Mapping[str, str] = os.environ) -> HostConfig:
    """Read the text of a TOML file that is nowhere on disk.

    :param path: what it was made for; relative paths start in its directory
    :param name: what messages call the file
    :raises ConfigError: it says what it should not
    """
    from wasmplex.config import toml

    parsed = toml.parse(text, name)
    return _loaded(Document(name, parsed.values, parsed.lines), parsed.problems, path, environ, None)


def _loaded(
    document: Document,
    problems: list[Diagnostic],
    file: Path,
    environ: Mapping[str, str],
    triggers: Collection[str] | None,
    *,
    partial: bool = False,
) -> HostConfig:
    reader = Reader(document, file.absolute().parent, environ)
    reader.problems += problems
    config = _host(reader, file)
    if triggers is not None:
        reader.problems += unknown_triggers(config, triggers)
    if reader.problems and (problems or not partial):
        raise ConfigError(reader.sorted_problems())
    return replace(config, problems=tuple(reader.sorted_problems()))


def unknown_triggers(config: HostConfig, known: Collection[str]) -> list[Diagnostic]:
    """Return a diagnostic for each top-level table that is neither the host's nor one of a known trigger."""
    return [
        Diagnostic(f"unknown table {quoted(name)}", str(table.location), fix=nearest(name, {*_CORE, *known}))
        for name, table in config.triggers.items()
        if name not in known
    ]


def _host(reader: Reader, file: Path) -> HostConfig:
    host = _own(reader, ("host",), HostSection) or HostSection()
    engine = _own(reader, ("engine",), EngineSection) or EngineSection()
    log = _own(reader, ("log",), LogSection) or LogSection()
    admin = _own(reader, ("admin",), AdminSection) if "admin" in reader.keys(()) else None
    return HostConfig(
        path=file.absolute(),
        name=host.name,
        memory=host.memory,
        engine=EngineConfig(
            wasm_proposals=tuple(engine.wasm_proposals),
            cache=reader.path(engine.cache) if engine.cache else None,
            transport=engine.transport,
            optimize=engine.optimize,
        ),
        backends=BackendsConfig(idle_ttl=host.backend_idle_ttl, max_idle=host.backend_max_idle),
        log=LogConfig(format=log.format, level=log.level),
        admin=None if admin is None else AdminConfig(admin.listen),
        plugins=_plugins(reader),
        triggers=_host_triggers(reader),
        workloads=_workloads(reader),
    )


def _own(reader: Reader, path: KeyPath, model: type[S]) -> S | None:
    table = reader.table(path)
    return None if table is None else reader.section(table, model)


def _plugins(reader: Reader) -> tuple[Path, ...]:
    root = reader.root()
    own = replace(root, values={key: value for key, value in root.values.items() if key == "plugins"})
    reader.section(own, PluginsSection)
    names = reader.resolved(own).get("plugins")
    return tuple(
        reader.existing(("plugins", number), name, "file")
        for number, name in enumerate(names if isinstance(names, list) else ())
    )


def _host_triggers(reader: Reader) -> dict[str, Table]:
    tables = {}
    for name in reader.keys(()):
        if name in _CORE:
            continue
        if reader.is_table((name,)):
            tables[name] = reader.table((name,)) or Table()
        else:
            reader.report((name,), f"unknown key {quoted(name)}", fix=nearest(name, _CORE))
    return tables


def _workloads(reader: Reader) -> dict[str, WorkloadConfig]:
    if reader.table(("workload",)) is None:
        return {}
    found = {name: _workload(reader, name) for name in reader.keys(("workload",))}
    return {name: workload for name, workload in found.items() if workload is not None}


def _workload(reader: Reader, name: str) -> WorkloadConfig | None:
    path: KeyPath = ("workload", name)
    reader.check_name(path, "workload name", check_workload_name)
    table = reader.table(path)
    if table is None:
        return None
    written = without_nested(table)
    section = reader.section(written, WorkloadSection)
    component, dirs = read_files(reader, path, table)
    if section is None:  # nobody will run it: it is planned to find what else is wrong
        section = likely(WorkloadSection.model_construct(component=""), reader.resolved(written))
        component = component if "component" in table.values else reader.path(section.component)
    env = read_env(reader, path)
    before = len(reader.problems)
    bindings, triggers = split_handlers(read_bindings(reader, path), _triggers(reader, path))
    whole = len(reader.problems) == before and not _may_lose_bindings(table)
    return WorkloadConfig(
        name=name,
        component=component,
        location=table.location,
        env=env,
        args=tuple(section.args),
        dirs=dirs,
        network=section.network,
        allowed_hosts=tuple(section.allowed_hosts),
        limits=section.limits,
        instances=InstancesConfig(**section.instances.model_dump(exclude_none=True)),
        optimize=section.optimize,
        triggers=without_middleware(triggers),
        middleware=tuple(replace(m, limits=section.limits) for m in read_middleware(reader, path)),
        bindings=bindings,
        table=table,
        whole=whole,
    )


def _may_lose_bindings(table: Table) -> bool:
    """Say whether there are tables or lists under keys that do not exist: bindings may be among them."""
    lost = table.values.keys() - names_at(WorkloadSection, ()) - {"hostInterfaces"}
    return any(isinstance(table.values[key], (Mapping, list)) for key in lost)


def _triggers(reader: Reader, path: KeyPath) -> dict[str, tuple[Table, ...]]:
    at = (*path, "trigger")
    return {name: reader.tables((*at, name)) for name in reader.keys(at)}
