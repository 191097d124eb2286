"""The host's side of an export adapter: one call of an export at a time, with its streams."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from wasmplex.bridge.codec import Reader, Writer, reader, writer
from wasmplex.bridge.exports import ExportAdapter, passes_in_memory, returns_in_memory
from wasmplex.bridge.flows import BridgedStream, IncomingFuture
from wasmplex.bridge.functions import AdapterKinds
from wasmplex.bridge.kinds import Function, KindTable, inner_types
from wasmplex.bridge.machine import ARENA, Op
from wasmplex.bridge.side import Actor, Pulse, Side
from wasmplex.bridge.tables import Collector
from wasmplex.values import Err
from wasmplex.wit.types import FutureType, ResultType, StreamType, TupleType

__all__ = ["ExportCodec", "ExportSession", "GuestHandle", "export_codecs"]

_SUBTASK, _RETURNED = 1, 2


@dataclass(frozen=True)
class GuestHandle:
    """A resource that the guest implements, held by the host.

    :ivar number: its handle in the export adapter
    """

    kind: int
    number: int


@dataclass(frozen=True, slots=True)
class ExportCodec:
    """How the blocks of one exported function are written and read.

    :ivar gives: whether its parameters hold streams or futures, which must be made first
    """

    function: Function
    write: Writer
    read: Reader
    gives: bool


def export_codecs(adapter: ExportAdapter) -> dict[str, ExportCodec]:
    """Make the codecs of an adapter's functions, by the names that a call gives."""
    return {function.path: _codec(function, adapter.kinds) for function in adapter.functions}


def _codec(function: Function, kinds: KindTable) -> ExportCodec:
    params = [param.type for param in function.type.params]
    result = function.type.result
    parts = [part for type_ in params for part in inner_types(type_)]
    return ExportCodec(
        function,
        writer(TupleType(tuple(params)) if params else None, kinds, flat=not passes_in_memory(function)),
        reader([] if result is None else [result], kinds, flat=not returns_in_memory(function)),
        gives=any(isinstance(part, (StreamType, FutureType)) for part in parts),
    )


class ExportSession(Side):
    """The host's state for the export adapter of one instance."""

    def __init__(self, pulse: Pulse, kinds: AdapterKinds) -> None:
        super().__init__(pulse, kinds)
        self.handles = _Handles(self)
        self.actor = _CallActor(self)
        self._codec: ExportCodec | None = None
        self._args: Any = None
        self._result: asyncio.Future[Any] | None = None

    def begin(self, codec: ExportCodec, args: tuple[Any, ...]) -> tuple[bytes, asyncio.Future[Any]]:
        """Return the block to call the adapter with, and the future of the result."""
        self._codec = codec
        self._result = asyncio.get_running_loop().create_future()
        self.actor.begin()
        value = args if codec.function.type.params else None
        if len(args) != len(codec.function.type.params):
            count = len(codec.function.type.params)
            raise TypeError(f"{codec.function.path} takes {count} arguments, not {len(args)}")
        return bytes(self._arguments(codec, value)), self._result

    def _arguments(self, codec: ExportCodec, value: Any) -> bytes | bytearray:
        if not codec.gives:
            return codec.write(value, ARENA, self.handles)
        collector = _Gifts()
        codec.write(value, ARENA, collector)
        if not collector.gifts:
            return codec.write(value, ARENA, self.handles)

        def then(entries: list[tuple[int, int]], at: int) -> bytearray:
            handles = iter(self.adopt(collector.gifts, entries))
            return codec.write(value, at, _Given(handles))

        offers = [(self.kinds.first(sort, kind) << 2 | 2, 0) for sort, kind, _ in collector.gifts]
        return self.exchange(offers, then, ARENA)

    def result(self, at: int, block: bytes) -> None:
        """Take the result of the guest's function."""
        codec, future = self._codec, self._result
        assert codec is not None  # noqa: S101  the adapter delivers what was begun
        assert future is not None  # noqa: S101
        values = codec.read(block, at, self.handles)
        self.actor.delivered = True
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
        if event == _SUBTASK:
            if b == _RETURNED:
                self.side.scripts.append(_deliver(a))
            return
        super().note(event, a, b)

    def step(self, event: int, a: int, b: int) -> int:
        order = self.perform(event, a, b)
        if order is not None:
            return order
        if not self.side.flows:
            return self._end() if self.delivered else Op.DOZE  # its set has the subtask; nobody wakes it
        return Op.NEXT if event == 0 else Op.YIELD

    def _end(self) -> int:
        """Finish, but let the other adapter take note first of what this one has read last."""
        if self._patience and any(side.flows for side in self.side.pulse.sides if side is not self.side):
            self._patience -= 1
            self.side.pulse.ending = True
            return Op.YIELD
        self.side.pulse.ending = False
        return Op.FINISH


def _deliver(subtask: int) -> Any:
    yield Op.DELIVER | subtask << 32


class _Gifts(Collector):
    """Collects streams and futures; resources of the guest have their handles already."""

    def give(self, sort: int, kind: int, value: Any) -> int:
        if sort == 0:
            return _number(value)
        return super().give(sort, kind, value)

    def lend(self, kind: int, value: Any) -> int:
        return _number(value)


class _Given:
    """Writes arguments for whose streams and futures handles have been made."""

    def __init__(self, handles: Any) -> None:
        self._handles = handles

    def give(self, sort: int, kind: int, value: Any) -> int:
        return _number(value) if sort == 0 else next(self._handles)

    def lend(self, kind: int, value: Any) -> int:
        return _number(value)


def _number(value: Any) -> int:
    if not isinstance(value, GuestHandle):
        raise TypeError(f"a resource of the guest is wanted, not {type(value).__name__}")
    return value.number


class _Handles:
    """What the codecs ask for handles, with the session behind it."""

    def __init__(self, session: ExportSession) -> None:
        self._session = session

    def own(self, kind: int, handle: int) -> GuestHandle:
        return GuestHandle(kind, handle)

    borrow = own

    def give(self, sort: int, kind: int, value: Any) -> int:
        return _number(value)

    def lend(self, kind: int, value: Any) -> int:
        return _number(value)

    def stream(self, kind: int, handle: int) -> BridgedStream:
        return BridgedStream(self._session.incoming(1, kind, handle))

    def future(self, kind: int, handle: int) -> IncomingFuture:
        return IncomingFuture(self._session.incoming(2, kind, handle))
