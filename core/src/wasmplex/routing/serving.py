"""Finds who serves an import, once it is known which binding it has."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeAlias

from wasmplex.component.shape import Import, InstanceType
from wasmplex.config.document import assignment, header, quoted
from wasmplex.config.model import BindingConfig, Table, WorkloadConfig
from wasmplex.errors import Diagnostic, PluginError, nearest
from wasmplex.plugins.backends import BackendProvider
from wasmplex.plugins.contracts import InterfaceProvider
from wasmplex.plugins.identity import Group
from wasmplex.plugins.installation import installation
from wasmplex.plugins.registry import Registry
from wasmplex.routing.backing import back, placed
from wasmplex.routing.lookalikes import lookalikes, wit_of
from wasmplex.routing.matching import has_functions, interface_of
from wasmplex.routing.parting import is_parted, part
from wasmplex.routing.plan import BackendRoute, Route, RouteKind, RoutePart
from wasmplex.routing.resources import has_only_methods, takes_only_resources
from wasmplex.routing.settings import SplitSettings, split
from wasmplex.routing.signatures import differences
from wasmplex.routing.unserved import Unserved, plugin_for
from wasmplex.wit.names import InterfaceId
from wasmplex.wit.types import FuncType, Resource

__all__ = ["Server"]

_Wanted: TypeAlias = tuple[Import, InterfaceId]


@dataclass(frozen=True)
class _Bound:
    """A binding together with one interface provider: validated once, used by each of its imports."""

    settings: SplitSettings
    backend: BackendRoute | None
    parts: Mapping[str, RoutePart] = field(default_factory=dict)


@dataclass
class Server:
    """Turns imports into routes and collects what is wrong on the way.

    :ivar problems: everything found wrong so far
    """

    workload: WorkloadConfig
    registry: Registry
    base: Path
    environ: Mapping[str, str]
    problems: list[Diagnostic] = field(default_factory=list)
    _unserved: Unserved = field(default_factory=Unserved)
    _bound: dict[tuple[int, int], _Bound | None] = field(default_factory=dict)
    _ungranted: dict[int, tuple[BindingConfig, list[_Wanted]]] = field(default_factory=dict)

    def serve(self, import_: Import, binding: BindingConfig | None) -> Route | None:
        """Return the route of an imported instance; None if there is none, and the reason is reported."""
        interface = interface_of(import_)
        if not isinstance(import_.type, InstanceType):
            self.problems.append(self._not_an_instance(import_))
            return None
        if binding is None and not has_functions(import_):
            return Route(import_, interface, RouteKind.TYPES)
        if interface is None:
            self.problems.append(self._plain_name(import_))
            return None
        provider = self._provider(import_, interface, binding)
        if provider is None:
            return None
        if binding is not None:
            return self._by_binding(import_, interface, provider, binding)
        return self._without_binding(import_, import_.type, interface, provider)

    def all_problems(self) -> list[Diagnostic]:
        """Return everything found wrong, a cause that several imports have in common said once."""
        ungranted = [_not_granted(binding, wanted) for binding, wanted in self._ungranted.values()]
        return [*self.problems, *ungranted, *self._unserved.problems()]

    def without_causes(self, problems: Iterable[Diagnostic]) -> list[Diagnostic]:
        """Return those of `problems` that what keeps imports from being served does not explain."""
        return [problem for problem in problems if problem.fix not in self._unserved.remedies]

    # ------------------------------------------------------------ the three ways

    def _by_binding(
        self, import_: Import, interface: InterfaceId, provider: InterfaceProvider, binding: BindingConfig
    ) -> Route | None:
        granted = binding.interfaces
        if granted is not None and interface.interface not in granted and not _is_home(import_):
            self._ungranted.setdefault(id(binding), (binding, []))[1].append((import_, interface))
        bound = self._bind(binding, interface.package_name, provider)
        if bound is None or not self._has_the_types(import_, interface, provider, binding):
            return None
        return Route(
            import_,
            interface,
            RouteKind.BINDING,
            provider,
            self.registry.origin(provider),
            bound.backend,
            bound.settings.interface,
            bound.settings.namespace or self._namespace(binding, interface.package_name),
            granted,
            binding.settings.location,
            bound.parts,
            self.base,
        )

    def _namespace(self, binding: BindingConfig, package: str) -> str:
        return f"{self.workload.name}/{binding.label or package}"

    def _without_binding(
        self, import_: Import, type_: InstanceType, interface: InterfaceId, provider: InterfaceProvider
    ) -> Route | None:
        plugin = self.registry.origin(provider)
        if import_.label is not None:
            self.problems.append(self._unbound(import_, interface, provider))
            return None
        if interface.interface in provider.routes_by_resource and takes_only_resources(type_):
            return Route(import_, interface, RouteKind.RESOURCE, provider, plugin)
        if provider.capability is not None:
            self.problems.append(self._unbound(import_, interface, provider))
            return None
        nothing = Table(location=self.workload.location)
        settings, found = split(nothing, provider.settings, None, self.base, self.environ)
        if settings is None:
            place = self._place(import_, interface)
            self.problems += [
                Diagnostic(
                    f"import {import_.name} needs a binding: {problem.what}",
                    str(self.workload.location),
                    problem.why,
                    f"add {place} with {problem.fix or 'its settings'}",
                )
                for problem in found
            ]
            return None
        ours = settings.interface
        return Route(import_, interface, RouteKind.HOST, provider, plugin, settings=ours, base=self.base)

    # ------------------------------------------------------------ plugins

    def _provider(
        self, import_: Import, interface: InterfaceId, binding: BindingConfig | None
    ) -> InterfaceProvider | None:
        where = str(binding.settings.location if binding else self.workload.location)
        try:
            provider = self.registry.interface(interface.package_name, interface.version)
            if provider is None:
                self._unserved.add(interface.package_name, self._not_served(import_, interface, where))
                return None
        except PluginError as error:
            for problem in placed(error, where, f"import {import_.name} cannot be served: "):
                self._unserved.add(interface.package_name, problem)
            return None
        if interface.interface in provider.interfaces:
            return provider
        self.problems.append(
            Diagnostic(
                f"nobody serves the import {import_.name}: "
                f"{interface.package_name} is served without {quoted(interface.interface)}",
                where,
                f"{self.registry.origin(provider)} serves {', '.join(sorted(provider.interfaces))}",
                _guess(interface.interface, provider.interfaces),
            )
        )
        return None

    def _bind(self, binding: BindingConfig, package: str, provider: InterfaceProvider) -> _Bound | None:
        key = (id(binding), id(provider))
        if key not in self._bound:
            self._bound[key] = self._bind_once(binding, package, provider)
        return self._bound[key]

    def _bind_once(self, binding: BindingConfig, package: str, provider: InterfaceProvider) -> _Bound | None:
        self.problems += _unknown_grants(binding, package, provider)
        backend: BackendProvider[Any] | None = None
        if provider.capability is None:
            if binding.backend is not None:
                self.problems.append(_needless_backend(binding, package))
                return None
        elif is_parted(binding, provider):
            return self._parted(binding, package, provider)
        else:
            backend = self._backend(binding, package, provider.capability)
            if backend is None:
                return None
        if backend is None:
            settings, found = split(binding.settings, provider.settings, None, self.base, self.environ)
            self.problems += found
            return None if settings is None else _Bound(settings, None)
        selector, origin = binding.backend or "", self.registry.origin(backend)
        bound, found = back(
            binding.settings, provider.settings, selector, backend, origin, self.base, self.environ
        )
        self.problems += found
        return None if bound is None else _Bound(*bound)

    def _parted(self, binding: BindingConfig, package: str, provider: InterfaceProvider) -> _Bound | None:
        namespace = self._namespace(binding, package)
        parted, found = part(binding, provider, namespace, self.registry, self.base, self.environ)
        self.problems += found
        return None if parted is None else _Bound(parted.settings, None, parted.parts)

    def _backend(self, binding: BindingConfig, package: str, capability: str) -> BackendProvider[Any] | None:
        if binding.backend is None:
            location = binding.settings.location
            self.problems.append(
                Diagnostic(
                    f"the binding names no backend, which {package} needs",
                    str(location),
                    fix=assignment("backend", quoted(self._some_backend()), location.file),
                )
            )
            return None
        try:
            return self.registry.backend(binding.backend, capability)
        except PluginError as error:
            self.problems += placed(error, str(binding.settings.where("backend")))
            return None

    def _has_the_types(
        self, import_: Import, interface: InterfaceId, provider: InterfaceProvider, binding: BindingConfig
    ) -> bool:
        """Say whether an import has the functions that are served; report what differs."""
        served = wit_of(provider, interface.interface)
        assert isinstance(import_.type, InstanceType)  # noqa: S101  `serve` has looked
        found = [] if served is None else differences(import_.type, served)
        if not found:
            return True
        others = [] if binding.from_ is None else lookalikes(import_.type, self.registry)
        file = self.workload.location.file
        what = f"the import {binding.from_ or import_.name} is not {interface} as it is served"
        why = "; ".join(found[:3]) + (f"; and {len(found) - 3} more" if len(found) > 3 else "")
        fix = assignment("interface", quoted(others[0].interface), file) if others else ""
        fix = fix or f"build the component against the WIT of {interface.package_name} that is served"
        self.problems.append(Diagnostic(what, str(binding.settings.where("interface")), why, fix))
        return False

    # ------------------------------------------------------------ messages

    def _place(self, import_: Import, interface: InterfaceId) -> str:
        """Return where a binding is written, in the words of a message."""
        own = ("default", interface.package_name) if import_.label is None else ("import", import_.label)
        if self.workload.is_middleware:
            return f"{own[0]}.{quoted(own[1])} = {{ ... }} to its table in middleware"
        return header(("workload", self.workload.name, *own), self.workload.location.file)

    def _unbound(self, import_: Import, interface: InterfaceId, provider: InterfaceProvider) -> Diagnostic:
        file = self.workload.location.file
        labels = [b.label for b in self.workload.bindings if b.label is not None]
        packages = [b.package for b in self.workload.bindings if b.label is None and b.package]
        lines = f"add {self._place(import_, interface)}"
        if provider.capability is not None:
            lines += f" with {assignment('backend', quoted(self._some_backend()), file)}"
        if import_.label is not None:
            what = f"no binding serves the label {quoted(import_.label)} ({interface})"
            guess = _guess(import_.label, labels)
        else:
            what = f"no binding serves the unlabelled import {import_.name}"
            guess = _guess(interface.package_name, packages)
        return Diagnostic(what, str(self.workload.location), fix=f"{lines}{'; ' if guess else ''}{guess}")

    def _some_backend(self) -> str:
        names = self.registry.names(Group.BACKENDS)
        return "memory" if "memory" in names or not names else names[0]

    def _not_served(self, import_: Import, interface: InterfaceId, where: str) -> Diagnostic:
        package = interface.package_name
        served = sorted(f"{p.version or 'no version'} ({self.registry.origin(p).requirement})"
                        for p in self.registry.interfaces(package))  # fmt: skip
        if served:
            return Diagnostic(
                f"nobody serves the import {import_.name}: its version is not one that is served",
                where,
                f"{package} is served as {', '.join(served)}",
                "build the component for a served version, or install a plugin for this one",
            )
        names = self.registry.names(Group.INTERFACES)
        fix = f"install a plugin that offers {package} (its entry point is in the group wasmplex.interfaces)"
        if package not in names and (ours := plugin_for(package)):
            fix = installation().install(ours)
        close = get_close_matches(package, [*{*names} - {package}], n=1, cutoff=0.8)  # namespaces look alike
        if close:
            fix = f"did you mean {close[0]!r}?"
        return Diagnostic(
            f"nobody serves the import {import_.name}: no plugin offers {package}",
            where,
            f"installed: {', '.join(names) or 'none'}",
            fix,
        )

    def _plain_name(self, import_: Import) -> Diagnostic:
        return Diagnostic(
            f"the import {quoted(import_.name)} does not say which interface it is",
            str(self.workload.location),
            "it goes by a plain name, without an interface id and without implements",
            f"wasmplex label {self.workload.component.name} {import_.name}=LABEL=NAMESPACE:PACKAGE/INTERFACE",
        )

    def _not_an_instance(self, import_: Import) -> Diagnostic:
        match import_.type:
            case FuncType():
                kind = "a function outside any interface"
            case Resource():
                kind = "a resource outside any interface"
            case _:
                kind = "neither an interface nor a type"
        return Diagnostic(
            f"nobody serves the import {quoted(import_.name)}: it is {kind}",
            str(self.workload.location),
            fix="put it into an interface of a WIT package and import that",
        )


def _is_home(import_: Import) -> bool:
    return isinstance(import_.type, InstanceType) and has_only_methods(import_.type)


def _guess(name: str, known: Iterable[str]) -> str:
    """Return ``did you mean ...?``, or nothing where `nearest` would list everything."""
    text = nearest(name, known)
    return text if text.startswith("did you") else ""


def _not_granted(binding: BindingConfig, wanted: Sequence[_Wanted]) -> Diagnostic:
    """Say it of all imports of a binding: each remedy alone would undo the others."""
    granted = sorted(binding.interfaces or ())
    names = [*dict.fromkeys(interface.interface for _, interface in wanted)]
    needed = ", ".join(f'"{name}"' for name in sorted({*granted, *names}))
    imports = ", ".join(import_.name for import_, _ in wanted)
    return Diagnostic(
        f"the binding does not grant {', '.join(names)}, which the component imports ({imports})"
        if len(wanted) > 1
        else f"the binding does not grant {names[0]}, which {imports} imports",
        str(binding.settings.where("interfaces")),
        f"it grants {', '.join(granted)}",
        f"interfaces = [{needed}]",
    )


def _unknown_grants(binding: BindingConfig, package: str, provider: InterfaceProvider) -> list[Diagnostic]:
    unknown = (binding.interfaces or frozenset()) - provider.interfaces - {"types"}
    return [
        Diagnostic(
            f"{package} has no interface {quoted(name)} that could be granted",
            str(binding.settings.where("interfaces")),
            fix=nearest(name, provider.interfaces),
        )
        for name in sorted(unknown)
    ]


def _needless_backend(binding: BindingConfig, package: str) -> Diagnostic:
    return Diagnostic(
        f"{package} is served without a backend, and the binding names one ({binding.backend})",
        str(binding.settings.where("backend")),
        fix="remove the line backend = ...",
    )
