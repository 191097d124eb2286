"""Whether what the distributions of plugins require is installed, from metadata alone.

Installers see to that for what they install at once. What is installed later, for another plugin, may take a
library to a version that an older one was not made for; Python imports it all the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

__all__ = ["Unmet", "unmet"]


@dataclass(frozen=True, slots=True)
class Unmet:
    """One requirement that does not hold.

    :ivar plugin: the distribution of the plugin it is a requirement of, perhaps by way of others
    :ivar by: the distribution that has it, with its version, ``host-plugin-redis==1.2``
    :ivar requirement: as its metadata writes it, ``redis>=5``
    :ivar installed: the version that is installed, empty if none is
    """

    plugin: str
    by: str
    requirement: str
    installed: str = ""

    @property
    def name(self) -> str:
        """The distribution that is missing or of another version."""
        return Requirement(self.requirement).name

    @property
    def wanted(self) -> str:
        """What would do, ``redis>=5``, as installers take it."""
        found = Requirement(self.requirement)
        return f"{found.name}{found.specifier}"


def unmet(
    plugins: Iterable[str], find: Callable[[str], Distribution] = Distribution.from_name
) -> list[Unmet]:
    """Return the requirements of distributions, and of what they require, that do not hold.

    :param plugins: names of distributions
    :param find: returns an installed distribution, or raises `PackageNotFoundError`
    """
    return [problem for name in sorted({*plugins}) for problem in _unmet(name, find)]


def _unmet(plugin: str, find: Callable[[str], Distribution]) -> Iterator[Unmet]:
    waiting: list[tuple[str, frozenset[str]]] = [(plugin, frozenset())]
    seen: set[tuple[str, frozenset[str]]] = set()
    while waiting:
        name, extras = waiting.pop()
        if (key := (canonicalize_name(name), extras)) in seen:
            continue
        seen.add(key)
        found = _found(name, find)
        for requirement in () if found is None else _requirements(found, extras):
            installed = _found(requirement.name, find)
            version = "" if installed is None else installed.version
            if installed is None or not _fits(requirement, version):
                assert found is not None  # noqa: S101  its requirements were read
                yield Unmet(plugin, f"{found.name}=={found.version}", str(requirement), version)
            else:
                waiting.append((requirement.name, frozenset(requirement.extras)))


def _found(name: str, find: Callable[[str], Distribution]) -> Distribution | None:
    try:
        return find(name)
    except (PackageNotFoundError, ValueError):
        return None


def _requirements(distribution: Distribution, extras: frozenset[str]) -> Iterator[Requirement]:
    """Return what is required here, on this system and with these extras; what is malformed is left out."""
    for line in distribution.requires or ():
        try:
            requirement = Requirement(line)
        except InvalidRequirement:
            continue
        marker = requirement.marker
        if marker is None or any(marker.evaluate({"extra": extra}) for extra in extras or {""}):
            requirement.marker = None
            yield requirement


def _fits(requirement: Requirement, version: str) -> bool:
    try:
        return requirement.specifier.contains(Version(version), prereleases=True)
    except InvalidVersion:
        return False
