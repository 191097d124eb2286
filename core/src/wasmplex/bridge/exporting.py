"""The host's side of an export adapter: one call of an export at a time, with its streams."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from wasmplex.bridge.codec import Reader, Writer, reader, writer
from wasmplex.bridge.exports import ExportAdapter, passes_in_memory, returns_in_memory
from wasmplex.bridge.flows import BridgedStream, IncomingFuture, Script
from wasmplex.bridge.functions import AdapterKinds
from wasmplex.bridge.handles import GuestHandle, Lowered
from wasmplex.bridge.kinds import FUTURE, STREAM, Function, KindTable, lifts, lowers
from wasmplex.bridge.protocol import ARENA, Event, Op
from wasmplex.bridge.side import Actor, Pulse, Side
from wasmplex.engine.resources import HostObjects
from wasmplex.values import Err
from wasmplex.wit.types import ResultType, TupleType

__all__ = ["ExportCodec", "ExportSession", "export_codecs"]

_RETURNED = 2


@dataclass(frozen=True, slots=True)
class ExportCodec:
    """How the blocks of one exported function are written and read.

    :ivar gives: whether its parameters hold handles that must be made first
    :ivar takes: whether its result holds handles that must be turned into objects
    """

    function: Function
    write: Writer
    read: Reader
    gives: bool
    takes: bool


def export_codecs(adapter: ExportAdapter) -> dict[str, ExportCodec]:
    """Make the codecs of an adapter's functions, by the names that a call gives."""
    return {function.path: _codec(function, adapter.kinds) for function in adapter.functions}


def _codec(function: Function, kinds: KindTable) -> ExportCodec:
    params = [param.type for param in function.type.params]
    result = function.type.result
    return ExportCodec(
        function,
        writer(TupleType(tuple(params)) if params else None, kinds, flat=not passes_in_memory(function)),
        reader([] if result is None else [result], kinds, flat=not returns_in_memory(function)),
        gives=lowers(params, kinds.custody),
        takes=lifts([result], kinds.custody),
    )


class ExportSession(Side):
    """The host's state for the export adapter of one instance."""

    def __init__(self, pulse: Pulse, kinds: AdapterKinds, table: HostObjects) -> None:
        super().__init__(pulse, kinds, table)
        self.handles = _Handles(self)
        self.actor = _CallActor(self)
        self._codec: ExportCodec | None = None
        self._result: asyncio.Future[Any] | None = None
        self._lent: list[tuple[int, int, int]] = []
        """What was lent for the call: the built-in that takes a handle back, the handle, the object's key."""
        self._dropped: list[tuple[int, int]] = []
        """Handles of the guest's resources that nobody holds any more."""

    def begin(self, codec: ExportCodec, args: tuple[Any, ...]) -> tuple[bytes, asyncio.Future[Any]]:
        """Return the block to call the adapter with, and the future of the result."""
        if len(args) != len(codec.function.type.params):
            count = len(codec.function.type.params)
            raise TypeError(f"{codec.function.path} takes {count} arguments, not {len(args)}")
        block = bytes(self._arguments(codec, args if codec.function.type.params else None))
        self._codec = codec
        self._result = asyncio.get_running_loop().create_future()
        self.actor.begin()
        dropped, self._dropped = self._dropped, []
        if dropped:
            self.scripts.append(self._drop_handles(dropped))
        return block, self._result

    def _arguments(self, codec: ExportCodec, value: Any) -> bytes | bytearray:
        scan = self.scan()
        block = codec.write(value, ARENA, scan)  # what does not fit is refused here, and stays the caller's
        if not scan.missing:
            scan.made(())
            return block
        return self.lowering(scan, lambda handles, at: codec.write(value, at, handles), ARENA)

    def note_lent(self, found: Lowered, handle: int, rep: int) -> None:
        """Remember to take back what is lent for the call."""
        self._lent.append((self.kinds.resource[found.kind].take, handle, rep))

    def _take_back(self, lent: Sequence[tuple[int, int, int]]) -> Script:
        for builtin, handle, rep in lent:
            yield Op.ONE | builtin << 8 | handle << 32
            self.table.take(rep)

    def abandon_call(self) -> None:
        """Take back from the table what was lent for a call that has failed."""
        lent, self._lent = self._lent, []
        for _, _, rep in lent:
            if rep in self.table.entries:
                self.table.take(rep)

    def forgotten(self, kind: int, number: int) -> None:
        """Note that a handle of the guest's resource is to be dropped."""
        if not self.closed:
            self._dropped.append((self.kinds.resource[kind].drop, number))

    def _drop_handles(self, handles: list[tuple[int, int]]) -> Script:
        for builtin, number in handles:
            yield Op.DROP | builtin << 8 | number << 32

    def result(self, at: int, block: bytes) -> None:
        """Take the result of the guest's function."""
        codec = self._codec
        assert codec is not None  # noqa: S101  the adapter delivers what was begun
        self.actor.delivered = True
        if self._lent:
            lent, self._lent = self._lent, []
            self.scripts.append(self._take_back(lent))
        if codec.takes:
            self.scripts.append(self._lift(codec, at, block))
        else:
            self._resolve(codec, codec.read(block, at, self.handles))

    def _lift(self, codec: ExportCodec, at: int, block: bytes) -> Script:
        values = yield from self.lifted(lambda handles: codec.read(block, at, handles))
        self._resolve(codec, values)

    def _resolve(self, codec: ExportCodec, values: Any) -> None:
        future = self._result
        assert future is not None  # noqa: S101  it was made with the call
        if future.done():
            return
        if isinstance(codec.function.type.result, ResultType):
            if isinstance(values[0], Err):
                future.set_exception(values[0])
            else:
                future.set_result(values[0].value)
        else:
            future.set_result(values[0] if values else None)

    def step(self, record: int, event: int, a: int, b: int) -> int:
        """Tell the task of the call what to do next."""
        if self.pulse.failure is not None:
            raise self.pulse.failure
        self.actor.record = record
        return self.actor.step(event, a, b)


class _CallActor(Actor):
    """The task of a call: waits for the guest's function, moves streams, ends when there is nothing left."""

    def begin(self) -> None:
        self.delivered = False
        self.armed = False
        self._patience = 3

    def note(self, event: int, a: int, b: int) -> None:
        if event == Event.SUBTASK:
            if b == _RETURNED:
                self.side.scripts.append(_deliver(a))
            return
        super().note(event, a, b)

    def step(self, event: int, a: int, b: int) -> int:
        order = self.perform(event, a, b)
        if order is not None:
            return order
        if not self.side.is_moving():
            return self._end() if self.delivered else self._doze()
        self.side.awake = True
        return Op.NEXT if event == Event.NONE and self.side.pulse.rests(self.side) else Op.YIELD

    def _doze(self) -> int:
        self.side.awake = False
        return Op.DOZE  # its set has the subtask; nobody wakes it

    def _end(self) -> int:
        """Finish, but let the other adapter take note first of what this one has read last."""
        if self._patience and any(side.flows for side in self.side.pulse.sides if side is not self.side):
            self._patience -= 1
            self.side.pulse.ending = True
            return Op.YIELD
        self.side.pulse.ending = self.side.awake = False
        return Op.FINISH


def _deliver(subtask: int) -> Any:
    yield Op.DELIVER | subtask << 32


class _Handles:
    """What the codecs ask for handles, with the session behind it."""

    def __init__(self, session: ExportSession) -> None:
        self._session = session

    def own(self, kind: int, handle: int) -> GuestHandle:
        return GuestHandle(self._session, self._session.kinds.resources[kind], kind, handle)

    def borrow(self, kind: int, handle: int) -> Any:
        """Never asked: no result has a borrowed handle."""
        raise AssertionError("a borrowed handle was returned")

    def stream(self, kind: int, handle: int) -> BridgedStream:
        return BridgedStream(self._session.incoming(STREAM, kind, handle))

    def future(self, kind: int, handle: int) -> IncomingFuture:
        return IncomingFuture(self._session.incoming(FUTURE, kind, handle))
