"""``wasi:clocks``: the host's clocks, and timers on the event loop."""

from __future__ import annotations

import time
from asyncio import TimerHandle, get_running_loop
from typing import TYPE_CHECKING, Any

from wasmplex.plugin import Tables

from host_plugin_wasi.io import Pollable, Waker

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from wasmplex.plugin import BoundInterfaces, WorkloadContext

__all__ = [
    "LONGEST", "MONOTONIC_RESOLUTION", "SECOND", "SHORTEST", "WALL_RESOLUTION", "Timer", "bind", "datetime",
]  # fmt: skip

SECOND = 1_000_000_000
_NEVER = 2**64 - 1

SHORTEST = 0.001
"""Seconds. Event loops wait in whole milliseconds; less would wake up early and again and again."""

LONGEST = 86_400.0
"""Seconds. Event loops refuse some very long waits; a longer one is made of several."""


class Timer(Pollable):
    """Ready from an instant of the monotonic clock on, in nanoseconds."""

    __slots__ = ("_handles", "_when")

    def __init__(self, when: int) -> None:
        self._when = when
        self._handles: dict[Waker, TimerHandle] = {}

    def ready(self) -> bool:
        """Say whether the instant has come."""
        return time.monotonic_ns() >= self._when

    def attach(self, waker: Waker) -> None:
        """Have `waker` called then, or after a day, whichever is first."""
        if waker not in self._handles:
            delay = (self._when - time.monotonic_ns()) / SECOND
            delay = min(max(delay, SHORTEST), LONGEST)
            self._handles[waker] = get_running_loop().call_later(delay, waker)

    def detach(self, waker: Waker) -> None:
        """Undo `attach`."""
        if handle := self._handles.pop(waker, None):
            handle.cancel()


def datetime(nanoseconds: int) -> dict[str, int]:
    """Return a WIT ``datetime`` from nanoseconds since the epoch; before it there is none.

    :raises ValueError: for a time before the epoch
    """
    if nanoseconds < 0:
        raise ValueError("a datetime cannot be before 1970")
    seconds, rest = divmod(nanoseconds, SECOND)
    return {"seconds": seconds, "nanoseconds": rest}


def _subscribe_duration(duration: int) -> Timer:
    return Timer(min(time.monotonic_ns() + duration, _NEVER))


def _resolution(seconds: float) -> int:
    # Never 0: guests divide by it.
    return max(1, round(seconds * SECOND))


def _display(when: Any) -> dict[str, Any]:
    return {"utc-offset": 0, "name": "UTC", "in-daylight-saving-time": False}


MONOTONIC_RESOLUTION = _resolution(time.get_clock_info("monotonic").resolution)
WALL_RESOLUTION = _resolution(time.get_clock_info("time").resolution)
"""Nanoseconds."""

_INTERFACES = Tables({
    "monotonic-clock": {
        "now": time.monotonic_ns,
        "resolution": lambda: MONOTONIC_RESOLUTION,
        "subscribe-instant": Timer,
        "subscribe-duration": _subscribe_duration,
    },
    "wall-clock": {
        "now": lambda: datetime(time.time_ns()),
        "resolution": lambda: datetime(WALL_RESOLUTION),
    },
    # The host's zone is not the guest's business: it is UTC everywhere.
    "timezone": {
        "display": _display,
        "utc-offset": lambda when: 0,
    },
})  # fmt: skip


def bind(workload: WorkloadContext) -> AbstractAsyncContextManager[BoundInterfaces]:
    """Bind ``wasi:clocks``; it is the same for every workload."""
    return _INTERFACES.context()
