"""The plain functions that an adapter imports: each finds its instance's session and passes blocks on."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Literal

from wasmplex.bridge.codec import Kinds
from wasmplex.bridge.direct import DIRECT, Box, direct, dropping
from wasmplex.bridge.exporting import ExportSession
from wasmplex.bridge.flows import Memory
from wasmplex.bridge.functions import AdapterKinds, Served
from wasmplex.bridge.packing import packed, unpacked
from wasmplex.bridge.protocol import ORDERS_MOST, PACKED, ROOM, First
from wasmplex.bridge.scheduler import Scheduler
from wasmplex.bridge.session import Session
from wasmplex.bridge.side import Side
from wasmplex.bridge.transport import CALL_MARKS, MEMORY, Transport
from wasmplex.engine.bare import BareFunction
from wasmplex.engine.pace import Internal
from wasmplex.engine.resources import HostObjects
from wasmplex.plugins.contracts import HostFunction

__all__ = ["export_port", "export_session", "keeper_port", "port", "scheduler_of"]

_CALLS = {"call", "call-wait", "submit"}
"""The functions by which adapters pass on what a guest calls."""
_GROW = struct.Struct("<II8x")


def scheduler_of(instance: Any) -> Scheduler:
    """Return the scheduler of an instance, shared by its adapters."""
    found: Scheduler | None = instance.state.get(Scheduler)
    if found is None:
        found = instance.state[Scheduler] = Scheduler(instance.workload, instance.limits, instance.account)
    return found


class _Common:
    """What both kinds of adapters ask for, by either transport."""

    def __init__(self, kinds: AdapterKinds, transport: Transport) -> None:
        self._kinds = kinds
        self._transport = transport
        self.answer = packed if transport.packs else _as_it_is

    def session(self, instance: Any) -> Side:
        """Return the session of an instance, made when it is first asked for."""
        raise NotImplementedError

    def step(self, instance: Any, task: int, event: int, a: int, b: int) -> int:
        return self.session(instance).step(task, event, a, b)

    async def next(self, instance: Any) -> None:
        await scheduler_of(instance).next()

    def operands(self, instance: Any, task: int) -> int:
        return self.session(instance).operands_next

    def chunk(self, instance: Any, task: int) -> str:
        return self.session(instance).chunk()

    def emit(self, instance: Any, task: int, block: str) -> None:
        self.session(instance).emitted.append(unpacked(task, block))

    def emit_memory(self, instance: Any, task: int, which: int, at: int, size: int) -> None:
        side = self.session(instance)
        side.emitted.append(side.buffers[which].read(at, size))

    def resume(self, instance: Any, block: str) -> str:
        return self.answer(self.session(instance).resume(block.encode("latin-1")))

    def resume_memory(self, instance: Any, at: int, size: int, to: int) -> int:
        side = self.session(instance)
        return place(side, to, side.resume(side.calls.read(at, size)))

    def refill(self, instance: Any, to: int) -> int:
        side = self.session(instance)
        data, side.kept_back = side.kept_back, b""
        side.calls.write(to, data)
        return len(data)


def _as_it_is(block: bytes | bytearray) -> str:
    return block.decode("latin-1")


def place(side: Side, to: int, block: bytes | bytearray) -> int:
    """Put an answer where the adapter wants it, or keep it back until there is room."""
    if len(block) > ROOM:
        side.kept_back = block
        block = _GROW.pack(First.GROW, len(block))
    side.calls.write(to, block)
    return len(block)


class _Port(_Common):
    """The host's side of one linked import adapter; shared by all its instances.

    :param name: of the adapter's role
    """

    def __init__(
        self, name: str, served: Sequence[Served], kinds: AdapterKinds, transport: Transport
    ) -> None:
        super().__init__(kinds, transport)
        self._name = name
        self._served = served
        self._key: Any = (Session, name)

    def session(self, instance: Any) -> Session:
        found: Session | None = instance.state.get(self._key)
        if found is None:
            scheduler = scheduler_of(instance)
            found = Session(scheduler, self._kinds, self._served, instance)
            instance.state[self._key] = found
            prepare(found, instance, self._transport, self._name)
            if self._name == "below":
                scheduler.maker = found
        return found

    def box(self, instance: Any) -> Box:
        return Box(self.session(instance))

    def call(self, instance: Any, fn: int, block: str) -> str:
        answer = self.session(instance).call(fn & ~PACKED, unpacked(fn, block))
        return self.answer(answer)

    def call_memory(self, instance: Any, fn: int, at: int, size: int, to: int) -> int:
        side: Session = instance.state.get(self._key) or self.session(instance)
        if (whole := side.whole[fn]) is not None and not side.driver.dozing:
            memory = side.calls
            block = whole(memory.read(at, size), at, to, side.handles, instance)
            if (count := len(block)) <= ROOM:
                memory.write(to, block)
                return count
            return place(side, to, block)
        return place(side, to, side.call(fn, side.calls.read(at, size)))

    async def call_wait(self, instance: Any, fn: int, block: str) -> str:
        return self.answer(await self.session(instance).call_wait(fn & ~PACKED, unpacked(fn, block)))

    async def call_wait_memory(self, instance: Any, fn: int, at: int, size: int, to: int) -> int:
        side = self.session(instance)
        return place(side, to, await side.call_wait(fn, side.calls.read(at, size)))

    def submit(self, instance: Any, fn: int, task: int, block: str) -> str:
        return self.answer(self.session(instance).submit(fn & ~PACKED, task, unpacked(fn, block)))

    def submit_memory(self, instance: Any, fn: int, task: int, at: int, size: int, to: int) -> int:
        side = self.session(instance)
        return place(side, to, side.submit(fn, task, side.calls.read(at, size)))

    def take(self, instance: Any, task: int) -> str:
        return self.answer(self.session(instance).take(task))

    def take_memory(self, instance: Any, task: int, to: int) -> int:
        side = self.session(instance)
        return place(side, to, side.take(task))

    def drop(self, instance: Any, kind: int, rep: int) -> None:
        self.session(instance).drop(rep)


class _ExportPort(_Common):
    """The same for an export adapter: fewer functions, another session."""

    def session(self, instance: Any) -> ExportSession:
        found: ExportSession | None = instance.state.get(ExportSession)
        if found is None:
            found = ExportSession(scheduler_of(instance), self._kinds, instance.objects)
            instance.state[ExportSession] = found
            prepare(found, instance, self._transport, "above")
        return found

    def result(self, instance: Any, task: int, at: int, block: str) -> None:
        self.session(instance).result(at, unpacked(task, block))

    def take(self, instance: Any, task: int) -> str:
        return self.answer(self.session(instance).take())

    def take_memory(self, instance: Any, task: int, to: int) -> int:
        side = self.session(instance)
        return place(side, to, side.take())

    def result_memory(self, instance: Any, task: int, at: int, size: int) -> None:
        side = self.session(instance)
        side.result(at, side.calls.read(at, size))


def prepare(side: Side, instance: Any, transport: Transport, which: str) -> None:
    """Tell a session how its blocks cross; let it see its adapter's memories, if that is how.

    They are told by the maxima that they declare. The guest may have some that declare the same: it is made
    after the adapters that it imports from, and before the one that calls it.
    """
    if transport.packs:
        side.pack()
    if transport is not MEMORY:
        return
    marks = CALL_MARKS[which]
    found: dict[int, Memory] = {}
    for memory in instance.memories if which != "above" else reversed(instance.memories):
        found.setdefault(memory.maximum >> 16, memory)
    side.calls, side.orders_most = found[marks.calls], ORDERS_MOST
    if marks.buffers in found and marks.pointed in found:  # it has streams
        side.buffers = (found[marks.buffers], found[marks.pointed])


def _never(*args: Any) -> Any:
    raise AssertionError("this adapter does not call that")


def _complete(functions: dict[str, Callable[..., Any]], transport: Transport) -> dict[str, HostFunction]:
    """Add the functions of the common host instance that this kind of adapter never calls."""
    every = {name: functions.get(name, _never) for name in transport.functions}
    kinds = {name: HostFunction if name in _CALLS else Internal for name in every}
    return {name: kinds[name](function, context=True) for name, function in every.items()}


def _common(to: _Common, transport: Transport) -> dict[str, Callable[..., Any]]:
    functions: dict[str, Callable[..., Any]] = {"step": to.step, "next": to.next}
    if transport is MEMORY:
        return functions | {"resume": to.resume_memory, "emit": to.emit_memory, "refill": to.refill}
    return functions | {"resume": to.resume, "emit": to.emit, "chunk": to.chunk, "operands": to.operands}


def export_port(kinds: AdapterKinds, transport: Transport) -> dict[str, HostFunction]:
    """Return what to link an export adapter's host import with."""
    to = _ExportPort(kinds, transport)
    own: dict[str, Callable[..., Any]] = (
        {"result": to.result_memory, "take": to.take_memory}
        if transport is MEMORY
        else {"result": to.result, "take": to.take}
    )
    return _complete({**_common(to, transport), **own}, transport)


def export_session(instance: Any, kinds: AdapterKinds, transport: Transport) -> ExportSession:
    """Return the session of an instance's export adapter."""
    return _ExportPort(kinds, transport).session(instance)


def keeper_port(count: int) -> dict[str, HostFunction]:
    """Return the functions by which adapters deal with so many resources that are linked directly."""

    def take(instance: Any, handle: Any) -> int:
        objects: HostObjects = instance.objects
        return objects.add(handle)

    def give(instance: Any, rep: int) -> Any:
        return instance.objects.take(rep)

    functions = {"take": take, "peek": take, "give": give}
    return {
        f"{name}{number}": Internal(function, context=True)
        for number in range(count)
        for name, function in functions.items()
    }


def port(
    name: str,
    served: Sequence[Served],
    kinds: AdapterKinds,
    table: Kinds,
    transport: Transport,
    *,
    tasks: bool,
) -> dict[str, HostFunction | BareFunction]:
    """Return what to link an import adapter's host import with.

    :param name: of the adapter's role
    :param table: the numbers of the adapter's types
    :param tasks: whether the adapter has tasks
    """
    to = _Port(name, served, kinds, transport)
    own: dict[str, Callable[..., Any]]
    if transport is MEMORY:
        own = {"call": to.call_memory, "call-wait": to.call_wait_memory, "submit": to.submit_memory,
               "take": to.take_memory}  # fmt: skip
    else:
        own = {"call": to.call, "call-wait": to.call_wait, "submit": to.submit, "take": to.take}
    linked: dict[str, HostFunction | BareFunction] = {}
    linked |= _complete({**_common(to, transport), **own, "drop": to.drop}, transport)
    kept: Literal["bare", "bare_aside"] = "bare" if name == "below" else "bare_aside"
    if transport is MEMORY:
        linked["drop"] = dropping(to.box, kept)
    for one in served:
        if one.direct:
            function = one.codec.function
            bare = direct(function, one.call, table, to.box, context=one.context, tasks=tasks)
            linked[f"{DIRECT}{function.number}"] = replace(bare, name=function.path, kept=kept)
    return linked
