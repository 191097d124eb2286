"""Which hosts a workload's requests may go to. Nothing that is not listed."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from wasmplex.plugin import ConfigError, Diagnostic

from host_plugin_wasi.http.authority import normal_host

__all__ = ["AllowedHosts"]

_ENTRY = re.compile(r"(?P<below>\*\.)?(?P<host>\*|\[[^]]*\]|[^:*]+)(?::(?P<port>[0-9]{1,5}))?")


class _Rule(NamedTuple):
    host: str  # as `normal_host` writes it; "*" is any, ".domain" is every host below it
    port: int | None

    def allows(self, host: str, port: int) -> bool:
        if self.port is not None and self.port != port:
            return False
        if self.host == "*" or self.host == host:
            return True
        return self.host.startswith(".") and host.endswith(self.host)


class AllowedHosts:
    """The rules of one workload.

    :param entries: ``host`` (any port), ``host:port``, ``*.domain`` (names below it), ``*`` (all)
    :raises wasmplex.errors.ConfigError: for entries that are none of these; all of them at once
    """

    def __init__(self, entries: Iterable[str], workload: str = "") -> None:
        self._rules = []
        problems = []
        for entry in entries:
            try:
                self._rules.append(_rule(entry))
            except ValueError as error:
                problems.append(_problem(entry, workload, str(error)))
        if problems:
            raise ConfigError(problems)

    def __contains__(self, address: tuple[str, int]) -> bool:
        """Say whether requests to (host, port) are allowed; the host as `normal_host` writes it."""
        host, port = address
        return any(rule.allows(host, port) for rule in self._rules)


def _rule(entry: str) -> _Rule:
    match = _ENTRY.fullmatch(entry)
    if match is None:
        raise ValueError("a host is named without scheme, user and path")
    host = match["host"]
    port = int(match["port"]) if match["port"] else None
    if port is not None and not 0 < port < 2**16:
        raise ValueError("a port is a number from 1 to 65535")
    if host == "*" and not match["below"]:
        return _Rule("*", port)
    host = normal_host(host)
    if not match["below"]:
        return _Rule(host, port)
    if host.startswith("[") or host.rpartition(".")[2].isdigit():
        raise ValueError("there are no names below an address")
    return _Rule(f".{host}", port)


def _problem(entry: str, workload: str, why: str) -> Diagnostic:
    return Diagnostic(
        f"{entry!r} is not a host that requests may be allowed to",
        where=f"workload {workload!r}, allowed_hosts",
        why=why,
        fix='allowed_hosts = ["api.example.com", "api.example.com:8443", "*.example.com"]',
    )
