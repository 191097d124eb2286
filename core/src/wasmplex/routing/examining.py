"""What is wrong with the tables of a workload that cannot be planned, for it was not read as a whole."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from wasmplex.component.shape import Shape
from wasmplex.config.model import BindingConfig, WorkloadConfig
from wasmplex.errors import Diagnostic, PluginError
from wasmplex.plugins.registry import Registry
from wasmplex.routing.backing import back
from wasmplex.routing.exports import Triggers
from wasmplex.routing.matching import interface_of
from wasmplex.routing.parting import is_parted

__all__ = ["examine"]


def examine(
    workload: WorkloadConfig, shape: Shape | None, registry: Registry, environ: Mapping[str, str], base: Path
) -> list[Diagnostic]:
    """Return what is wrong with the settings of triggers and backends, whoever is served by them.

    :param shape: the component's; None if it cannot be had
    """
    called = Triggers(workload.name, shape or Shape((), ()), registry, (), base, environ)
    called.examine(workload.triggers)
    problems = called.problems
    for binding in workload.bindings:
        try:
            problems += _settings(binding, shape, registry, environ, base)
        except PluginError:  # it is said when the workload can be planned
            continue
    return problems


def _settings(
    binding: BindingConfig, shape: Shape | None, registry: Registry, environ: Mapping[str, str], base: Path
) -> list[Diagnostic]:
    package = binding.package or _package(binding, shape)
    if package is None or binding.backend is None:
        return []
    for provider in registry.interfaces(package)[:1]:
        if provider.capability is not None and not is_parted(binding, provider):
            backend = registry.backend(binding.backend, provider.capability)
            origin = registry.origin(backend)
            table = binding.settings
            return back(table, provider.settings, binding.backend, backend, origin, base, environ)[1]
    return []


def _package(binding: BindingConfig, shape: Shape | None) -> str | None:
    """Return the package of the import with the label of a binding."""
    for import_ in shape.imports if shape is not None else ():
        if import_.label == binding.label and (interface := interface_of(import_)) is not None:
            return interface.package_name
    return None
