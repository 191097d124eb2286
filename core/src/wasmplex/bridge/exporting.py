"""The host's side of an export adapter: one call of an export at a time, with its streams."""

from __future__ import annotations

import asyncio
import inspect
from collections import deque
from collections.abc import Sequence
from typing import Any, Protocol

from wasmplex.bridge.actor import ALONE, Actor
from wasmplex.bridge.custody import Custody
from wasmplex.bridge.exportcodecs import ExportCodec
from wasmplex.bridge.flows import Plan, Script
from wasmplex.bridge.functions import AdapterKinds
from wasmplex.bridge.handles import GuestHandle, Lowered
from wasmplex.bridge.incoming import BridgedStream, IncomingFuture
from wasmplex.bridge.kinds import FUTURE, STREAM
from wasmplex.bridge.protocol import ARENA, Event, Op
from wasmplex.bridge.scheduler import Scheduler
from wasmplex.bridge.side import Side
from wasmplex.engine.resources import HostObjects
from wasmplex.values import Err
from wasmplex.wit.types import ResultType

__all__ = ["ExportSession"]

_RETURNED = 2
_PATIENCE = 24
"""Turns that other adapters get at the end of a call. The event loop has one after every eighth."""


class Serving(Protocol):
    """What is needed of the task that makes many calls."""

    record: int

    @property
    def wants_turn(self) -> bool:
        """Whether a call may begin."""

    def step(self, event: int, a: int, b: int) -> int:
        """Return what to do next."""


class Entering(Protocol):
    """What is needed of one of its calls."""

    codec: ExportCodec
    args: tuple[Any, ...]
    block: bytearray
    given: list[int]
    lent: list[tuple[int, int, int]]
    result: asyncio.Future[Any]


class ExportSession(Side):
    """The host's state for the export adapter of one instance."""

    def __init__(self, scheduler: Scheduler, kinds: AdapterKinds, table: HostObjects) -> None:
        super().__init__(scheduler, kinds, table)
        self.handles = _Handles(self)
        self.calling = _CallActor(self)
        self.serving: Serving | None = None
        """The task that makes many calls, in an instance that is in several at once."""
        self.delivering: Entering | None = None
        self._arriving: tuple[int, bytes] = (0, b"")
        self._block: bytes | bytearray = b""
        self._codec: ExportCodec | None = None
        self.owed: asyncio.Future[Any] | None = None
        """The result of the call, until the guest has returned it: a stream in it is the caller's alone."""
        self._lent: list[tuple[int, int, int]] = []
        """What was lent for the call: the built-in that takes a handle back, the handle, the object's key."""
        self._dropped: deque[tuple[int, int]] = deque()
        """Handles of the guest's resources that nobody holds any more. Any thread may find that out."""

    def begin(self, codec: ExportCodec, args: tuple[Any, ...]) -> tuple[bytes, asyncio.Future[Any]]:
        """Return the block to call the adapter with, and the future of the result."""
        _count(codec, args)
        block = bytes(self._arguments(codec, args, ARENA))
        self._codec = codec
        self.owed = asyncio.get_running_loop().create_future()
        self.calling.begin()
        while self._dropped:
            builtin, number = self._dropped.popleft()
            self.put(Op.DROP | builtin << 8 | number << 32)
        return block, self.owed

    def _arguments(self, codec: ExportCodec, args: tuple[Any, ...], base: int) -> bytes | bytearray:
        if codec.early:
            return self._given(codec, args)[0]
        value = args if codec.function.type.params else None
        scan = self.scan()
        block = codec.write(value, base, scan)  # what does not fit is refused here, and stays the caller's
        if not scan.missing:
            scan.made(())
            return block
        return self.lowering(scan, lambda handles, at: codec.write(value, at, handles), base)

    def _given(self, codec: ExportCodec, args: tuple[Any, ...]) -> tuple[bytearray, list[int]]:
        """Write arguments, wherever they will lie; return them, and the keys of the objects in them."""
        giving = _Giving(self.table)
        try:
            block = codec.write(args if codec.function.type.params else None, ARENA, giving)
        except BaseException:  # what does not fit is refused here, and stays the caller's
            for rep in giving.given:
                self.table.take(rep)
            raise
        return block, giving.given

    # ------------------------------------------------------------ of an instance that is in several calls

    def has_work(self) -> bool:
        """Say whether there is anything for the adapter to do."""
        return bool(self.scripts) or (self.serving is not None and self.serving.wants_turn)

    def admit(self, call: Entering) -> None:
        """Find out whether the arguments of a call fit, and write them if that is possible already.

        :raises wasmplex.wit.mismatch.ValueMismatch: if they do not
        """
        codec, args = call.codec, call.args
        _count(codec, args)
        if codec.early:
            call.block, call.given = self._given(codec, args)
            call.args = ()
        else:
            codec.write(args if codec.function.type.params else None, ARENA, self.scan())

    def prepare(self, call: Entering, base: int) -> None:
        """Write the arguments of a call that is about to be made, to be taken by the adapter."""
        self._block = self._arguments(call.codec, call.args, base)
        call.args = ()
        call.lent, self._lent = self._lent, call.lent

    def take(self) -> bytes | bytearray:
        """Return what `prepare` has written."""
        block, self._block = self._block, b""
        return block

    def settle(self, call: Entering, at: int, size: int) -> Script:
        """Take back what was lent for a call, and give its result to whoever waits for it.

        :param at: where the result lies, where the host sees that
        """
        at, block = self.arrived(at, size)
        if call.lent:
            yield from self._take_back(call.lent)
        codec = call.codec
        if not codec.takes:
            self.resolve(call, at, block)
            return
        values = yield from self.lifted(lambda handles: codec.read(block, at, handles))
        _resolve(call.result, codec, values)

    def arrived(self, at: int, size: int) -> tuple[int, bytes]:
        """Return the result that was handed over, and where it lies."""
        self.delivering = None
        return (at, self.calls.read(at, size)) if self.orders_most > 1 else self._arriving

    def resolve(self, call: Entering, at: int, block: bytes) -> None:
        """Give a result in which no handles are to be turned into objects to whoever waits for it."""
        _resolve(call.result, call.codec, call.codec.read(block, at, self.handles))

    def give_up_arguments(self, call: Entering) -> None:
        """Let go of what a call was to be given, and nobody wants any more."""
        if call.codec.early:
            for rep in call.given:
                self.table.drop(rep)
            return
        scan = self.scan()
        call.codec.write(call.args if call.codec.function.type.params else None, ARENA, scan)
        scan.give_up(self.table.forget)

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

    def fail(self, error: BaseException) -> bool:
        """Tell who waits for the result that there is none; say whether anybody does."""
        owed, self.owed = self.owed, None
        if owed is None or owed.done():
            return False
        owed.set_exception(error)
        return True

    def forgotten(self, kind: int, number: int) -> None:
        """Note that a handle of the guest's resource is to be dropped."""
        if not self.closed:
            self._dropped.append((self.kinds.resource[kind].drop, number))

    def result(self, at: int, block: bytes) -> None:
        """Take the result of the guest's function."""
        if self.delivering is not None:
            self._arriving = at, block
            return
        codec = self._codec
        assert codec is not None  # noqa: S101  the adapter delivers what was begun
        self.calling.delivered = True
        if self._lent:
            lent, self._lent = self._lent, []
            self.script(self._take_back(lent))
        if codec.takes:
            self.script(self._lift(codec, at, block))
        else:
            self._resolve(codec, codec.read(block, at, self.handles))

    def _lift(self, codec: ExportCodec, at: int, block: bytes) -> Script:
        values = yield from self.lifted(lambda handles: codec.read(block, at, handles))
        self._resolve(codec, values)

    def _resolve(self, codec: ExportCodec, values: Any) -> None:
        owed, self.owed = self.owed, None
        assert owed is not None  # noqa: S101  it was made with the call
        _resolve(owed, codec, values)

    def dismantle(self) -> None:
        """See `Side.dismantle`."""
        super().dismantle()
        del self.calling
        self.serving = None

    def step(self, record: int, event: int, a: int, b: int) -> int:
        """Tell the task of the call what to do next."""
        if self.scheduler.failure is not None:
            raise self.scheduler.failure
        if self.scheduler.making:
            self.scheduler.feed()
        actor = self.serving or self.calling
        actor.record = record
        return actor.step(event, a, b)


def _count(codec: ExportCodec, args: tuple[Any, ...]) -> None:
    if len(args) != (count := len(codec.function.type.params)):
        raise TypeError(f"{codec.function.path} takes {count} arguments, not {len(args)}")


def _resolve(future: asyncio.Future[Any], codec: ExportCodec, values: Any) -> None:
    """Give a result to whoever waits for it; of one that nobody wants let go."""
    value: Any = values[0] if values else None
    fails = isinstance(codec.function.type.result, ResultType)
    if future.done():
        given_up(value.value if fails else value)
    elif fails and isinstance(value, Err):
        future.set_exception(value)
    else:
        value = value.value if fails else value
        if (returned := getattr(value, "returned", None)) is not None:
            returned()
        future.set_result(value)


def given_up(value: Any) -> None:
    """Let go of the resource that a call has returned to nobody. Streams in it close themselves."""
    drop = getattr(value, "drop", None)
    if callable(drop) and not inspect.iscoroutinefunction(drop):
        drop()


class _CallActor(Actor):
    """The task of a call: waits for the guest's function, moves streams, ends when there is nothing left."""

    side: ExportSession

    def begin(self) -> None:
        self.delivered = False
        self.armed = False
        self._patience = _PATIENCE

    def note(self, event: int, a: int, b: int) -> Plan | None:
        if event != Event.SUBTASK:
            return super().note(event, a, b)
        return (ALONE, _deliver(a)) if b == _RETURNED else None

    def step(self, event: int, a: int, b: int) -> int:
        return self.follow(event, a, b)

    def rest(self, event: int) -> int:
        if not self.side.is_moving():
            return self._end() if self.delivered else self._doze()
        self.side.awake = True
        return Op.NEXT if event == Event.NONE and self.side.scheduler.rests(self.side) else Op.YIELD

    def _doze(self) -> int:
        self.side.awake = False
        return Op.DOZE  # its set has the subtask; nobody wakes it

    def _end(self) -> int:
        """Finish, but let the other adapter take note first of what this one has read last."""
        if self._patience and any(side.flows for side in self.side.scheduler.sides if side is not self.side):
            self._patience -= 1
            self.side.scheduler.ending = True
            return Op.YIELD
        self.side.scheduler.ending = self.side.awake = False
        return Op.FINISH


def _deliver(subtask: int) -> Any:
    yield Op.DELIVER | subtask << 32


class _Giving:
    """What writes arguments of whose objects the adapter makes handles.

    :ivar given: the keys of the objects
    """

    def __init__(self, table: HostObjects) -> None:
        self._table = table
        self.given: list[int] = []

    def give(self, sort: int, kind: int, value: Any) -> int:
        if value.__class__ is GuestHandle:
            raise TypeError("not an object of the host")
        rep = self._table.add(value)
        self.given.append(rep)
        return rep


class _Handles:
    """What the codecs ask for handles, with the session behind it."""

    def __init__(self, session: ExportSession) -> None:
        self._session = session

    def own(self, kind: int, handle: int) -> Any:
        """Return a resource of the guest, or an object in whose handle's place is the representation."""
        session = self._session
        if session.kinds.custody[kind] is not Custody.GUEST:
            return session.table.take(handle)
        return GuestHandle(session, session.kinds.resources[kind], kind, handle)

    def borrow(self, kind: int, handle: int) -> Any:
        """Never asked: no result has a borrowed handle."""
        raise AssertionError("a borrowed handle was returned")

    def stream(self, kind: int, handle: int) -> BridgedStream:
        return BridgedStream(self._session.incoming(STREAM, kind, handle))

    def future(self, kind: int, handle: int) -> IncomingFuture:
        return IncomingFuture(self._session.incoming(FUTURE, kind, handle))
