"""The host.toml that a component needs, as far as its types and the plugins there are tell."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from wasmplex.component.shape import Import, InstanceType, Shape
from wasmplex.config.document import assignment, header, quoted, table_lines
from wasmplex.errors import PluginError
from wasmplex.plugins.contracts import InterfaceProvider
from wasmplex.plugins.registry import Registry
from wasmplex.routing.callers import Caller, callers
from wasmplex.routing.lookalikes import lookalikes, some_backend
from wasmplex.routing.matching import has_functions, interface_of
from wasmplex.routing.resources import takes_only_resources
from wasmplex.wit.names import InterfaceId

__all__ = ["Draft", "draft"]

_FILE = "host.toml"  # the notation
_LISTEN = "127.0.0.1:8080"


@dataclass(frozen=True)
class Draft:
    """A configuration for one component.

    :ivar workload: its name
    :ivar text: of a ``host.toml``
    :ivar backends: the backend that each import has in it, by label, or by package without one
    :ivar triggers: the triggers that it has
    :ivar others: those that need settings before they can call the component, for `text` has them commented
    :ivar shape: the component's
    """

    workload: str
    text: str
    backends: dict[str, str]
    triggers: tuple[str, ...]
    others: tuple[Caller, ...]
    shape: Shape = field(repr=False)


def draft(shape: Shape, component: str, registry: Registry) -> Draft:
    """Return the configuration that a component needs.

    Imports that need a backend have ``memory`` where there is one for them; every trigger is there that can
    call the component and need not be told anything.

    :param component: its path, relative to the configuration
    """
    name = _workload_name(component)
    found = callers(shape, registry)
    triggers = [caller.trigger for caller in found if not caller.needs]
    others = [caller for caller in found if caller.needs]
    blocks = [[header(("workload", name), _FILE), assignment("component", quoted(component), _FILE)]]
    blocks[0] += [f"{'# ' if caller.needs else ''}{caller.line(_FILE)}" for caller in found]
    if "http" in triggers:
        blocks.insert(0, [header(("http",), _FILE), assignment("listen", quoted(_LISTEN), _FILE)])
    backends: dict[str, str] = {}
    for path, values in _tables(shape, registry):
        if path[-1] not in backends:
            backends[path[-1]] = values.get("backend", "")
            blocks.append(table_lines(("workload", name, *path), values, _FILE))
    text = "\n\n".join("\n".join(block) for block in blocks) + "\n"
    named = {key: backend for key, backend in backends.items() if backend}
    return Draft(name, text, named, tuple(triggers), tuple(others), shape)


def _workload_name(component: str) -> str:
    """Return a name for a workload, after the file of its component."""
    stem = component.replace("\\", "/").rpartition("/")[2].removesuffix(".wasm")
    return re.sub(r"[^A-Za-z0-9]+", "-", stem).strip("-")[:63].strip("-") or "app"


def _tables(shape: Shape, registry: Registry) -> Iterator[tuple[tuple[str, str], dict[str, str]]]:
    """Yield the path inside the workload, and the keys, of each binding that is needed."""
    taken = {import_.name for import_ in shape.imports}
    for import_ in shape.imports:
        interface = interface_of(import_)
        if interface is None or not has_functions(import_) or not isinstance(import_.type, InstanceType):
            continue
        provider = _provider(interface, registry)
        if provider is not None:
            if table := _served(import_, import_.type, interface, provider, registry):
                yield table
        elif import_.label is None and (found := lookalikes(import_.type, registry)):
            label = _free(interface.interface, taken)
            taken.add(label)
            values = {"from": import_.name, "interface": found[0].interface}
            yield ("import", label), values | _backend(found[0].provider, registry)


def _provider(interface: InterfaceId, registry: Registry) -> InterfaceProvider | None:
    try:
        return registry.interface(interface.package_name, interface.version)
    except PluginError:
        return None


def _served(
    import_: Import,
    type_: InstanceType,
    interface: InterfaceId,
    provider: InterfaceProvider,
    registry: Registry,
) -> tuple[tuple[str, str], dict[str, str]] | None:
    if import_.label is not None:
        return ("import", import_.label), _backend(provider, registry)
    by_resource = interface.interface in provider.routes_by_resource and takes_only_resources(type_)
    if provider.capability is None or by_resource:
        return None
    return ("default", interface.package_name), _backend(provider, registry)


def _backend(provider: InterfaceProvider, registry: Registry) -> dict[str, str]:
    if provider.capability is None:
        return {}
    return {"backend": some_backend(registry, provider.capability)}


def _free(label: str, taken: set[str]) -> str:
    """Return a label that nothing else has."""
    number = 2
    free = label
    while free in taken:
        free, number = f"{label}-{number}", number + 1
    return free
