"""Which binding serves which import: labels, unlabelled defaults, duplicates. Knows no plugins."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from itertools import combinations

from wasmplex.component.shape import Export, Import, InstanceType
from wasmplex.config.document import quoted
from wasmplex.config.model import BindingConfig
from wasmplex.errors import Diagnostic, nearest
from wasmplex.wit.names import InterfaceId, track

__all__ = ["Matches", "fits", "has_functions", "interface_of", "match", "same_track"]


@dataclass
class Matches:
    """Who belongs to whom, by the names of imports.

    :ivar bindings: the binding of each import that has one
    :ivar mismatched: labelled imports whose binding is for something else, or misspells the label; that has
        been reported
    :ivar problems: everything that is wrong
    """

    bindings: dict[str, BindingConfig] = field(default_factory=dict)
    mismatched: set[str] = field(default_factory=set)
    problems: list[Diagnostic] = field(default_factory=list)


def has_functions(import_: Import) -> bool:
    """Return whether there is anything to serve; types alone belong to no label."""
    return isinstance(import_.type, InstanceType) and bool(import_.type.functions)


def interface_of(extern: Import | Export) -> InterfaceId | None:
    """Return the interface id of an import or export with its full version; None for a plain name."""
    name = extern.interface
    if extern.version_suffix and "@" in name:
        name = (InterfaceId.try_parse(name + extern.version_suffix) and name + extern.version_suffix) or name
    return InterfaceId.try_parse(name)


def same_track(one: str | None, other: str | None) -> bool:
    """Return whether two versions are one track; what is no version equals only itself."""
    try:
        return track(one) == track(other)
    except ValueError:
        return one == other


def fits(binding: BindingConfig, interface: InterfaceId) -> bool:
    """Return whether what a binding says of package and version is true of an interface."""
    if binding.package is not None and binding.package != interface.package_name:
        return False
    return binding.version is None or same_track(binding.version, interface.version)


def match(imports: Iterable[Import], exports: Iterable[Export], bindings: Iterable[BindingConfig]) -> Matches:
    """Give every import the binding that its label, or its package, leads to.

    A label matches by itself only, whatever defaults there are. An import without a label takes the one
    unlabelled binding of its ``namespace:package``. A binding that nothing uses is reported.
    """
    matches = Matches()
    # By their place: of two that are one too many, the one that stands higher up counts, in every message.
    imports, bindings = list(imports), sorted(bindings, key=_place)
    labelled, defaults = _by_label(bindings), _by_package(bindings)
    matches.problems += _duplicate_labels(labelled) + _duplicate_defaults(defaults)
    used: set[int] = set()
    for import_ in imports:
        interface = interface_of(import_)
        if interface is None:
            continue
        if import_.label is not None:
            _match_label(import_, interface, labelled.get(import_.label, []), matches, used)
        elif has_functions(import_) and (found := defaults.get(interface.package_name)):
            _match_default(import_, interface, found, matches)
            used.update(id(binding) for binding in found)
    exported = [interface for export in exports if (interface := interface_of(export))]
    unused = [b for b in bindings if id(b) not in used and not _is_for_export(b, exported)]
    matches.mismatched |= _misspelt(unused, imports, matches.bindings)
    matches.problems += [_unused(binding, imports) for binding in unused]
    return matches


def _by_label(bindings: Iterable[BindingConfig]) -> dict[str, list[BindingConfig]]:
    found: dict[str, list[BindingConfig]] = {}
    for binding in bindings:
        if binding.label is not None:
            found.setdefault(binding.label, []).append(binding)
    return found


def _by_package(bindings: Iterable[BindingConfig]) -> dict[str, list[BindingConfig]]:
    found: dict[str, list[BindingConfig]] = {}
    for binding in bindings:
        if binding.label is None:
            found.setdefault(binding.package or "", []).append(binding)
    return found


def _match_label(
    import_: Import,
    interface: InterfaceId,
    candidates: list[BindingConfig],
    matches: Matches,
    used: set[int],
) -> None:
    fitting = [binding for binding in candidates if fits(binding, interface)]
    if fitting:  # more than one is a duplicate, reported as such
        matches.bindings[import_.name] = fitting[0]
        used.update(id(binding) for binding in fitting)
    elif candidates:
        matches.mismatched.add(import_.name)
        used.update(id(binding) for binding in candidates)
        matches.problems += [_mismatch(binding, import_, interface) for binding in candidates]


def _match_default(
    import_: Import, interface: InterfaceId, candidates: list[BindingConfig], matches: Matches
) -> None:
    binding = candidates[0]
    if fits(binding, interface):
        matches.bindings[import_.name] = binding
    else:
        matches.mismatched.add(import_.name)
        matches.problems.append(_mismatch(binding, import_, interface))


def _mismatch(binding: BindingConfig, import_: Import, interface: InterfaceId) -> Diagnostic:
    subject = f"label {quoted(import_.label)}" if import_.label else f"import {import_.name}"
    if binding.package is not None and binding.package != interface.package_name:
        return Diagnostic(
            f"{subject} is {interface}, not {binding.package}",
            str(binding.settings.where("interface")),
            fix=f'interface = "{interface.package_name}"',
        )
    return Diagnostic(
        f"{subject} is {interface}, and the binding is for version {binding.version}",
        str(binding.settings.where("version")),
        "they are different version tracks",
        f'version = "{interface.version}"' if interface.version else "leave version out",
    )


def _duplicate_labels(labelled: Mapping[str, list[BindingConfig]]) -> list[Diagnostic]:
    return [
        Diagnostic(
            f"the label {quoted(label)} is bound twice",
            str(second.settings.location),
            f"first at {first.settings.location}",
            "remove one of the two, or give it the label of another import",
        )
        for label, bindings in labelled.items()
        for first, second in _in_order(bindings)
        if _overlap(first, second)
    ]


def _overlap(one: BindingConfig, other: BindingConfig) -> bool:
    if one.package is not None and other.package is not None and one.package != other.package:
        return False
    return one.version is None or other.version is None or same_track(one.version, other.version)


def _duplicate_defaults(defaults: Mapping[str, list[BindingConfig]]) -> list[Diagnostic]:
    return [
        Diagnostic(
            f"{package} has more than one unlabelled binding",
            str(second.settings.location),
            f"first at {first.settings.location}",
            "remove one of the two, or give it the label of an import",
        )
        for package, bindings in defaults.items()
        for first, second in _in_order(bindings)
    ]


def _in_order(bindings: Iterable[BindingConfig]) -> Iterable[tuple[BindingConfig, BindingConfig]]:
    """Return all pairs, the one that stands higher up in the file first."""
    return combinations(sorted(bindings, key=_place), 2)


def _place(binding: BindingConfig) -> tuple[int, str]:
    return binding.settings.location.line, binding.settings.location.path


def _is_for_export(binding: BindingConfig, exports: Iterable[InterfaceId]) -> bool:
    """Return whether an unlabelled binding only names an interface that the component exports.

    Manifests of wasmCloud list those beside the imports (``wasi:http/incoming-handler``).
    """
    if binding.label is not None or binding.backend is not None or binding.settings.values:
        return False
    return any(
        fits(binding, export) and (binding.interfaces is None or export.interface in binding.interfaces)
        for export in exports
    )


def _unused(binding: BindingConfig, imports: list[Import]) -> Diagnostic:
    where = str(binding.settings.location)
    if binding.label is not None:
        labels = sorted(i.label for i in imports if i.label is not None)
        guess = nearest(binding.label, labels)
        return Diagnostic(
            f"the component imports no label {quoted(binding.label)}",
            where,
            f"its labels: {', '.join(labels)}" if labels else "it has no labelled imports",
            guess if guess.startswith("did you") else _remove(labels),
        )
    ids = [(i, interface) for i in imports if has_functions(i) and (interface := interface_of(i))]
    under = sorted(i.name for i, interface in ids if i.label and interface.package_name == binding.package)
    packages = {interface.package_name for i, interface in ids if i.label is None}
    guess = nearest(binding.package or "", packages)
    return Diagnostic(
        f"the component has no unlabelled import of {binding.package}",
        where,
        f"it imports it under the labels {', '.join(under)}" if under else "",
        guess if guess.startswith("did you") else "remove the binding",
    )


def _misspelt(
    unused: Iterable[BindingConfig], imports: Iterable[Import], bound: Mapping[str, BindingConfig]
) -> set[str]:
    """Return the labels that no binding serves because one that is for nothing has them misspelt."""
    labels = [i.label for i in imports if i.label is not None]
    meant = [close for b in unused if b.label for close in get_close_matches(b.label, labels, n=1)]
    return {label for label in meant if label not in bound}


def _remove(labels: list[str]) -> str:
    return (
        "remove the binding, or use one of these labels"
        if labels
        else ("remove the binding; wasmplex label gives an import a label")
    )
