"""wasmCloud's words for who is called with messages: in the entry of ``host_interfaces`` for messaging.

wasmCloud says ``subscriptions``, ``consumer_group`` and ``max_in_flight`` where it says by which broker; here
that is a table of ``trigger.messaging``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from wasmplex.config.model import BindingConfig, KeyPath, Location, Table

__all__ = ["TRIGGER", "split_handlers"]

PACKAGE, HANDLER, TRIGGER = "wasmcloud:messaging", "handler", "messaging"
_BROADCAST = "broadcast"
_WORDS = {"subscriptions": "subjects", "consumer_group": "queue_group", "max_in_flight": "max_in_flight"}


def split_handlers(
    bindings: Iterable[BindingConfig],
) -> tuple[tuple[BindingConfig, ...], tuple[Table, ...]]:
    """Return the bindings without what is said of handlers, and the tables of the trigger that this makes."""
    kept: list[BindingConfig] = []
    tables: list[Table] = []
    for binding in bindings:
        granted, values = binding.interfaces, binding.settings.values
        handles = granted is not None and HANDLER in granted
        if binding.package != PACKAGE or not (handles or "subscriptions" in values):
            kept.append(binding)
            continue
        rest = {key: value for key, value in values.items() if key not in _WORDS}
        alone = granted == frozenset({HANDLER})
        tables.append(_table(binding, alone, rest))
        if not alone:
            others = None if granted is None else granted - {HANDLER}
            kept.append(replace(binding, interfaces=others, settings=replace(binding.settings, values=rest)))
    return tuple(kept), tuple(tables)


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
    if isinstance(most := said.get("max_in_flight"), str) and most.isdecimal():
        said["max_in_flight"] = int(most)
    if alone:
        said |= rest | ({} if binding.backend is None else {"backend": binding.backend})
    elif binding.label is not None:
        said["through"] = binding.label
    places: dict[KeyPath, Location] = {(ours,): settings.where(theirs) for theirs, ours in _WORDS.items()}
    return Table(said, settings.location, {**settings.locations, **places})
