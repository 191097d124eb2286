"""Gives imports the labels that ``from`` asks for, in the shape; the host does it to the bytes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from wasmplex.component.shape import Import, InstanceType, Shape
from wasmplex.config.document import quoted
from wasmplex.config.model import BindingConfig
from wasmplex.errors import Diagnostic, PluginError, nearest
from wasmplex.plugins.registry import Registry
from wasmplex.routing.matching import same_track

__all__ = ["Relabelled", "relabel"]


@dataclass
class Relabelled:
    """A shape under its new labels.

    :ivar renames: import name to its label and the interface that it implements
    :ivar broken: labels and import names that could not be brought together, which has been reported;
        nothing more is to be said about them
    """

    shape: Shape
    renames: dict[str, tuple[str, str]] = field(default_factory=dict)
    broken: set[str] = field(default_factory=set)
    problems: list[Diagnostic] = field(default_factory=list)


def relabel(shape: Shape, bindings: Iterable[BindingConfig], registry: Registry) -> Relabelled:
    """Apply every ``from`` of a workload's bindings to a shape."""
    result = Relabelled(shape)
    taken = {import_.name for import_ in shape.imports}
    for binding in sorted(bindings, key=lambda b: b.settings.location.line):
        if binding.from_ is None or binding.label is None:
            continue
        found = _rename(binding, shape, taken, result.renames, registry)
        if isinstance(found, Diagnostic):
            result.problems.append(found)
            result.broken |= {binding.label, binding.from_}
        else:
            result.renames[binding.from_] = (binding.label, found)
            taken.add(binding.label)
    imports = tuple(_renamed(import_, result.renames) for import_ in shape.imports)
    result.shape = replace(shape, imports=imports)
    return result


def _renamed(import_: Import, renames: dict[str, tuple[str, str]]) -> Import:
    if import_.name not in renames:
        return import_
    label, interface = renames[import_.name]
    return Import(label, import_.type, implements=interface)


def _rename(
    binding: BindingConfig,
    shape: Shape,
    taken: set[str],
    renames: dict[str, tuple[str, str]],
    registry: Registry,
) -> str | Diagnostic:
    """Return the interface that the renamed import implements, or what is in the way."""
    assert binding.from_ is not None  # noqa: S101  the caller has looked
    where = str(binding.settings.where("from"))
    names = [i.name for i in shape.imports if i.label is None and isinstance(i.type, InstanceType)]
    if binding.from_ in renames:
        other = renames[binding.from_][0]
        return Diagnostic(f"{binding.from_} is given a second label", where, f"its first is {quoted(other)}")
    if binding.from_ not in names:
        return Diagnostic(
            f"the component has no import {quoted(binding.from_)} that could be given a label",
            where,
            fix=nearest(binding.from_, names),
        )
    if binding.label in taken:
        what = f"the component has an import {quoted(binding.label)} already"
        return Diagnostic(what, where, fix="choose another label")
    return _implemented(binding, registry)


def _implemented(binding: BindingConfig, registry: Registry) -> str | Diagnostic:
    where, label = str(binding.settings.location), quoted(binding.label or "")
    example = 'interface = "wasi:keyvalue/store@0.2.0-draft"'
    if binding.package is None:
        return Diagnostic(f"nothing says what the label {label} implements", where, fix=example)
    try:
        providers = registry.interfaces(binding.package)
    except PluginError as error:
        return replace(error.diagnostics[0], where=where)
    serving = [p for p in providers if binding.version is None or same_track(p.version, binding.version)]
    version = binding.version or (serving[0].version if len(serving) == 1 else "")
    named = sorted(binding.interfaces or ())
    if len(named) != 1 and len(serving) == 1:
        # What routes by resource cannot be a label's only interface: nothing would hand out its resources.
        named = sorted(serving[0].interfaces - serving[0].routes_by_resource)
    if len(named) != 1:
        return Diagnostic(
            f"which interface of {binding.package} the label {label} implements is open",
            where,
            f"{binding.package} has {', '.join(named)}" if named else "",
            f'interface = "{binding.package}/{named[0] if named else "..."}"',
        )
    return f"{binding.package}/{named[0]}" + (f"@{version}" if version else "")
