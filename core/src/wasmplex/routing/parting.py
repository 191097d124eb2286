"""Settles a binding that has a backend for each name that guests open, instead of one for all.

.. code-block:: toml

    [workload.shop.default."wasi:keyvalue"]
    buckets.cache = "memory"
    buckets.store = { backend = "redis", url = { env = "REDIS" } }

What is said of a name is said as in a binding of its own; what is not said there, the binding says.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from wasmplex.config.document import assignment, quoted
from wasmplex.config.fields import names_at
from wasmplex.config.model import BindingConfig, KeyPath, Location, Table
from wasmplex.config.references import attempt
from wasmplex.errors import Diagnostic, PluginError, nearest
from wasmplex.plugins.contracts import InterfaceProvider
from wasmplex.plugins.registry import Registry
from wasmplex.routing.backing import back, placed
from wasmplex.routing.lookalikes import some_backend
from wasmplex.routing.plan import RoutePart
from wasmplex.routing.settings import SplitSettings, split
from wasmplex.settings import Settings

__all__ = ["Parted", "is_parted", "part"]

_BACKEND, _NAMESPACE = "backend", "namespace"


class Parted(NamedTuple):
    """A binding in parts.

    :ivar settings: those of the binding itself
    """

    settings: SplitSettings
    parts: dict[str, RoutePart]


def is_parted(binding: BindingConfig, provider: InterfaceProvider) -> bool:
    """Return whether a binding has a backend for each name."""
    key = provider.backends_in
    return key is not None and isinstance(binding.settings.values.get(key), Mapping)


def part(
    binding: BindingConfig,
    provider: InterfaceProvider,
    namespace: str,
    registry: Registry,
    base: Path,
    environ: Mapping[str, str],
) -> tuple[Parted | None, list[Diagnostic]]:
    """Return the parts of a binding, or what is wrong with them.

    :param namespace: where what guests store is kept, if the binding does not say so
    """
    key = provider.backends_in or ""
    problems: list[Diagnostic] = []
    if binding.backend is not None:
        problems.append(_two_ways(binding, key))
    outer = _without(binding.settings, key)
    settings, found = split(outer, provider.settings, Settings, base, environ)
    problems += found
    names = binding.settings.sub(key)
    if not names.values:
        problems.append(_no_names(binding, key))
    parts: dict[str, RoutePart] = {}
    for name in names.values:
        table = _own(names, name)
        made, found = _part(table, outer, name, provider, registry, base, environ)
        problems += [problem for problem in found if problem not in problems]
        if made is not None:
            kept = made.namespace or (settings.namespace if settings else None) or namespace
            parts[name] = replace(made, namespace=kept)
    if problems or settings is None:
        return None, problems
    return Parted(settings, parts), []


def _part(
    table: Table,
    outer: Table,
    name: str,
    provider: InterfaceProvider,
    registry: Registry,
    base: Path,
    environ: Mapping[str, str],
) -> tuple[RoutePart | None, list[Diagnostic]]:
    """Return the part for one name; its namespace is empty where its table says none."""
    key = provider.backends_in or ""
    if key in table.values:
        known = names_at(provider.settings, ()) - {key} | {_BACKEND}
        return None, [
            Diagnostic(f"unknown key {quoted(key)}", str(table.where(key)), fix=nearest(key, known))
        ]
    resolved, problems = attempt(_only(table, _BACKEND), base, environ)
    if problems:
        return None, problems
    selector = resolved.get(_BACKEND)
    if not isinstance(selector, str) or not selector.strip():
        example = some_backend(registry, provider.capability or "")
        return None, [_no_backend(table, key, name, example)]
    try:
        backend = registry.backend(selector, provider.capability or "")
    except PluginError as error:
        return None, placed(error, str(table.where(_BACKEND)))
    ours = names_at(provider.settings, ()) - {_NAMESPACE}
    shared = {name: value for name, value in outer.values.items() if name in ours}
    whole = _inherited(_without(table, _BACKEND), replace(outer, values=shared))
    origin = registry.origin(backend)
    bound, problems = back(whole, provider.settings, selector, backend, origin, base, environ)
    if bound is None:
        return None, problems
    return RoutePart(bound[1], bound[0].interface, bound[0].namespace or ""), []


def _own(names: Table, name: str) -> Table:
    """Return the table of a name; one that is text names a backend that needs no more."""
    value = names.values[name]
    if isinstance(value, Mapping):
        return names.sub(name)
    return Table({_BACKEND: value}, names.where(name))


def _inherited(table: Table, outer: Table) -> Table:
    """Return a table with what stands around it, where it says nothing itself."""
    more = {key: value for key, value in outer.values.items() if key not in table.values}
    places: dict[KeyPath, Location] = {
        path: place for path, place in outer.locations.items() if path and path[0] in more
    }
    return Table({**more, **table.values}, table.location, {**places, **table.locations})


def _without(table: Table, key: str) -> Table:
    return replace(table, values={name: value for name, value in table.values.items() if name != key})


def _only(table: Table, key: str) -> Table:
    return replace(table, values={name: value for name, value in table.values.items() if name == key})


def _two_ways(binding: BindingConfig, key: str) -> Diagnostic:
    return Diagnostic(
        f"the binding names a backend for everything, and {key} one for each",
        str(binding.settings.where(_BACKEND)),
        f"nothing would reach {binding.backend}",
        f"remove the line backend = ..., or write {key} as a list of names",
    )


def _no_names(binding: BindingConfig, key: str) -> Diagnostic:
    where = binding.settings.where(key)
    what = f"{key} is empty: nothing could be opened"
    return Diagnostic(what, str(where), fix=f"remove the line {key} = ...")


def _no_backend(table: Table, key: str, name: str, example: str) -> Diagnostic:
    file = table.location.file
    what = f"{key}.{name} names no backend"
    return Diagnostic(what, str(table.location), fix=assignment(_BACKEND, quoted(example), file))
