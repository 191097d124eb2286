"""Which hosts a workload's requests may go to. Nothing that is not listed."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from wasmplex.plugin import ConfigError, Diagnostic

__all__ = ["AllowedHosts"]

_ENTRY = re.compile(
    r"(?P<host>\*|(?:\*\.)?[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*\.?|\[[0-9A-Fa-f:.]+\])(?::(?P<port>[0-9]{1,5}))?"
)


class _Rule(NamedTuple):
    host: str  # lower case; "*" is any, ".domain" is every host below it
    port: int | None

    def allows(self, host: str, port: int) -> bool:
        if self.port is not None and self.port != port:
            return False
        if self.host == "*" or self.host == host:
            return True
        return (
            self.host.startswith(".") and host.endswith(self.host) and not host.rpartition(".")[2].isdigit()
        )


class AllowedHosts:
    """The rules of one workload.

    :param entries: ``host`` (any port), ``host:port``, ``*.domain`` (names below it), ``*`` (all)
    :raises wasmplex.errors.ConfigError: for entries that are none of these; all of them at once
    """

    def __init__(self, entries: Iterable[str], workload: str = "") -> None:
        self._rules = []
        problems = []
        for entry in entries:
            match = _ENTRY.fullmatch(entry)
            if match is None:
                problems.append(_problem(entry, workload))
                continue
            host = match["host"].lower().rstrip(".")
            port = int(match["port"]) if match["port"] else None
            self._rules.append(_Rule(host[1:] if host.startswith("*.") else host, port))
        if problems:
            raise ConfigError(problems)

    def __contains__(self, address: tuple[str, int]) -> bool:
        """Say whether requests to (host, port) are allowed; the host as an authority has it."""
        host, port = address
        host = host.lower().rstrip(".")
        return any(rule.allows(host, port) for rule in self._rules)


def _problem(entry: str, workload: str) -> Diagnostic:
    return Diagnostic(
        f"{entry!r} is not a host that requests may be allowed to",
        where=f"workload {workload!r}, allowed_hosts",
        why="a host is named without scheme, user and path",
        fix='allowed_hosts = ["api.example.com", "api.example.com:8443", "*.example.com"]',
    )
