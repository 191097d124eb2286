"""How often the guests of a workload call the host: ``limits.host_calls_per_second``.

The calls of a workload are a bucket that leaks at the rate of the limit. A function that is called from a
guest's code can have it wait only if it is asynchronous, and most are not; so whoever drives a guest waits,
before it goes on, until the bucket holds no more than a second's worth. That is soon: a guest goes on anew
after each tick, and after each host function that waited. One that makes another second's worth of calls
until then is refused, for it is not to be held back.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

from wasmplex.errors import LimitReached
from wasmplex.logs import get_logger
from wasmplex.plugins.contracts import HostFunction

__all__ = ["Internal", "Pace"]

_log = get_logger("wasmplex.engine")

_KEY: Final = "host_calls_per_second"


class Internal(HostFunction):
    """A host function that serves the host's own adapters: what guests call is counted elsewhere."""


class Pace:
    """The calls of one workload.

    :param rate: calls a second
    :ivar calls: those that have not leaked away; generated code counts them
    :ivar most: from how many on one more is refused
    """

    __slots__ = ("_at", "_clock", "_rate", "_workload", "calls", "most")

    def __init__(self, workload: str, rate: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._workload = workload
        self._rate = rate
        self._clock = clock
        self._at = clock()
        self.calls = 0.0
        self.most = 2.0 * rate

    def ahead(self) -> float:
        """Return for how many seconds guests are to wait, if it is more than 0."""
        now = self._clock()
        self.calls = max(0.0, self.calls - (now - self._at) * self._rate)
        self._at = now
        return self.calls / self._rate - 1

    async def wait(self, seconds: float) -> None:
        """Wait until a guest may go on; it is said that it does.

        :param seconds: what `ahead` has returned
        """
        _log.warning(
            "workload %s: its guests are held back, for they call the host more often than limits.%s",
            self._workload, _KEY, extra={"workload": self._workload},
        )  # fmt: skip
        while seconds > 0:
            await asyncio.sleep(seconds)
            seconds = self.ahead()

    def refused(self) -> LimitReached:
        """Return what a guest is told that calls too often to be held back."""
        why = f"its guests made {self.calls:.0f} calls of the host, and {self._rate} a second are allowed"
        return LimitReached(self._workload, _KEY, why)
