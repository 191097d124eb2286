"""Which plugins are installed, read from the metadata of distributions. Nothing is imported here.

The scan walks the distributions itself instead of asking `importlib.metadata.entry_points`, because one
malformed ``entry_points.txt`` makes that call fail for every distribution on the path.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from email.parser import HeaderParser
from functools import cached_property
from importlib.metadata import Distribution, EntryPoint, distributions

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

import wasmplex
from wasmplex.plugins.identity import API_VERSION, Group, PluginIdentity

__all__ = ["API_GROUP", "CORE", "Candidate", "Disabled", "Handshake", "handshake", "offer_name", "scan"]

CORE = "wasmplex"
"""The distribution whose entry points are the host's own pieces."""

API_GROUP = "wasmplex.api"
"""Entry-point group for the plugin APIs that a distribution was written for: ``1 = "its_module"``."""

_PREFIX = "host-plugin-"
_GROUPS = frozenset(group.value for group in Group)
_ALL = frozenset({"1", "true", "yes", "on", "all", "*"})
_NONE = frozenset({"", "0", "false", "no", "off"})
_REQUIREMENT_NAME = re.compile(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)")


@dataclass(frozen=True, slots=True)
class Handshake:
    """Whether a distribution was made for this wasmplex.

    :ivar requires: the versions it asks for, empty if it asks for none
    :ivar cause: why it does not fit, empty if it does
    """

    requires: str = ""
    cause: str = ""


@dataclass(frozen=True, slots=True)
class Disabled:
    """What is switched off.

    :ivar everything: True for every plugin but the host's own pieces
    :ivar names: plugin names, distributions, or ``name@distribution``
    """

    everything: bool = False
    names: frozenset[str] = frozenset()

    @classmethod
    def parse(cls, text: str | None, no_plugins: bool = False) -> Disabled:
        """Read the value of ``WASMPLEX_DISABLE_PLUGINS``: ``1``, or a list separated by commas."""
        value = (text or "").strip()
        everything = no_plugins or value.lower() in _ALL
        if everything or value.lower() in _NONE:
            return cls(everything=everything)
        return cls(names=frozenset(name.strip() for name in value.split(",") if name.strip()))

    def cause(self, names: Iterable[str], distribution: str, *, builtin: bool = False) -> str:
        """Return why a plugin of these names is switched off, empty if it is not.

        The host's own pieces stay unless they are named with their distribution.
        """
        if self.everything and not builtin:
            return "all plugins are disabled (--no-plugins, WASMPLEX_DISABLE_PLUGINS)"
        keys = {f"{name}@{distribution}" for name in names}
        if not builtin:
            keys |= {*names, distribution}
        wanted = {_canonical(key) for key in keys}
        hit = sorted(name for name in self.names if _canonical(name) in wanted)
        return f"disabled by WASMPLEX_DISABLE_PLUGINS ({hit[0]})" if hit else ""


def _canonical(selector: str) -> str:
    """``Redis@Host_Plugin_Redis`` and ``redis@host-plugin-redis`` name the same plugin."""
    return canonicalize_name(selector.lower().replace("@", "-at-"))


def offer_name(group: Group, name: str) -> str:
    """Return the name that an entry offers: ``wasi.io`` stands for the WIT package ``wasi:io``."""
    if group is Group.INTERFACES and ":" not in name:
        return name.replace(".", ":", 1)
    return name


@dataclass(frozen=True)
class Candidate:
    """One importable plugin: all entries of one distribution that point to one object.

    :ivar identity: its name (in general that of its backend), distribution and version
    :ivar value: the entry point's value, ``host_plugin_redis`` or ``host_plugin_redis:plugin``
    :ivar offers: the names it offers in each group, sorted
    :ivar requires: the ``Requires-Dist`` lines of its distribution
    :ivar broken: why its metadata cannot be used, empty if it can
    :ivar apis: the plugin APIs it was written for (`API_VERSION`), empty if it does not say
    """

    identity: PluginIdentity
    value: str
    offers: Mapping[Group, tuple[str, ...]] = field(default_factory=dict)
    requires: tuple[str, ...] = ()
    broken: str = ""
    apis: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Its own name and every one that it offers, in whatever group."""
        return (self.identity.name, *(name for group in Group for name in self.offers.get(group, ())))

    @property
    def builtin(self) -> bool:
        """Whether it belongs to the host itself."""
        return canonicalize_name(self.identity.distribution) == CORE

    @cached_property
    def handshake(self) -> Handshake:
        """Whether its distribution was made for the running version of wasmplex."""
        if self.builtin:
            return Handshake()
        found = handshake(self.identity, self.requires, wasmplex.__version__)
        if found.cause or not self.apis or str(API_VERSION) in self.apis:
            return found
        plugin = f"plugin {self.identity.name} {self.identity.version}".rstrip()
        wanted = " or ".join(self.apis)
        return Handshake(
            found.requires, f"{plugin} needs plugin API {wanted}; this host provides {API_VERSION}"
        )


@dataclass(frozen=True, slots=True)
class _Metadata:
    """The few fields of a distribution's core metadata that matter here."""

    name: str
    version: str
    requires: tuple[str, ...]

    @classmethod
    def read(cls, distribution: Distribution) -> _Metadata:
        """Read them, whatever is wrong with the rest of the file.

        Only its head is parsed: the body is a README, and takes nine tenths of the time.
        """
        try:
            text = distribution.read_text("METADATA") or distribution.read_text("PKG-INFO") or ""
            metadata = HeaderParser().parsestr(text.partition("\n\n")[0])
            fields = {name: metadata.get_all(name) or [] for name in ("Name", "Version", "Requires-Dist")}
        except Exception:  # noqa: BLE001  a broken METADATA must not hide the other plugins
            fields = {"Name": [], "Version": [], "Requires-Dist": []}
        first = {name: str(values[0]).strip() if values else "" for name, values in fields.items()}
        return cls(first["Name"] or "(unnamed)", first["Version"], tuple(map(str, fields["Requires-Dist"])))


def handshake(identity: PluginIdentity, requires: Iterable[str], running: str) -> Handshake:
    """Compare the ``Requires-Dist: wasmplex ...`` lines of a distribution with the running version."""
    specifiers = []
    for line in requires:
        name = _REQUIREMENT_NAME.match(line)
        if name is None or canonicalize_name(name[1]) != CORE:
            continue
        try:
            requirement = Requirement(line)
        except InvalidRequirement as error:
            return Handshake(
                line, f"its metadata is malformed: Requires-Dist: {line}: {str(error).split()[0]}"
            )
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            specifiers.append(requirement.specifier)
    wanted = ",".join(sorted((str(s) for spec in specifiers for s in spec), key=_specifier_order))
    try:
        fits = all(spec.contains(Version(running), prereleases=True) for spec in specifiers)
    except InvalidVersion:
        fits = False
    if fits:
        return Handshake(wanted)
    plugin = f"plugin {identity.name} {identity.version}".rstrip()
    return Handshake(wanted, f"{plugin} needs wasmplex {wanted}; this is {running}")


def _specifier_order(specifier: str) -> tuple[bool, str]:
    """Lower bounds first, as people write them: ``>=2,<3``."""
    return not specifier.startswith((">", "=", "~")), specifier


def scan(path: Sequence[str] | None = None, *, warn: Callable[[str], None]) -> list[Candidate]:
    """Return the plugins of the installed distributions, sorted; no plugin is imported.

    :param path: directories to look in, None for `sys.path`
    :param warn: told what had to be left out, one line each
    """
    found: list[Candidate] = []
    seen: set[str] = set()
    for distribution in _distributions(path, warn):
        entries, broken = _entries(distribution, warn)
        if not entries and not broken:
            continue
        metadata = _Metadata.read(distribution)
        name = canonicalize_name(metadata.name)
        if name in seen:  # an older copy further down the path, which Python would not import either
            continue
        seen.add(name)
        found += _candidates(metadata, entries, broken)
    return sorted(found, key=lambda c: (c.identity.name, c.identity.distribution, c.value))


def _distributions(path: Sequence[str] | None, warn: Callable[[str], None]) -> Iterator[Distribution]:
    finder = distributions() if path is None else distributions(path=list(path))
    iterator = iter(finder)
    while True:
        try:
            yield next(iterator)
        except StopIteration:
            return
        except OSError as error:
            warn(f"a directory of the import path cannot be searched for plugins: {error}")
            return


def _entries(distribution: Distribution, warn: Callable[[str], None]) -> tuple[list[EntryPoint], str]:
    """Return the entry points of our groups, and what is wrong with the rest."""
    try:
        text = distribution.read_text("entry_points.txt") or ""
    except UnicodeDecodeError as error:
        text = error.object.decode("utf-8", "replace")
    except OSError as error:
        warn(f"a distribution is left out, its entry points cannot be read: {error}")
        return [], ""
    if "wasmplex." not in text:  # most distributions: nothing to parse, and none of ours if it is malformed
        return [], ""
    try:
        return [e for e in distribution.entry_points if e.group in _GROUPS or e.group == API_GROUP], ""
    except Exception as error:  # noqa: BLE001  one malformed file must not hide the other plugins
        return [], f"its entry_points.txt is malformed: {type(error).__name__}: {error}"


def _plugin_name(distribution: str, offers: Mapping[Group, set[str]], names: list[str]) -> str:
    """Return its backend's name; without one, what follows ``host-plugin-``, or the first that it offers."""
    name = canonicalize_name(distribution)
    if Group.BACKENDS not in offers and name.startswith(_PREFIX):
        return name.removeprefix(_PREFIX)
    return names[0]


def _candidates(metadata: _Metadata, entries: Iterable[EntryPoint], broken: str) -> Iterator[Candidate]:
    by_value: dict[str, dict[Group, set[str]]] = {}
    entries = list(entries)
    apis = tuple(sorted({entry.name for entry in entries if entry.group == API_GROUP}))
    for entry in entries:
        if entry.group == API_GROUP:
            continue
        group = Group(entry.group)
        offers = by_value.setdefault(entry.value.strip(), {})
        offers.setdefault(group, set()).add(offer_name(group, entry.name))
    for value, offers in by_value.items():
        names = [name for group in Group for name in sorted(offers.get(group, ()))]
        identity = PluginIdentity(_plugin_name(metadata.name, offers, names), metadata.name, metadata.version)
        frozen = {group: tuple(sorted(names)) for group, names in offers.items()}
        yield Candidate(identity, value, frozen, metadata.requires, apis=apis)
    if broken:
        identity = PluginIdentity(metadata.name, metadata.name, metadata.version)
        yield Candidate(identity, "", {}, metadata.requires, broken)
