"""Entries of wasmCloud's ``hostInterfaces``: each becomes a binding, a trigger, or nothing at all."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from wasmplex.component.shape import Shape
from wasmplex.config.model import KeyPath
from wasmplex.migration.drafts import Imported, WorkloadDraft
from wasmplex.migration.secrets import without_credentials
from wasmplex.migration.shapes import exports_of, imports_of, labels_of
from wasmplex.settings import parse_count

__all__ = ["Entry", "add_entry", "is_binding", "is_needed"]

_HTTP = "wasi:http"
_HANDLERS = ("incoming-handler", "handler")
_MESSAGING = "wasmcloud:messaging"
_BACKED = frozenset({"keyvalue", "blobstore", "postgres", "messaging"})
"""Packages that need a backend, of whichever namespace."""
_BACKENDS = {"in-memory": "memory", **{name: name for name in ("filesystem", "redis", "nats", "postgres")}}
_UNSERVED = frozenset({"config", "logging", "otel"})
_HANDLING = {"subscriptions": "subjects", "consumer_group": "queue_group", "max_in_flight": "max_in_flight"}


class Entry(NamedTuple):
    """One of them.

    :ivar package: ``wasi:keyvalue``
    :ivar name: the label, empty for the default of the package
    :ivar config: texts, and references to secrets
    """

    package: str
    interfaces: Collection[str]
    version: str
    name: str
    config: Mapping[str, Any]


def add_entry(entry: Entry, draft: WorkloadDraft, shape: Shape | None, result: Imported) -> None:
    """Add what an entry that is needed becomes.

    :param shape: the component's, if it is there: what it does not need is left out
    """
    kind = _kind(entry)
    if entry.package == _HTTP:
        _add_http(entry, draft, result)
    elif kind not in _BACKED:
        _add_plain(entry, result)
    elif _is_handler(entry):
        _add_handler(entry, draft, shape, result)
    else:
        _add_binding(entry, draft, result)


def is_needed(entry: Entry, shape: Shape | None) -> bool:
    """Say whether a component needs an entry, whatever its configuration; one that is not there may."""
    if entry.package == _HTTP:
        handles = any(name in entry.interfaces for name in _HANDLERS)
        return handles and _exports(shape, *(f"{_HTTP}/{name}" for name in _HANDLERS))
    if _is_handler(entry):
        return _exports(shape, f"{_MESSAGING}/handler")
    return not is_binding(entry) or shape is None or _is_imported(entry, shape)


def is_binding(entry: Entry) -> bool:
    """Say whether an entry becomes the binding of an import."""
    return _kind(entry) in _BACKED and not _is_handler(entry)


def _kind(entry: Entry) -> str:
    return entry.package.partition(":")[2]


def _is_handler(entry: Entry) -> bool:
    return entry.package == _MESSAGING and "handler" in entry.interfaces


def _add_http(entry: Entry, draft: WorkloadDraft, result: Imported) -> None:
    names = [str(entry.config.get("host", "")), *str(entry.config.get("host-aliases", "")).split(",")]
    hosts = [host for name in names if (host := name.strip().partition(":")[0])]
    draft.triggers.setdefault("http", []).extend([{"host": host} for host in hosts] or [{}])
    _left_over(entry, {"host", "host-aliases"}, result)


def _add_plain(entry: Entry, result: Imported) -> None:
    namespace, _, kind = entry.package.partition(":")
    if namespace == "wasi" and kind not in _UNSERVED:
        return  # it needs no binding
    result.note(f"{entry.package} is not served by wasmplex itself; a plugin may serve it")


def _add_handler(entry: Entry, draft: WorkloadDraft, shape: Shape | None, result: Imported) -> None:
    """Add a trigger, and a binding if the component imports the package as well."""
    table: dict[str, Any] = {
        ours: entry.config[theirs] for theirs, ours in _HANDLING.items() if theirs in entry.config
    }
    if isinstance(subjects := table.get("subjects"), str):
        table["subjects"] = [subject.strip() for subject in subjects.split(",") if subject.strip()]
    if table.get("queue_group") == "broadcast":
        del table["queue_group"]
        table["broadcast"] = True
    if isinstance(most := table.get("max_in_flight"), str):
        table["max_in_flight"] = parse_count(most)
    rest = {key: value for key, value in entry.config.items() if key not in _HANDLING}
    others = frozenset(entry.interfaces) - {"handler", "types"}
    path, values = _binding(entry._replace(config=rest), draft, result)
    if (shape is None and others) or (shape is not None and f"{_MESSAGING}/consumer" in imports_of(shape)):
        draft.tables[path] = values
        if entry.name:
            table["through"] = entry.name
    else:
        table |= {key: value for key, value in values.items() if key != "version"}
    draft.triggers.setdefault("messaging", []).append(table)


def _add_binding(entry: Entry, draft: WorkloadDraft, result: Imported) -> None:
    path, values = _binding(entry, draft, result)
    if path in draft.tables:
        result.note(
            f"there are two entries for {entry.name or entry.package} in {draft.name}: the first is taken"
        )
        return
    draft.tables[path] = values


def _binding(entry: Entry, draft: WorkloadDraft, result: Imported) -> tuple[KeyPath, dict[str, Any]]:
    path: KeyPath = ("import", entry.name) if entry.name else ("default", entry.package)
    values: dict[str, Any] = {"version": entry.version} if entry.version else {}
    kind, said = entry.package.partition(":")[2], entry.config.get("backend")
    backend = _backend(kind, said, entry, draft, result)
    values["backend"] = backend
    for key, value in entry.config.items():
        if key == "backend":
            continue
        if key == "root" and backend in {"sqlite", "filesystem"}:
            values["path"] = f"{value}/keyvalue.db" if backend == "sqlite" else value
        elif key == "url" and backend != "memory":
            values |= without_credentials({"url": value}, f"{draft.name}_{entry.name or kind}", result)
        elif key == "database" and backend == "postgres":
            values["database"] = value
        elif key == "prefix" and backend == "redis":
            values["namespace"] = value
            result.note(
                f"prefix of {_name(entry)} is its namespace here; what was written with it is not found"
            )
        elif key == "buckets" and isinstance(value, str):
            values["containers" if kind == "blobstore" else "buckets"] = value.split(",")
        elif key == "read_only" and kind == "blobstore":
            values["read_only"] = value in {True, "true"}
        else:
            result.note(f"{key} of {_name(entry)} has no counterpart")
    return path, values


def _backend(kind: str, said: Any, entry: Entry, draft: WorkloadDraft, result: Imported) -> str:
    if said is None and kind == "postgres":
        return "postgres"
    if said is None and kind == "messaging":
        return "nats"
    if said is None:
        result.note(f"{_name(entry)} names no backend: it was the host's own, and is memory here")
        return "memory"
    found = _BACKENDS.get(str(said))
    if found is None:
        result.note(f"backend {said} of {_name(entry)} is not known here: there may be a plugin for it")
        return str(said)
    if (kind, found) == ("keyvalue", "filesystem"):
        result.note(f"backend filesystem of {_name(entry)} is sqlite here; it does not read those files")
        return "sqlite"
    return found


def _left_over(entry: Entry, known: Collection[str], result: Imported) -> None:
    for key in entry.config:
        if key not in known:
            result.note(f"{key} of {_name(entry)} has no counterpart")


def _name(entry: Entry) -> str:
    return entry.name or entry.package


def _is_imported(entry: Entry, shape: Shape) -> bool:
    if entry.name:
        return entry.name in labels_of(shape)
    return any(name.startswith(f"{entry.package}/") for name in imports_of(shape))


def _exports(shape: Shape | None, *names: str) -> bool:
    """Say whether a component exports one of some interfaces; one that is not there may."""
    return shape is None or not exports_of(shape).isdisjoint(names)
