"""The addresses that a process of ``wasmplex run`` listens on, whichever host or worker serves there."""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple, Self

from wasmplex.errors import FailureError, UsageError

if TYPE_CHECKING:
    from wasmplex.assembly import Assembly

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
                elif (sockets := await trigger.share(settings)) is not None:
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


def _close(taken: Mapping[str, Taken], *, but: Mapping[str, Taken]) -> None:
    kept = {id(sock) for one in but.values() for sock in one.sockets}
    for one in taken.values():
        for sock in one.sockets:
            if id(sock) not in kept:
                sock.close()
