"""Reads a workload's bindings: ``import.<label>``, ``default."<package>"`` and ``host_interfaces``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from wasmplex.config.document import assignment, header, quoted
from wasmplex.config.model import BindingConfig, KeyPath, Table
from wasmplex.config.reading import Reader
from wasmplex.config.sections import BindingSection, HostInterfaceSection, check_label, check_package
from wasmplex.errors import Diagnostic, nearest

__all__ = ["read_bindings"]

_OWN = ("interface", "version", "interfaces", "backend", "from")
_CONFIG = ("backend", "from")
"""What an entry of ``host_interfaces`` has no key for: it stands in its ``config``."""
_INDIRECT = {"configFrom": "config", "secretFrom": "config"}
_WASMCLOUD_BACKENDS = {"in-memory": "memory"}


def read_bindings(reader: Reader, path: KeyPath) -> tuple[BindingConfig, ...]:
    """Return the bindings of the workload at `path`; what is wrong with them goes to the reader."""
    found = [_labelled(reader, (*path, "import", label)) for label in reader.keys((*path, "import"))]
    found += [_default(reader, (*path, "default", name)) for name in reader.keys((*path, "default"))]
    for key in ("host_interfaces", "hostInterfaces"):
        entries = reader.value((*path, key))
        count = len(entries) if isinstance(entries, list) else 0
        found += [_host_interface(reader, (*path, key, number)) for number in range(count)]
    return tuple(binding for binding in found if binding is not None)


def _labelled(reader: Reader, path: KeyPath) -> BindingConfig | None:
    label = str(path[-1])
    if ":" in label:
        package = label.partition("@")[0].partition("/")[0]
        reader.report(
            path,
            f"{quoted(label)} is an interface, not a label",
            why="import has the labelled imports only",
            fix=header((*path[:-2], "default", package), reader.file),
        )
        return None
    reader.check_name(path, "label", check_label)
    return _binding(reader, path, label, None)


def _default(reader: Reader, path: KeyPath) -> BindingConfig | None:
    package = str(path[-1])
    reader.check_name(path, "key", check_package)
    return _binding(reader, path, None, package)


def _binding(reader: Reader, path: KeyPath, label: str | None, package: str | None) -> BindingConfig | None:
    table = reader.table(path)
    if table is None:
        return None
    own = replace(table, values={key: value for key, value in table.values.items() if key in _OWN})
    settings = replace(table, values={key: value for key, value in table.values.items() if key not in _OWN})
    section = reader.section(own, BindingSection)
    if "backend" not in own.values:
        _report_misspelt_backend(reader, settings)
    if section is None:
        return None
    named, interfaces, version = _interface(section.interface)
    if package and named and named != package:
        reader.report(
            (*path, "interface"), f"interface = {quoted(named)} is not the package {quoted(package)}"
        )
    if version and section.version and version != section.version:
        reader.report(
            (*path, "version"), f"interface says {quoted(version)}, version {quoted(section.version)}"
        )
    if package and section.from_:
        reader.report(
            (*path, "from"), "from belongs to a label", why="an unlabelled import is found by its own name"
        )
    return BindingConfig(
        label=label,
        package=package or named,
        version=section.version or version,
        interfaces=interfaces if section.interfaces is None else frozenset(section.interfaces),
        backend=section.backend,
        from_=section.from_,
        settings=settings,
    )


def _report_misspelt_backend(reader: Reader, settings: Table) -> None:
    """Report a key that is nearly ``backend``: without a backend, nobody would check the table."""
    for key in settings.values:
        if "did you" in nearest(key, ["backend"]):
            place = str(settings.where(key))
            reader.problems.append(
                Diagnostic(f"unknown key {quoted(key)}", place, fix=nearest(key, ["backend"]))
            )


def _interface(text: str | None) -> tuple[str | None, frozenset[str] | None, str | None]:
    """Take ``wasi:keyvalue/store@0.2.0`` apart into package, interfaces and version."""
    name, _, version = (text or "").partition("@")
    package, _, interface = name.partition("/")
    return package or None, frozenset({interface}) if interface else None, version or None


def _host_interface(reader: Reader, path: KeyPath) -> BindingConfig | None:
    table = reader.table(path)
    if table is None:
        return None
    table = _without_indirect(reader, path, table)
    config = table.values.get("config")
    entry = replace(
        table, values={**table.values, "config": {}} if isinstance(config, dict) else table.values
    )
    section = reader.section(entry, HostInterfaceSection)
    backend = reader.section(_only(table.sub("config"), *_CONFIG), BindingSection)
    if section is None or backend is None:
        return None
    return BindingConfig(
        label=section.name,
        package=f"{section.namespace}:{section.package}",
        version=section.version,
        interfaces=frozenset(section.interfaces) or None,
        backend=_WASMCLOUD_BACKENDS.get(backend.backend or "", backend.backend),
        from_=backend.from_,
        settings=_settings(table),
    )


def _only(table: Table, *keys: str) -> Table:
    return replace(table, values={name: value for name, value in table.values.items() if name in keys})


def _without_indirect(reader: Reader, path: KeyPath, table: Table) -> Table:
    """Report ``configFrom`` and ``secretFrom``, which name objects of a cluster that is not here."""
    for key in _INDIRECT.keys() & table.values.keys():
        reader.report(
            (*path, key), f"{key} is not supported", why="it names an object of a Kubernetes cluster",
            fix=assignment("config", '{ url = { env = "NAME" } }', reader.file),
        )  # fmt: skip
    return replace(table, values={key: item for key, item in table.values.items() if key not in _INDIRECT})


def _settings(table: Table) -> Table:
    """Return the entry's ``config`` without what is the host's own, at the place of the entry."""
    config = table.sub("config")
    values: Mapping[str, Any] = {key: value for key, value in config.values.items() if key not in _CONFIG}
    return Table(values, table.location, {**table.locations, **config.locations})
