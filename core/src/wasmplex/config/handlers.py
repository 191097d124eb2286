"""wasmCloud's words for what calls a component: entries of ``host_interfaces`` for messaging and for HTTP.

wasmCloud says ``subscriptions``, ``consumer_group`` and ``max_in_flight`` where it says by which broker; here
that is a table of ``trigger.messaging``. It says ``host`` where it lists ``incoming-handler``; here that is a
table of ``trigger.http``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from wasmplex.config.model import BindingConfig, KeyPath, Location, Table
from wasmplex.settings import parse_count

__all__ = ["split_handlers"]

_PACKAGE, _HANDLER, _TRIGGER = "wasmcloud:messaging", "handler", "messaging"
_HTTP, _HTTP_TRIGGER = "wasi:http", "http"
_HTTP_HANDLERS = frozenset({"incoming-handler", "handler"})
_HOST, _ALIASES = "host", "host-aliases"
_BROADCAST = "broadcast"
_WORDS = {"subscriptions": "subjects", "consumer_group": "queue_group", "max_in_flight": "max_in_flight"}


def split_handlers(
    bindings: Iterable[BindingConfig], triggers: Mapping[str, tuple[Table, ...]]
) -> tuple[tuple[BindingConfig, ...], dict[str, tuple[Table, ...]]]:
    """Return the bindings without what is said of handlers, and the triggers with what that makes of them."""
    kept, found = _split_http([*bindings], triggers)
    kept, tables = _split_messaging(kept)
    if tables:
        found[_TRIGGER] = (*found.get(_TRIGGER, ()), *tables)
    return tuple(kept), found


def _split_http(
    bindings: list[BindingConfig], triggers: Mapping[str, tuple[Table, ...]]
) -> tuple[list[BindingConfig], dict[str, tuple[Table, ...]]]:
    kept: list[BindingConfig] = []
    tables: list[Table] = []
    for binding in bindings:
        granted = binding.interfaces or frozenset()
        if binding.package != _HTTP or binding.label is not None or granted.isdisjoint(_HTTP_HANDLERS):
            kept.append(binding)
            continue
        settings = binding.settings
        # A trigger that the configuration has itself is the one that is meant, unless the entry names a host.
        if _HTTP_TRIGGER not in triggers or _HOST in settings.values:
            tables += _http_tables(settings)
        rest = {key: value for key, value in settings.values.items() if key not in {_HOST, _ALIASES}}
        if rest:
            kept.append(replace(binding, interfaces=None, settings=replace(settings, values=rest)))
    found = dict(triggers)
    if tables:
        found[_HTTP_TRIGGER] = (*found.get(_HTTP_TRIGGER, ()), *tables)
    return kept, found


def _http_tables(settings: Table) -> list[Table]:
    """Return the tables of the trigger, one for each name of the host.

    wasmCloud takes a port in the host, which does not count.
    """
    aliases = settings.values.get(_ALIASES)
    named = [(_HOST, settings.values.get(_HOST))]
    named += [(_ALIASES, name.strip()) for name in str(aliases or "").split(",") if name.strip()]
    tables = []
    for key, host in named:
        bare = host.partition(":")[0] if isinstance(host, str) and not host.startswith("[") else host
        places: dict[KeyPath, Location] = {(_HOST,): settings.where(key)}
        tables.append(Table({} if bare is None else {_HOST: bare}, settings.location, places))
    return tables


def _split_messaging(bindings: list[BindingConfig]) -> tuple[list[BindingConfig], list[Table]]:
    kept: list[BindingConfig] = []
    tables: list[Table] = []
    for binding in bindings:
        granted, values = binding.interfaces, binding.settings.values
        handles = granted is not None and _HANDLER in granted
        if binding.package != _PACKAGE or not (handles or "subscriptions" in values):
            kept.append(binding)
            continue
        rest = {key: value for key, value in values.items() if key not in _WORDS}
        alone = granted == frozenset({_HANDLER})
        tables.append(_table(binding, alone, rest))
        if not alone:
            others = None if granted is None else granted - {_HANDLER}
            words = {theirs: (theirs, values.get(theirs)) for theirs in _WORDS}
            settings = replace(binding.settings, values=rest, words=words)
            kept.append(replace(binding, interfaces=others, settings=settings))
    return kept, tables


def _table(binding: BindingConfig, alone: bool, rest: dict[str, Any]) -> Table:
    """Return the table of the trigger.

    :param alone: the component imports nothing of the package: the table names the backend itself
    """
    settings = binding.settings
    said = {_WORDS[key]: value for key, value in settings.values.items() if key in _WORDS}
    if isinstance(subjects := said.get("subjects"), str):
        said["subjects"] = [subject.strip() for subject in subjects.split(",") if subject.strip()]
    if said.get("queue_group") == _BROADCAST:
        del said["queue_group"]
        said["broadcast"] = True
    if isinstance(most := said.get("max_in_flight"), str):
        said["max_in_flight"] = parse_count(most)
    if alone:
        said |= rest | ({} if binding.backend is None else {"backend": binding.backend})
    elif binding.label is not None:
        said["through"] = binding.label
    places: dict[KeyPath, Location] = {(ours,): settings.where(theirs) for theirs, ours in _WORDS.items()}
    words = {
        ours: (theirs, settings.values.get(theirs))
        for theirs, ours in _WORDS.items()
        if ours != theirs and ours not in rest
    }
    return Table(said, settings.location, {**settings.locations, **places}, words)
