"""The plain functions that an adapter imports: each finds the session of its instance and passes blocks on.

A block crosses as a string whose code points are its bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from wasmplex.bridge.functions import AdapterKinds, Served
from wasmplex.bridge.session import Session
from wasmplex.plugins.contracts import HostFunction, HostFunctions

__all__ = ["port"]


class _Port:
    """The host's side of one linked adapter; shared by all its instances."""

    def __init__(self, served: Sequence[Served], kinds: AdapterKinds) -> None:
        self._served = served
        self._kinds = kinds

    def _session(self, instance: Any) -> Session:
        found: Session | None = instance.state.get(Session)
        if found is None:
            instance.state[Session] = found = Session(self._served, self._kinds, instance)
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
        await self._session(instance).next()

    def operands(self, instance: Any, task: int) -> int:
        return self._session(instance).operands_next

    def chunk(self, instance: Any, task: int) -> str:
        return self._session(instance).chunk(task).decode("latin-1")

    def emit(self, instance: Any, task: int, block: str) -> None:
        self._session(instance).emitted.append(block.encode("latin-1"))

    def drop(self, instance: Any, kind: int, rep: int) -> None:
        self._session(instance).drop(rep)


def port(served: Sequence[Served], kinds: AdapterKinds) -> HostFunctions:
    """Return what to link an adapter's one import with."""
    to = _Port(served, kinds)
    functions: dict[str, Callable[..., Any]] = {
        "call": to.call, "call-wait": to.call_wait, "submit": to.submit, "resume": to.resume, "take": to.take,
        "step": to.step, "next": to.next, "operands": to.operands, "chunk": to.chunk, "emit": to.emit,
        "drop": to.drop,
    }  # fmt: skip
    return {name: HostFunction(function, context=True) for name, function in functions.items()}
