"""The plain functions that an adapter imports: each finds the session of its instance and passes blocks on.

A block crosses as a string whose code points are its bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from wasmplex.bridge.exporting import ExportSession
from wasmplex.bridge.functions import AdapterKinds, Served
from wasmplex.bridge.parts import HOST_FUNCTIONS
from wasmplex.bridge.session import Session
from wasmplex.bridge.side import Pulse
from wasmplex.plugins.contracts import HostFunction, HostFunctions

__all__ = ["export_port", "export_session", "port", "pulse_of"]


def pulse_of(instance: Any) -> Pulse:
    """Return the pulse of an instance, shared by its adapters."""
    found: Pulse = instance.state.setdefault(Pulse, Pulse())
    return found


class _Port:
    """The host's side of one linked adapter; shared by all its instances."""

    def __init__(self, served: Sequence[Served], kinds: AdapterKinds) -> None:
        self._served = served
        self._kinds = kinds

    def _session(self, instance: Any) -> Session:
        found: Session | None = instance.state.get(Session)
        if found is None:
            instance.state[Session] = found = Session(pulse_of(instance), self._kinds, self._served, instance)
        return found

    def call(self, instance: Any, fn: int, block: str) -> str:
        return self._session(instance).call(fn, block.encode("latin-1")).decode("latin-1")

    async def call_wait(self, instance: Any, fn: int, block: str) -> str:
        answer = await self._session(instance).call_wait(fn, block.encode("latin-1"))
        return answer.decode("latin-1")

    def submit(self, instance: Any, fn: int, task: int, block: str) -> str:
        return self._session(instance).submit(fn, task, block.encode("latin-1")).decode("latin-1")

    def resume(self, instance: Any, block: str) -> str:
        return self._session(instance).resume(block.encode("latin-1")).decode("latin-1")

    def take(self, instance: Any, task: int) -> str:
        return self._session(instance).take(task).decode("latin-1")

    def step(self, instance: Any, task: int, event: int, a: int, b: int) -> int:
        return self._session(instance).step(task, event, a, b)

    async def next(self, instance: Any) -> None:
        await self._session(instance).pulse.next()

    def operands(self, instance: Any, task: int) -> int:
        return self._session(instance).operands_next

    def chunk(self, instance: Any, task: int) -> str:
        return self._session(instance).chunk().decode("latin-1")

    def emit(self, instance: Any, task: int, block: str) -> None:
        self._session(instance).emitted.append(block.encode("latin-1"))

    def drop(self, instance: Any, kind: int, rep: int) -> None:
        self._session(instance).drop(rep)


class _ExportPort:
    """The same for an export adapter: fewer functions, another session."""

    def __init__(self, kinds: AdapterKinds) -> None:
        self._kinds = kinds

    def session(self, instance: Any) -> ExportSession:
        found: ExportSession | None = instance.state.get(ExportSession)
        if found is None:
            found = ExportSession(pulse_of(instance), self._kinds)
            instance.state[ExportSession] = found
        return found

    def resume(self, instance: Any, block: str) -> str:
        return self.session(instance).resume(block.encode("latin-1")).decode("latin-1")

    def step(self, instance: Any, task: int, event: int, a: int, b: int) -> int:
        return self.session(instance).step(task, event, a, b)

    async def next(self, instance: Any) -> None:
        await pulse_of(instance).next()

    def operands(self, instance: Any, task: int) -> int:
        return self.session(instance).operands_next

    def chunk(self, instance: Any, task: int) -> str:
        return self.session(instance).chunk().decode("latin-1")

    def emit(self, instance: Any, task: int, block: str) -> None:
        self.session(instance).emitted.append(block.encode("latin-1"))

    def result(self, instance: Any, task: int, at: int, block: str) -> None:
        self.session(instance).result(at, block.encode("latin-1"))


def _never(*args: Any) -> Any:
    raise AssertionError("this adapter does not call that")


def _complete(functions: dict[str, Callable[..., Any]]) -> HostFunctions:
    """Add the functions of the common host instance that this kind of adapter never calls."""
    every = {name: functions.get(name, _never) for name in HOST_FUNCTIONS}
    return {name: HostFunction(function, context=True) for name, function in every.items()}


def export_port(kinds: AdapterKinds) -> HostFunctions:
    """Return what to link an export adapter's host import with."""
    to = _ExportPort(kinds)
    return _complete(
        {
            "resume": to.resume, "step": to.step, "next": to.next, "operands": to.operands,
            "chunk": to.chunk, "emit": to.emit, "result": to.result,
        }
    )  # fmt: skip


def port(served: Sequence[Served], kinds: AdapterKinds) -> HostFunctions:
    """Return what to link an adapter's one import with."""
    to = _Port(served, kinds)
    return _complete(
        {
            "call": to.call, "call-wait": to.call_wait, "submit": to.submit, "resume": to.resume,
            "take": to.take, "step": to.step, "next": to.next, "operands": to.operands,
            "chunk": to.chunk, "emit": to.emit, "drop": to.drop,
        }
    )  # fmt: skip


def export_session(instance: Any, kinds: AdapterKinds) -> ExportSession:
    """Return the session of an instance's export adapter."""
    return _ExportPort(kinds).session(instance)
