"""A guest that misbehaves, the package it imports, and how much of either is there."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path
from typing import Any, ClassVar

import anyio
from wasmplex.bridge.exporting import ExportSession
from wasmplex.bridge.session import Session
from wasmplex.bridge.side import Side
from wasmplex.engine.store import STATES
from wasmplex.plugin import InterfaceProvider, hookimpl, wit_package
from wasmtime import wat2wasm

__all__ = ["CALLBACK", "Mischief", "held", "misbehaving"]

TEXT = Path(__file__).parent / "guests" / "misbehaving.wat"
CALLBACK = {"no-return", "return-twice", "return-early", "wait-for-nothing", "no-code"}
WIT = """
package tests:mischief;

interface host {
    resource thing {
        look: async func(n: u32) -> u32;
    }
    open: async func() -> thing;
    open-late: async func() -> thing;
    keep: async func(t: thing) -> u32;
    stall: func();
    slow: async func(n: u32) -> u32;
    give: func(n: s32) -> stream<u8>;
    promise: func() -> future<u32>;
    soon: func() -> future<u32>;
    nibble: async func(s: stream<u8>) -> u32;
    pause: async func();
    eat: async func(s: stream<u8>) -> u32;
    expect: async func(f: future<u32>) -> u32;
}
"""


def misbehaving() -> bytes:
    """Return the component.

    Each of its functions is exported twice: `x` is called directly, `x-bytes`, which takes bytes besides,
    through the adapter above the guest.
    """
    text = TEXT.read_text()
    wrappers, exports = [], []
    for name in re.findall(r"\(func \$([a-z-]+) \(export", text):
        if name == "callback":
            continue
        wrappers.append(
            f'(func (export "{name}-bytes") (param i32 i32 i32) (result i32) (call ${name} (local.get 0)))'
        )
        how = 'async (callback (core func $code "callback"))' if name in CALLBACK else ""
        for suffix, param in (("", ""), ("-bytes", '(param "b" (list u8))')):
            exports.append(
                f'(func (export "{name}{suffix}") async (param "n" u32) {param} (result u32)'
                f' (canon lift (core func $code "{name}{suffix}") {how} (memory $mem) (realloc $realloc)))'
            )
    exports += [
        f'(func (export "{name}") async (param "n" u32) (result (stream u8)) (canon lift'
        f' (core func $code "{name}") async (callback (core func $code "callback")) (memory $mem)))'
        for name in re.findall(r'\(func \(export "(tell[a-z-]+)"\)', text)
    ]
    text = text.replace(";; WRAPPERS", "\n".join(wrappers)).replace(";; EXPORTS", "\n".join(exports))
    return bytes(wat2wasm(text))


class Mischief:
    """What the guest imports. Everything that it hands out or has under way is counted.

    :ivar open: by kind: things that live, calls and producers under way
    :ivar gate: calls of `slow` and `look` end when it is set
    """

    def __init__(self) -> None:
        self.open: Counter[str] = Counter()
        self.ever: Counter[str] = Counter()
        self.gate = anyio.Event()
        self.stalled, self.opened = anyio.Event(), anyio.Event()

    def left(self) -> dict[str, int]:
        """Return what is open, without what is not."""
        return {kind: count for kind, count in self.open.items() if count}

    def begins(self, kind: str) -> _Open:
        """Return a context that counts as open for as long as it is entered."""
        return _Open(self, kind)

    @hookimpl
    def wasmplex_interfaces(self) -> list[InterfaceProvider]:
        """Register the package."""
        return [wit_package(WIT, {"host": type("Host", (HostInterface,), {"mischief": self})})]


class _Open:
    def __init__(self, mischief: Mischief, kind: str) -> None:
        self._mischief, self._kind = mischief, kind

    def __enter__(self) -> None:
        self._mischief.open[self._kind] += 1
        self._mischief.ever[self._kind] += 1

    def __exit__(self, *exc: object) -> None:
        self._mischief.open[self._kind] -= 1


class _Thing:
    """The resource; it lives until its last handle is gone."""

    def __init__(self, mischief: Mischief) -> None:
        self._mischief = mischief
        self._counted = mischief.begins("things")
        self._counted.__enter__()

    async def look(self, n: int) -> int:
        if n:
            with self._mischief.begins("looks"):
                await self._mischief.gate.wait()
        return n

    def drop(self) -> None:
        self._counted.__exit__()


class HostInterface:
    """The interface ``host``; a class is made of it for each `Mischief`."""

    mischief: ClassVar[Mischief]
    Thing = _Thing

    async def open(self) -> _Thing:
        return _Thing(self.mischief)

    async def open_late(self) -> _Thing:
        await self.mischief.stalled.wait()
        self.mischief.opened.set()
        return _Thing(self.mischief)

    async def keep(self, t: _Thing) -> int:
        try:
            await self.mischief.gate.wait()
        finally:
            t.drop()
        return 0

    async def stall(self) -> None:
        """Suspend the guest until `open_late` has returned."""
        self.mischief.stalled.set()
        await self.mischief.opened.wait()

    async def slow(self, n: int) -> int:
        with self.mischief.begins("slow"):
            await self.mischief.gate.wait()
        return n

    def give(self, n: int) -> AsyncIterator[bytes]:
        """Return a stream of `n` chunks; of endless ones if `n` is negative, of none for ever if it is 0."""
        return _produce(self.mischief, n)

    def promise(self) -> Awaitable[int]:
        return _some_day(self.mischief)

    def soon(self) -> Awaitable[int]:
        return asyncio.sleep(0, 7)

    async def eat(self, s: Any) -> int:
        with self.mischief.begins("eaters"):
            return sum([len(chunk) async for chunk in s])

    async def nibble(self, s: Any) -> int:
        with self.mischief.begins("nibblers"), anyio.move_on_after(0.01):
            await s.read()
        return 0

    async def expect(self, f: Any) -> int:
        with self.mischief.begins("expecting"):
            return int(await f)

    async def pause(self) -> None:
        await anyio.sleep(0.01)


async def _produce(mischief: Mischief, n: int) -> AsyncIterator[bytes]:
    with mischief.begins("producers"):
        if not n:
            await anyio.sleep_forever()
        while n:
            n -= 1
            yield bytes(16)


async def _some_day(mischief: Mischief) -> int:
    with mischief.begins("promises"):
        await anyio.sleep_forever()
    return 1


def held(states: list[dict[Any, Any]]) -> dict[str, int]:
    """Count what some instances hold on the host's side, and what there is in the whole process.

    :param states: the `state` of the instances
    """
    sides: list[Side] = [s[kind] for s in states for kind in (Session, ExportSession) if kind in s]
    sessions = [side for side in sides if isinstance(side, Session)]
    counts = {
        "tasks of the loop": len(asyncio.all_tasks()),
        "stores": len(STATES),
        "flows": sum(len(side.flows) for side in sides),
        "scripts": sum(len(side.scripts) for side in sides),
        "feeding tasks": sum(len(side.background) for side in sides),
        "stream memory": sum(len(memory) for side in sides for memory in side.memories),
        "calls": sum(len(session.tasks) for session in sessions),
        "running": sum(session.running for session in sessions),
        "ready": sum(len(session.ready) for session in sessions),
        "leaving": sum(len(session.leaving) for session in sessions),
        "woken": sum(len(session.driver.woken) for session in sessions),
        "resources": sum(len(session.table) for session in sessions),
    }
    return {what: count for what, count in counts.items() if count}
