"""How open backends fare: what is counted, and a snapshot of it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection
from typing import Literal, NamedTuple, Protocol, TypeAlias

from wasmplex.plugins.backends import Backend, BackendProvider
from wasmplex.plugins.circuit import Circuit

__all__ = ["Counted", "Counts", "Event", "PoolStatistics", "ProviderStatistics"]

Event: TypeAlias = Literal["opened", "shared", "failed", "closed", "outages"]


class ProviderStatistics(NamedTuple):
    """How the backends of one provider fared."""

    #: backends that are open now
    open: int
    #: bindings that hold one of them
    bindings: int
    #: backends opened since the start
    opened: int
    #: times that a binding was given a backend which was open, or being opened, already
    shared: int
    #: attempts to open one that failed
    failed: int
    #: backends closed since the start
    closed: int
    #: backends that are open, and whose server is known to be down
    down: int = 0
    #: times that a server was found to be down
    outages: int = 0


class PoolStatistics(NamedTuple):
    """How the pool fares: the sums, and the same for each provider by name."""

    total: ProviderStatistics
    providers: dict[str, ProviderStatistics]


class Counted(Protocol):
    """What is asked of a backend's entry in the pool."""

    @property
    def provider(self) -> BackendProvider[object]:  # type: ignore[type-var]  # of whatever settings
        """Who opens it."""

    @property
    def backend(self) -> Backend | None:
        """It, while it is open."""

    @property
    def bindings(self) -> int:
        """How many bindings hold it."""

    @property
    def circuit(self) -> Circuit:
        """Whether its server is known to be down."""


class Counts:
    """What has happened so far to the backends of each provider."""

    def __init__(self) -> None:
        self._happened: defaultdict[str, Counter[Event]] = defaultdict(Counter)

    def add(self, entry: Counted, event: Event, times: int = 1) -> None:
        """Count something."""
        self._happened[entry.provider.name][event] += times

    def statistics(self, entries: Collection[Counted]) -> PoolStatistics:
        """Return a snapshot.

        :param entries: the backends there are
        """
        names = {*self._happened, *(entry.provider.name for entry in entries)}
        providers = {
            name: self._of(name, [entry for entry in entries if entry.provider.name == name])
            for name in sorted(names)
        }
        sums = (sum(column) for column in zip(*providers.values(), strict=True))
        return PoolStatistics(ProviderStatistics(*sums) if providers else _NOTHING, providers)

    def _of(self, name: str, entries: Collection[Counted]) -> ProviderStatistics:
        happened = self._happened[name]
        return ProviderStatistics(
            open=sum(entry.backend is not None for entry in entries),
            bindings=sum(entry.bindings for entry in entries),
            opened=happened["opened"],
            shared=happened["shared"],
            failed=happened["failed"],
            closed=happened["closed"],
            down=sum(entry.circuit.is_open for entry in entries),
            outages=happened["outages"] + sum(entry.circuit.opened for entry in entries),
        )


_NOTHING = ProviderStatistics(0, 0, 0, 0, 0, 0)
