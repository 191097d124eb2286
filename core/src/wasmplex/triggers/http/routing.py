"""Which workload gets a request: by host, then by the longest path prefix. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Generic, NamedTuple, TypeVar

from wasmplex.errors import ConfigError, Diagnostic

__all__ = ["Route", "Router"]

T = TypeVar("T")


class Route(NamedTuple, Generic[T]):
    """One entry of the table.

    :ivar host: lower case, ``*.domain`` for every host below it, None for any
    :ivar path: the prefix, without a slash at its end unless it is ``/``
    :ivar target: what gets the request
    :ivar name: the workload, for messages
    :ivar where: the place in the configuration, for messages
    """

    host: str | None
    path: str
    target: T
    name: str = ""
    where: str = ""


class Router(Generic[T]):
    """The routing table.

    A host's own routes are asked first, then those of ``*.domain`` from the closest domain outwards,
    then those of any host; in each, the longest prefix that matches whole segments wins.

    :raises wasmplex.errors.ConfigError: if two routes claim the same host and path; all pairs at once
    """

    def __init__(self, routes: Iterable[Route[T]]) -> None:
        self._hosts: dict[str | None, list[tuple[str, str, T]]] = {}
        taken: dict[tuple[str | None, str], Route[T]] = {}
        clashes = []
        for route in routes:
            first = taken.setdefault((route.host, route.path), route)
            if first is not route:
                clashes.append(_clash(first, route))
                continue
            below = route.path if route.path == "/" else f"{route.path}/"
            self._hosts.setdefault(route.host, []).append((route.path, below, route.target))
        if clashes:
            raise ConfigError(clashes)
        for entries in self._hosts.values():
            entries.sort(key=lambda entry: len(entry[0]), reverse=True)
        self._any_host_only = self._hosts.keys() <= {None}
        alone = len(taken) == 1 and (None, "/") in taken
        self.everything: T | None = taken[None, "/"].target if alone else None
        """The target of all requests, if there is only one and it wants them all."""

    def find(self, host: str | None, path: str) -> T | None:
        """Return the target for a request, None if there is none.

        :param host: see `wasmplex.triggers.http.target.normal_host`
        :param path: see `wasmplex.triggers.http.target.normal_path`
        """
        if host and not self._any_host_only:
            for key in _candidates(host):
                entries = self._hosts.get(key)
                if entries and (target := _longest(entries, path)) is not None:
                    return target
        return _longest(self._hosts.get(None, ()), path)


def _longest(entries: Sequence[tuple[str, str, T]], path: str) -> T | None:
    for prefix, below, target in entries:
        if path == prefix or path.startswith(below):
            return target
    return None


def _candidates(host: str) -> Iterable[str]:
    yield host
    rest = host
    while "." in rest:
        rest = rest.partition(".")[2]
        yield f"*.{rest}"


def _clash(first: Route[T], second: Route[T]) -> Diagnostic:
    host = f" on host {second.host!r}" if second.host else ""
    return Diagnostic(
        f"workloads {first.name!r} and {second.name!r} both want the requests for {second.path!r}{host}",
        where=second.where or first.where,
        why=f"the other claim is at {first.where}" if first.where else "",
        fix=f'trigger.http = {{ path = "/{second.name}" }}',
    )
