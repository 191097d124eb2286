"""Which triggers can call what a component exports, and a table for each that is right."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from wasmplex.component.shape import Export, Import, Shape
from wasmplex.config.fields import key_of
from wasmplex.errors import PluginError
from wasmplex.plugins.identity import Group
from wasmplex.plugins.registry import Registry
from wasmplex.plugins.triggers import OwnBackend, Source, Through, Trigger
from wasmplex.routing.lookalikes import some_backend
from wasmplex.routing.matching import interface_of

__all__ = ["Caller", "callers"]


@dataclass(frozen=True)
class Caller:
    """A trigger that can call a component.

    :ivar trigger: its name
    :ivar export: what it calls
    :ivar needs: the keys that its table must have
    :ivar values: an example of such a table
    """

    trigger: str
    export: str
    needs: tuple[str, ...]
    values: Mapping[str, Any]

    def line(self, file: str) -> str:
        """Return the line of a workload that has the trigger, in the notation of `file`."""
        yaml = file.endswith((".yaml", ".yml"))
        sign = ": " if yaml else " = "
        pairs = ", ".join(f"{key}{sign}{json.dumps(value)}" for key, value in self.values.items())
        table = f"{{ {pairs} }}" if pairs else "{}"
        return f"trigger: {{ {self.trigger}: {table} }}" if yaml else f"trigger.{self.trigger} = {table}"


def callers(shape: Shape, registry: Registry) -> list[Caller]:
    """Return the triggers that can call a component, those first that need no settings."""
    found = []
    for name in registry.names(Group.TRIGGERS):
        try:
            adapted = registry.export_adapter(name, shape)
            if adapted is None:
                continue
            found.append(_caller(registry.trigger(name), adapted[1], shape, registry))
        except PluginError:
            continue
    return sorted(found, key=lambda caller: bool(caller.needs))


def _caller(trigger: Trigger, export: Export, shape: Shape, registry: Registry) -> Caller:
    required = {
        key_of(name, field): field.examples[0] if field.examples else "..."
        for name, field in trigger.settings.model_fields.items()
        if field.is_required()
    }
    values = required | _whence(_source(trigger, required, export), trigger, shape, registry)
    return Caller(trigger.name, export.name, tuple(required), values)


def _source(trigger: Trigger, values: Mapping[str, Any], export: Export) -> Source | None:
    try:
        return trigger.source(trigger.settings.model_validate(values), export)
    except (Exception, SystemExit):  # noqa: BLE001  a plugin's own; it is only for an example
        return None


def _whence(source: Source | None, trigger: Trigger, shape: Shape, registry: Registry) -> dict[str, str]:
    """Return the key that says where the messages come from, if one has to."""
    if isinstance(source, OwnBackend) and not source.optional and trigger.capability is not None:
        return {"backend": some_backend(registry, trigger.capability)}
    if isinstance(source, Through) and source.label is None:
        labels = [import_.label for import_ in shape.imports if _is(import_, source.interface)]
        if labels and None not in labels:
            return {source.key: str(labels[0])}
    return {}


def _is(import_: Import, interface: str) -> bool:
    found = interface_of(import_)
    return found is not None and f"{found.package_name}/{found.interface}" == interface
