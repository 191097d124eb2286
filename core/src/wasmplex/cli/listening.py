"""The addresses that a process of ``wasmplex run`` listens on, whichever host or worker serves there."""

from __future__ import annotations

import re
import socket
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from wasmplex.cli.hostfile import is_component
from wasmplex.errors import Diagnostic, FailureError, UsageError

if TYPE_CHECKING:
    from wasmplex.assembly import Assembly
    from wasmplex.config import HostConfig
    from wasmplex.plugins.triggers import Trigger

__all__ = ["ADMIN", "Addresses", "Taken"]

ADMIN = "[admin]"
"""Whose sockets the process itself answers on; no trigger has such a name."""


class Taken(NamedTuple):
    """The sockets of one trigger.

    :ivar address: what `Trigger.address` made of the settings that they were opened for
    """

    address: object
    sockets: Sequence[socket.socket]


class Addresses:
    """Keeps sockets while their addresses stay the same, whatever else of a configuration changes.

    :ivar taken: what is listened on, by the name of its trigger, or `ADMIN`
    """

    def __init__(self) -> None:
        self.taken: Mapping[str, Taken] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close everything."""
        self.keep({})

    async def take(self, assembly: Assembly) -> dict[str, Taken]:
        """Open what a configuration listens on and is not open yet; `keep` or `drop` are to follow.

        :returns: the sockets of each trigger that shares them, and those of ``[admin]``
        :raises wasmplex.errors.UsageError: if an address cannot be taken
        """
        triggers = {
            route.name: route.trigger for planned in assembly.workloads for route in planned.plan.triggers
        }
        found: dict[str, Taken] = {}
        try:
            for name, trigger in triggers.items():
                settings = assembly.triggers[name]
                address = trigger.address(settings)
                if name in self.taken and self.taken[name].address == address:
                    found[name] = self.taken[name]
                elif (sockets := await _shared(trigger, settings, assembly.config)) is not None:
                    found[name] = Taken(address, sockets)
            await self._take_admin(assembly, found)
        except FailureError as error:
            self.drop(found)
            raise UsageError(error.diagnostics) from error
        except BaseException:
            self.drop(found)
            raise
        return found

    async def _take_admin(self, assembly: Assembly, found: dict[str, Taken]) -> None:
        admin = assembly.config.admin
        if admin is None or (address := admin.listen) is None:
            return
        if ADMIN in self.taken and self.taken[ADMIN].address == address:
            found[ADMIN] = self.taken[ADMIN]
            return
        from wasmplex.triggers.http.http1.server import bind

        found[ADMIN] = Taken(address, [await bind(address, "[admin] listen")])

    def keep(self, taken: Mapping[str, Taken]) -> None:
        """Close what is no longer listened on."""
        before, self.taken = self.taken, taken
        _close(before, but=taken)

    def drop(self, taken: Mapping[str, Taken]) -> None:
        """Close what was opened in vain."""
        _close(taken, but=self.taken)


async def _shared(trigger: Trigger, settings: Any, config: HostConfig) -> Sequence[socket.socket] | None:
    try:
        return await trigger.share(settings)
    except FailureError as error:
        raise FailureError([_placed(d, config) for d in error.diagnostics]) from error


def _placed(diagnostic: Diagnostic, config: HostConfig) -> Diagnostic:
    """Say of an address where it was written: by an option, or in which line. It may be in no file at all."""
    found = _SETTING.fullmatch(diagnostic.where)
    table = None if found is None else config.triggers.get(found["table"])
    place = None if found is None or table is None else table.locations.get((found["key"],))
    if place is None:
        return diagnostic
    if place.line and not is_component(config.path):
        return replace(diagnostic, where=str(place))
    where = diagnostic.where if place.line else place.path
    return replace(diagnostic, where=where, fix=_WRITTEN.sub(_as_option, diagnostic.fix))


_SETTING = re.compile(r"\[(?P<table>[^]]+)\] (?P<key>\w+)")
_WRITTEN = re.compile(r'(?P<set>set )?\[http\] listen = "(?P<host>.*):(?P<port>\d+)"')


def _as_option(found: re.Match[str]) -> str:
    """Return what to type instead of a line of a file: any free port in the place of one that is taken."""
    return f"--listen {found['host']}:{0 if found['set'] else found['port']}"


def _close(taken: Mapping[str, Taken], *, but: Mapping[str, Taken]) -> None:
    kept = {id(sock) for one in but.values() for sock in one.sockets}
    for one in taken.values():
        for sock in one.sockets:
            if id(sock) not in kept:
                sock.close()
