"""Imports that nobody serves because ``from`` was forgotten: each looks like an interface that is served.

Toolchains that know no labels are given an interface of another name for each label, a stand-in with the same
functions. That this is what an import is can be told from its functions.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from wasmplex.component.shape import Import, InstanceType, Shape
from wasmplex.config.document import assignment, quoted, table_lines
from wasmplex.config.model import BindingConfig, WorkloadConfig
from wasmplex.errors import Diagnostic, PluginError
from wasmplex.plugins.contracts import InterfaceProvider
from wasmplex.plugins.identity import Group
from wasmplex.plugins.registry import Registry
from wasmplex.routing.matching import has_functions, interface_of
from wasmplex.routing.signatures import alike
from wasmplex.wit.names import InterfaceId
from wasmplex.wit.source import WitInterface

__all__ = ["Lookalike", "StandIns", "lookalikes", "some_backend", "stand_ins", "wit_of"]


@dataclass(frozen=True)
class Lookalike:
    """An interface that is served, and that an import looks like.

    :ivar interface: its id with a version
    """

    interface: str
    provider: InterfaceProvider


@dataclass
class StandIns:
    """Imports without a ``from`` that need one.

    :ivar names: their names, and the labels of bindings that were meant for them; nothing more is to be said
        about either
    """

    names: set[str] = field(default_factory=set)
    problems: list[Diagnostic] = field(default_factory=list)


def wit_of(provider: InterfaceProvider, interface: str) -> WitInterface | None:
    """Return what a provider says of an interface; None if that is nothing, or fails."""
    try:
        package = provider.wit()
        return None if package is None else package.interfaces.get(interface)
    except (Exception, SystemExit):  # noqa: BLE001  it is for a comparison that can be done without
        return None


def lookalikes(type_: InstanceType, registry: Registry) -> list[Lookalike]:
    """Return the interfaces that could serve an import under a label, by its functions."""
    found = []
    for package in registry.names(Group.INTERFACES):
        try:
            providers = registry.interfaces(package)
        except PluginError:  # it is only for a hint
            continue
        for provider in providers:
            for name in sorted(provider.interfaces - provider.routes_by_resource):
                wit = wit_of(provider, name)
                if wit is not None and alike(type_, wit):
                    version = f"@{provider.version}" if provider.version else ""
                    found.append(Lookalike(f"{package}/{name}{version}", provider))
    return found


def stand_ins(shape: Shape, workload: WorkloadConfig, registry: Registry) -> StandIns:
    """Find the imports that are stand-ins, and say how each is given its label."""
    result = StandIns()
    packages = registry.names(Group.INTERFACES)
    for import_ in shape.imports:
        interface = interface_of(import_)
        if import_.label is not None or interface is None or interface.package_name in packages:
            continue
        if has_functions(import_) and isinstance(import_.type, InstanceType):
            found = lookalikes(import_.type, registry)
            if found:
                _report(import_, interface, found[0], workload, registry, result)
    return result


def some_backend(registry: Registry, capability: str) -> str:
    """Return the name of a backend to write into an example: ``memory`` if there is one."""
    names = registry.names(Group.BACKENDS)
    for name in sorted(names, key=lambda name: (name != "memory", name)):
        try:
            registry.backend(name, capability)
        except PluginError:
            continue
        return name
    return "memory"


def _report(
    import_: Import,
    interface: InterfaceId,
    found: Lookalike,
    workload: WorkloadConfig,
    registry: Registry,
    result: StandIns,
) -> None:
    labels = {binding.label: binding for binding in workload.bindings if binding.label is not None}
    label, binding = interface.interface, labels.get(interface.interface)
    values = {"from": import_.name, "interface": found.interface}
    if found.provider.capability is not None and (binding is None or binding.backend is None):
        values["backend"] = some_backend(registry, found.provider.capability)
    path, location = ("workload", workload.name, "import", label), workload.location
    lines, fix = table_lines(path, values, location.file), f"add to {location.file or 'the configuration'}:"
    if binding is not None and binding.from_ is None:
        location = binding.settings.location
        lines, fix = _missing(binding, values, location.file), f"add to the binding of {quoted(label)}:"
    result.names |= {import_.name, label}
    result.problems.append(
        Diagnostic(
            f"nobody serves the import {import_.name}, and no binding says what it stands for",
            str(location),
            f"it has the functions of {found.interface}: a stand-in, for a toolchain that knows no labels",
            fix,
            tuple(lines),
        )
    )


def _missing(binding: BindingConfig, values: dict[str, str], file: str) -> list[str]:
    """Return the lines that a binding lacks."""
    said = {"interface"} if binding.package else set()
    return [assignment(key, quoted(value), file) for key, value in values.items() if key not in said]
