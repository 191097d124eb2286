"""Waiting for something to happen, as ``wasi:io/poll`` has it.

Waiting is by callback, not by task: whoever waits attaches a waker to each `Pollable`, and detaches it
afterwards, cancelled or not. That makes `wait_any` over many pollables cheap and leaves nothing behind.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from asyncio import Future, get_running_loop
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from wasmplex.errors import FailureError

__all__ = [
    "FuturePollable", "Pollable", "ReadyPollable", "Signal", "SignalPollable", "Violation", "Waker",
    "wait_any",
]  # fmt: skip

Waker: TypeAlias = Callable[[], None]


class Violation(FailureError):
    """The guest broke a rule that WASI answers with a trap, or asked for more than a limit allows."""


class Signal:
    """Wakes whoever waits for some state to change. It has no state of its own and needs no closing."""

    __slots__ = ("_wakers",)

    def __init__(self) -> None:
        self._wakers: dict[Waker, None] = {}

    def notify(self) -> None:
        """Say that the state may have changed. Call it from the event loop only."""
        if self._wakers:
            for waker in tuple(self._wakers):
                waker()

    def attach(self, waker: Waker) -> None:
        """Have `waker` called by `notify`; attaching it twice is attaching it once."""
        self._wakers[waker] = None

    def detach(self, waker: Waker) -> None:
        """Undo `attach`."""
        self._wakers.pop(waker, None)

    async def wait(self) -> None:
        """Wait for the next `notify`."""
        future = get_running_loop().create_future()
        waker = _waker(future)
        self.attach(waker)
        try:
            await future
        finally:
            self.detach(waker)


class Pollable(ABC):
    """The resource ``pollable``."""

    __slots__ = ()

    @abstractmethod
    def ready(self) -> bool:
        """Say whether it is ready now. Cheap: it is asked on every wake-up."""

    @abstractmethod
    def attach(self, waker: Waker) -> None:
        """Have `waker` called from the event loop when this may have become ready.

        Called after `ready` has said no, without an await between. It may call too often, and has to
        bear the same waker twice.
        """

    @abstractmethod
    def detach(self, waker: Waker) -> None:
        """Undo `attach`; also for a waker that is not attached."""

    async def block(self) -> None:
        """Wait until it is ready."""
        if not self.ready():
            await wait_any((self,))


class ReadyPollable(Pollable):
    """Always ready."""

    __slots__ = ()

    def ready(self) -> bool:
        """Say yes."""
        return True

    def attach(self, waker: Waker) -> None:
        """Do nothing: nobody waits for what is ready."""

    def detach(self, waker: Waker) -> None:
        """Do nothing."""


class SignalPollable(Pollable):
    """Ready when `check` says so; `signal` is notified whenever that may have changed."""

    __slots__ = ("_check", "_signal")

    def __init__(self, check: Callable[[], bool], signal: Signal) -> None:
        self._check = check
        self._signal = signal

    def ready(self) -> bool:
        """Ask `check`."""
        return self._check()

    def attach(self, waker: Waker) -> None:
        """Attach to the signal."""
        self._signal.attach(waker)

    def detach(self, waker: Waker) -> None:
        """Detach from the signal."""
        self._signal.detach(waker)


class FuturePollable(Pollable):
    """Ready when a future is done, well or badly. It neither owns nor cancels the future."""

    __slots__ = ("_callbacks", "_future")

    def __init__(self, future: Future[Any]) -> None:
        self._future = future
        self._callbacks: dict[Waker, Callable[[Future[Any]], None]] = {}

    def ready(self) -> bool:
        """Say whether the future is done."""
        return self._future.done()

    def attach(self, waker: Waker) -> None:
        """Have `waker` called when the future is done."""
        if waker not in self._callbacks:
            callback = self._callbacks[waker] = lambda _: waker()
            self._future.add_done_callback(callback)

    def detach(self, waker: Waker) -> None:
        """Undo `attach`."""
        if callback := self._callbacks.pop(waker, None):
            self._future.remove_done_callback(callback)


def _waker(future: Future[None]) -> Waker:
    def wake() -> None:
        if not future.done():
            future.set_result(None)

    return wake


async def wait_any(pollables: Sequence[Pollable]) -> list[int]:
    """Wait until at least one is ready; return the indices of all that are, in order.

    :raises Violation: if there is none to wait for
    """
    if not pollables:
        raise Violation("wasi:io/poll: the list to poll is empty")
    # A guest may name one many times: it is asked, and attached to, once each time around.
    different = pollables if len(pollables) == 1 else tuple(dict.fromkeys(pollables))
    while not (ready := [pollable for pollable in different if pollable.ready()]):
        future = get_running_loop().create_future()
        waker = _waker(future)
        try:
            for pollable in different:
                pollable.attach(waker)
            await future
        finally:
            for pollable in different:
                pollable.detach(waker)
    found = set(ready)
    return [i for i, pollable in enumerate(pollables) if pollable in found]
