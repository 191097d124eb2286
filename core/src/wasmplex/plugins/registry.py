"""What the host can be asked for by name: backends, interfaces, triggers, commands.

The registry knows from metadata who offers what, imports a plugin when something of it is asked for, once,
and remembers how that went: a plugin that fails does so for those who ask for it and for nobody else.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from packaging.utils import canonicalize_name

from wasmplex.errors import PluginError, nearest
from wasmplex.logs import get_logger
from wasmplex.plugins.backends import BackendProvider
from wasmplex.plugins.contracts import InterfaceProvider
from wasmplex.plugins.discovery import Candidate, Disabled, scan
from wasmplex.plugins.entry import IN_PROCESS, PluginEntry
from wasmplex.plugins.identity import Group, PluginIdentity, PluginState, PluginStatus
from wasmplex.plugins.remedies import collision, remedy
from wasmplex.plugins.triggers import ExportAdapter, Trigger
from wasmplex.wit.names import InterfaceId, SemVer, compatible

if TYPE_CHECKING:
    import click

    from wasmplex.component.shape import Export, Shape

__all__ = ["Registry"]

T = TypeVar("T")

logger = get_logger("wasmplex.plugins")


class Registry:
    """Lazy, guarded discovery of plugins.

    :param no_plugins: use nothing but the host's own pieces and what `add` is given
    :param disable: what `WASMPLEX_DISABLE_PLUGINS` says (``1``, or a list separated by commas of plugin
        names, distributions or ``name@distribution``); None reads the environment variable
    :param path: directories whose distributions are looked at, None for `sys.path`
    """

    def __init__(
        self, *, no_plugins: bool = False, disable: str | None = None, path: Sequence[str] | None = None
    ) -> None:
        text = os.environ.get("WASMPLEX_DISABLE_PLUGINS") if disable is None else disable
        self._disabled = Disabled.parse(text, no_plugins)
        self._path = path
        self._scanned: list[PluginEntry] | None = None
        self._added: list[PluginEntry] = []
        self._origins: dict[int, PluginIdentity] = {}
        self._lock = threading.RLock()

    def __repr__(self) -> str:
        counts: dict[str, int] = {}
        for entry in self._entries if self._scanned is not None else self._added:
            counts[entry.state.value] = counts.get(entry.state.value, 0) + 1
        scanned = "" if self._scanned is not None else " not scanned"
        return f"<Registry{scanned} {' '.join(f'{state}={n}' for state, n in sorted(counts.items()))}>"

    # ------------------------------------------------------------ adding by hand

    def add(self, plugin: object, name: str = "") -> PluginIdentity:
        """Add an object of this process: a module, an object with hooks, or one bare provider.

        It goes before installed plugins that offer the same name, and ``--no-plugins`` leaves it alone.

        :raises PluginError: if it registers nothing, or the name of another added object
        """
        entry = PluginEntry.of_object(plugin, name or _object_name(plugin))
        with self._lock:
            self._require(entry)
            for group, names in entry.offers.items():
                self._refuse_added_twice(entry, group, names)
            self._added.append(entry)
        return entry.identity

    def add_file(self, path: Path) -> PluginIdentity:
        """Import a one-file plugin, as ``plugins = ["./my_backend.py"]`` names it.

        :raises PluginError: if it cannot be imported or registers nothing
        """
        entry = PluginEntry.of_file(path)
        entry.disable(self._disabled.cause((entry.identity.name,), entry.identity.distribution))
        with self._lock:
            if entry.state is not PluginState.DISABLED:
                self._require(entry)
            self._added.append(entry)
        return entry.identity

    # ------------------------------------------------------------ asking by name

    def backend(self, selector: str, capability: str) -> BackendProvider[Any]:
        """Return the provider of a backend, importing its plugin if it has not been.

        :param selector: ``redis``, or ``redis@host-plugin-redis`` where two distributions offer it
        :raises PluginError: if nobody offers it, two do, or its plugin is disabled, incompatible or broken
        """
        entry = self._one(Group.BACKENDS, selector)
        name = selector.partition("@")[0]
        contribution = self._require(entry).contribution
        named = [b for b in contribution.backends if b.name == name]
        for provider in named:
            if provider.capability == capability:
                return provider
        if named:
            capabilities = ", ".join(sorted(b.capability for b in named))
            suitable = ", ".join(self._backends_for(capability))
            raise PluginError(
                f"backend {name!r} is for {capabilities}, not for {capability}",
                where=str(entry.identity),
                fix=f"one that is for {capability}: {suitable or 'none is installed'}",
            )
        offered = ", ".join(sorted(b.name for b in contribution.backends)) or "none"
        raise PluginError(
            f"the plugin of backend {name!r} does not register a backend of that name",
            where=str(entry.identity),
            why=f"it registers: {offered}",
            fix=f"rename the entry point or the provider in {entry.identity.distribution}",
        )

    def _backends_for(self, capability: str) -> list[str]:
        """Return the backends of a capability, sorted. Every plugin with a backend is imported."""
        loaded = [e for e in self._entries if e.offers.get(Group.BACKENDS) and self._load(e)]
        return sorted(
            {b.name for entry in loaded for b in entry.contribution.backends if b.capability == capability}
        )

    def interfaces(self, package: str) -> tuple[InterfaceProvider, ...]:
        """Return everybody who serves a WIT package (``wasi:io``), in whatever version.

        :raises PluginError: if nobody does because a plugin that offers it is unusable
        """
        return self._from_all(
            self._offering(Group.INTERFACES, package),
            f"{Group.INTERFACES.noun} {package!r}",
            lambda entry: [i for i in entry.contribution.interfaces if i.package == package],
        )

    def interface(self, package: str, version: str | None) -> InterfaceProvider | None:
        """Return who serves this version of a WIT package, or None.

        :raises PluginError: if two distributions do, or none does because a plugin is unusable
        """
        serving = [i for i in self.interfaces(package) if compatible(version, i.version)]
        label = f"{package}@{version}" if version else package
        return self._single(serving, lambda i: i.version, f"interface package {label}")

    def trigger(self, name: str) -> Trigger:
        """Return a trigger by its name.

        :raises PluginError: if nobody offers it, two do, or its plugin is unusable
        """
        entry = self._one(Group.TRIGGERS, name)
        for trigger in self._require(entry).contribution.triggers:
            if trigger.name == name.partition("@")[0]:
                return trigger
        raise PluginError(
            f"the plugin of trigger {name!r} does not register a trigger of that name",
            where=str(entry.identity),
            fix=f"rename the entry point or the trigger in {entry.identity.distribution}",
        )

    def export_adapter(self, trigger: str, shape: Shape) -> tuple[ExportAdapter, Export] | None:
        """Return who can turn the events of a trigger into calls of the component, and of which export.

        The first export, in the component's order, that an adapter can drive wins, or the one of the same
        package with a higher version, whose interface may have another name.

        :raises PluginError: if two distributions can drive it, or none because a plugin is unusable
        """
        found: tuple[ExportAdapter, Export] | None = None
        best: InterfaceId | None = None
        for export in shape.exports:
            wanted = InterfaceId.try_parse(export.implements or export.name)
            if wanted is None or (best is not None and not _newer(wanted, best)):
                continue
            adapters = [
                adapter
                for adapter in self.export_adapters(trigger, wanted.package_name)
                if wanted.satisfied_by(InterfaceId.parse(adapter.interface))
            ]
            what = f"export {wanted} for trigger {trigger}"
            if adapter := self._single(adapters, lambda a: a.interface.partition("@")[2], what):
                found, best = (adapter, export), wanted
        return found

    def export_adapters(self, trigger: str, package: str = "") -> tuple[ExportAdapter, ...]:
        """Return the adapters of a trigger: those of its own plugin, and of those that offer a WIT package.

        :param package: which exports they are for; if empty, whatever the trigger's own plugin has
        :raises PluginError: if there is none because a plugin that offers the package is unusable
        """

        def adapters(entry: PluginEntry) -> list[ExportAdapter]:
            return [
                adapter
                for adapter in entry.contribution.export_adapters
                if adapter.trigger == trigger
                and package in ("", InterfaceId.parse(adapter.interface).package_name)
            ]

        offering = self._offering(Group.TRIGGERS, trigger)
        offering += [e for e in self._offering(Group.INTERFACES, package) if e not in offering]
        return self._from_all(offering, f"{Group.INTERFACES.noun} {package!r}", adapters)

    def commands(self) -> Mapping[str, Callable[[], click.Command]]:
        """Return the commands by name, each as a function that imports and returns it.

        A name that the host itself offers stays the host's. The function raises `PluginError`.
        """
        found: dict[str, Callable[[], click.Command]] = {}
        for name in self.names(Group.COMMANDS):
            own = [e for e in self._offering(Group.COMMANDS, name) if e.builtin]
            found[name] = partial(self._command, name, own[0] if own else None)
        return found

    def _command(self, name: str, entry: PluginEntry | None) -> click.Command:
        entry = entry or self._one(Group.COMMANDS, name)
        for command in self._require(entry).contribution.commands:
            if command.name == name:
                return command
        raise PluginError(
            f"the plugin of command {name!r} does not register a command of that name",
            where=str(entry.identity),
        )

    # ------------------------------------------------------------ what there is

    def names(self, group: Group) -> tuple[str, ...]:
        """Return every name of a group that can be asked for, sorted; nothing is imported."""
        usable = (e for e in self._entries if e.state is not PluginState.DISABLED)
        return tuple(sorted({name for entry in usable for name in entry.offers.get(group, ())}))

    def origin(self, piece: object) -> PluginIdentity:
        """Return the plugin that a provider, trigger, adapter or command came from.

        :raises KeyError: if it did not come from this registry
        """
        return self._origins[id(piece)]

    def owners(self) -> Mapping[str, PluginIdentity]:
        """Return the plugins that are loaded by where their code is; see `wasmplex.plugins.blame`."""
        with self._lock:
            entries = [*self._added, *(self._scanned or ())]
        return {e.root: e.identity for e in entries if e.root and not e.builtin}

    def status(self, *, load: bool | str = False) -> list[PluginStatus]:
        """Return how every plugin fares, sorted by name.

        :param load: import every plugin that is neither disabled nor incompatible, to see whether it works;
            or those alone that have, are from or offer this name
        """
        for entry in self._entries if load else ():
            if load is True or load in entry.names or entry.is_of(str(load)):
                self._load(entry)
        rows = [entry.status() for entry in self._entries]
        return sorted(rows, key=lambda row: (row.identity.name, row.identity.requirement, row.module))

    # ------------------------------------------------------------ inside

    @property
    def _entries(self) -> list[PluginEntry]:
        with self._lock:
            if self._scanned is None:
                candidates = scan(self._path, warn=logger.warning)
                self._scanned = [self._entry(candidate) for candidate in candidates]
                self._warn_of_unknown_names(self._scanned)
            return [*self._added, *self._scanned]

    def _entry(self, candidate: Candidate) -> PluginEntry:
        entry = PluginEntry.of_candidate(candidate)
        entry.disable(
            self._disabled.cause(candidate.names, candidate.identity.distribution, builtin=candidate.builtin)
        )
        return entry

    def _warn_of_unknown_names(self, entries: Iterable[PluginEntry]) -> None:
        known = {key for e in entries for key in (e.identity.distribution, *e.names)}
        spelt = {canonicalize_name(key) for key in known}
        for name in sorted(self._disabled.names):
            if canonicalize_name(name.partition("@")[0]) not in spelt:
                guess = nearest(name, known)
                logger.warning("WASMPLEX_DISABLE_PLUGINS: no plugin %r is installed; %s", name, guess)

    def _offering(self, group: Group, selector: str) -> list[PluginEntry]:
        """Return who offers a name, disabled ones included."""
        name, _, distribution = selector.partition("@")
        found = [e for e in self._entries if name in e.offers.get(group, ())]
        if distribution:
            found = [e for e in found if e.is_of(distribution)]
        return found

    def _one(self, group: Group, selector: str) -> PluginEntry:
        offering = self._offering(group, selector)
        enabled = [e for e in offering if e.state is not PluginState.DISABLED]
        enabled = [e for e in enabled if e.in_process] or enabled
        if len(enabled) == 1:
            return enabled[0]
        if enabled:
            raise collision(group, selector, enabled)
        if offering:
            raise offering[0].error(f"{group.noun} {selector!r} is disabled")
        raise self._unknown(group, selector)

    def _unknown(self, group: Group, selector: str) -> PluginError:
        name, _, distribution = selector.partition("@")
        if distribution and (others := self._offering(group, name)):
            offered = ", ".join(e.identity.distribution for e in others)
            return PluginError(
                f"{distribution} offers no {group.noun} {name!r}",
                why=f"it is offered by: {offered}",
                fix=f'write "{name}@{others[0].identity.distribution}"',
            )
        names = self.names(group)
        hidden = [e.identity.distribution for e in self._added if e.state is PluginState.DISABLED]
        return PluginError(
            f"no {group.noun} {name!r} is installed",
            why=f"installed: {', '.join(names) or 'none'}"
            + (f"; {', '.join(hidden)} is disabled" if hidden else ""),
            fix=remedy(group, name, names),
        )

    def _from_all(
        self, entries: Iterable[PluginEntry], what: str, pieces: Callable[[PluginEntry], Iterable[T]]
    ) -> tuple[T, ...]:
        """Return pieces of every usable plugin that offers something; an error only if that leaves none.

        Where it leaves some, those that failed are logged: nobody else tells of them.
        """
        found: list[T] = []
        failed: list[PluginEntry] = []
        for entry in entries:
            if self._load(entry):
                found += pieces(entry)
            else:
                failed.append(entry)
        if failed and not found:
            raise failed[0].error(f"{what} cannot be used")
        for entry in failed:
            entry.warn_once()
        return tuple(found)

    def _single(self, pieces: Sequence[T], version: Callable[[T], str], what: str) -> T | None:
        """Return the only piece, or of one plugin's several the one with the highest version."""
        own = [piece for piece in pieces if self.origin(piece).distribution == IN_PROCESS]
        pieces = own or pieces
        owners = sorted({self.origin(piece).requirement for piece in pieces})
        if len(owners) < 2:
            return max(pieces, key=lambda piece: SemVer.parse(version(piece) or "0"), default=None)
        raise PluginError(
            f"{what} is served by {' and by '.join(owners)}",
            fix=f"disable one: WASMPLEX_DISABLE_PLUGINS={owners[-1].partition('==')[0]}, or uninstall it",
        )

    def _load(self, entry: PluginEntry) -> bool:
        with self._lock:
            if entry.state is PluginState.AVAILABLE:
                entry.load()
            if entry.state is PluginState.READY:
                for piece in entry.contribution.pieces:
                    self._origins.setdefault(id(piece), entry.identity)
            return entry.state is PluginState.READY

    def _require(self, entry: PluginEntry) -> PluginEntry:
        if not self._load(entry):
            raise entry.error(f"plugin {entry.identity.name!r} cannot be used")
        return entry

    def _refuse_added_twice(self, entry: PluginEntry, group: Group, names: Iterable[str]) -> None:
        for name in names:
            if group is Group.INTERFACES:  # told apart by version, when they are asked for
                continue
            if any(name in other.offers.get(group, ()) for other in self._added if other.in_process):
                raise PluginError(f"{group.noun} {name!r} was added twice", where=str(entry.identity))


def _newer(one: InterfaceId, other: InterfaceId) -> bool:
    """Say whether it is of the same package in a higher version."""
    if one.package_name != other.package_name:
        return False
    return SemVer.parse(one.version or "0") > SemVer.parse(other.version or "0")


def _object_name(plugin: object) -> str:
    names = (getattr(plugin, attribute, None) for attribute in ("name", "package", "__name__"))
    return next((name for name in names if name and isinstance(name, str)), type(plugin).__name__)
