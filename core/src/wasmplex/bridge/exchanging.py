"""Exchanges of handles: the adapter takes those apart that the host was given, and makes those that it gives.

Synchronous functions exchange them in blocks, one after the other (`Exchanging.exchange`); what moves streams
does it by orders, in scripts.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Generator, Sequence
from typing import Any

from wasmplex.bridge.flows import DROP_READABLE, Script
from wasmplex.bridge.functions import AdapterKinds
from wasmplex.bridge.handles import HandleScan, LiftedHandles, Lowered, LoweredHandles, Made
from wasmplex.bridge.kinds import RESOURCE
from wasmplex.bridge.protocol import HEADER, First, Op
from wasmplex.engine.resources import HostObjects

__all__ = ["Exchanging", "Then", "align16"]

_ENTRY = struct.Struct("<II")

Then = Callable[[list[tuple[int, int]], int], bytes | bytearray]
"""Continues after an exchange: the entries as the adapter filled them, the address of the next block."""


def align16(address: int) -> int:
    """Return the least multiple of 16 that is not below."""
    return (address + 15) & -16


class Exchanging:
    """What one side of a session does about handles.

    :param kinds: the built-ins and element codecs of the adapter's kinds
    :param table: the host's resources that the instance holds
    """

    handles: Any
    """What the codecs ask for handles."""

    def __init__(self, kinds: AdapterKinds, table: HostObjects) -> None:
        self.kinds = kinds
        self.table = table
        self._then: Then | None = None
        self._next_base = 0

    def put(self, order: int) -> None:
        """Have the adapter follow an order that has no outcome, before what is yielded next."""
        raise NotImplementedError

    def feed(self, sort: int, kind: int, writable: int, source: Any) -> None:
        """Start feeding a stream or future that was made for a handle."""
        raise NotImplementedError

    def exchange(self, entries: Sequence[tuple[int, int]], then: Then, base: int) -> bytearray:
        """Ask the adapter to take handles apart or to make some, then go on with what it answers."""
        block = bytearray(HEADER + _ENTRY.size * len(entries))
        _ENTRY.pack_into(block, 0, First.EXCHANGE, len(entries))
        for index, entry in enumerate(entries):
            _ENTRY.pack_into(block, HEADER + _ENTRY.size * index, *entry)
        self._then, self._next_base = then, align16(base + len(block))
        return block

    def resume(self, block: bytes) -> bytes | bytearray:
        """Go on after an exchange."""
        then, base, self._then = self._then, self._next_base, None
        assert then is not None  # noqa: S101  the adapter resumes only what was begun
        return then(list(_ENTRY.iter_unpack(block[HEADER:])), base)

    def scan(self) -> HandleScan:
        """Return what finds the handles in a block."""
        return HandleScan(self.kinds, self)

    def lowering(
        self, scan: HandleScan, write: Callable[[Any, int], bytearray], base: int
    ) -> bytes | bytearray:
        """Have handles made for what a scan found, then write.

        :param write: writes a block, given what it asks for handles and its address
        """
        entries, missing = [], scan.missing
        for found in missing:
            if found.sort == RESOURCE:
                give = self.kinds.resource[found.kind].give
                entries.append((give << 1, self.table.add(found.value)))
            else:
                entries.append((self.kinds.first(found.sort, found.kind) << 1 | 1, 0))

        def then(made: list[tuple[int, int]], at: int) -> bytes | bytearray:
            for found, (handle, second) in zip(missing, made, strict=True):
                if found.sort != RESOURCE:
                    self.feed(found.sort, found.kind, second, found.value)
                elif found.lent:
                    self.note_lent(found, handle, second)
            return write(scan.made(handle for handle, _ in made), at)

        return self.exchange(entries, then, base)

    def lifting(
        self, scan: HandleScan, then: Callable[[Any, int], bytes | bytearray], base: int
    ) -> bytes | bytearray:
        """Have the handles that a scan found turned into objects, then go on with what reads them."""

        def read(entries: list[tuple[int, int]], at: int) -> bytes | bytearray:
            objects = [
                self.lifted_object(rep, lent=lent) for (rep, _), lent in zip(entries, lents, strict=True)
            ]
            return then(LiftedHandles(self.kinds, self.handles, objects), at)

        lents = [found.lent for found in scan.lifted]
        return self.exchange([(found.builtin << 1, found.handle) for found in scan.lifted], read, base)

    def lifted_object(self, rep: int, *, lent: bool) -> Any:
        """Return the object behind a representation that the adapter has made of a handle.

        :param lent: whether the handle was lent; else the object is the host's again
        """
        return self.table.entries[rep] if lent else self.table.take(rep)

    def note_lent(self, found: Lowered, handle: int, rep: int) -> None:
        """Never asked: only a guest's function is lent anything."""
        raise AssertionError("a host function lends nothing")

    def lifted(self, read: Callable[[Any], Any]) -> Generator[int, tuple[int, int], Any]:
        """Have the handles in a value turned into objects, as a script; return the value."""
        scan = self.scan()
        value = read(scan)
        if not scan.seen:
            return value
        objects = []
        for found in scan.lifted:
            rep, _ = yield Op.ONE | found.builtin << 8 | found.handle << 32
            objects.append(self.lifted_object(rep, lent=found.lent))
        return read(LiftedHandles(self.kinds, self.handles, objects))

    def lowered(
        self, write: Callable[[Any], Any]
    ) -> Generator[int, tuple[int, int], tuple[LoweredHandles, Made]]:
        """Have handles made for a value, as a script; return what writes it, and the handles."""
        scan = self.scan()
        write(scan)
        made: Made = []
        for found in scan.missing:
            if found.sort == RESOURCE:
                give = self.kinds.resource[found.kind].give
                handle, _ = yield Op.ONE | give << 8 | self.table.add(found.value) << 32
            else:
                handle, writable = yield Op.NEW | self.kinds.first(found.sort, found.kind) << 8
                self.feed(found.sort, found.kind, writable, found.value)
            made.append((found, handle))
        return scan.made(handle for _, handle in made), made

    def taken_back(self, made: Made) -> Script:
        """Take back, as a script, what handles were made for and the guest has not taken."""
        for found, handle in made:
            if found.sort == RESOURCE:
                rep, _ = yield Op.ONE | self.kinds.resource[found.kind].take << 8 | handle << 32
                self.table.drop(rep)
            else:
                readable = self.kinds.first(found.sort, found.kind) + DROP_READABLE
                self.put(Op.DROP | readable << 8 | handle << 32)
