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
_FEW: Final = 256
"""Calls that are counted down in one go: Python has these numbers ready, which halves what counting costs."""


class Internal(HostFunction):
    """A host function that serves the host's own adapters: what guests call is counted elsewhere."""


class Pace:
    """The calls of one workload.

    :param rate: calls a second
    :ivar few: how many of the next there are until `more` is to be called; generated code counts them down
    """

    __slots__ = ("_at", "_clock", "_left", "_rate", "_workload", "few")

    def __init__(self, workload: str, rate: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._workload = workload
        self._rate = rate
        self._clock = clock
        self._at = clock()
        self._left = 2 * rate
        self.few = 0

    def ahead(self) -> float:
        """Return for how many seconds guests are to wait, if it is more than 0."""
        now = self._clock()
        leaked = int((now - self._at) * self._rate)
        self._at += leaked / self._rate
        self._left = min(2 * self._rate - self.few, self._left + leaked)
        return 1 - self.left / self._rate

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

    @property
    def left(self) -> int:
        """How many more calls there may be before the bucket has leaked."""
        return self._left + self.few

    def more(self) -> int:
        """Count a call; return how many come after it until this is to be called again.

        :raises wasmplex.errors.LimitReached: if a guest calls too often to be held back
        """
        few = min(_FEW, self._left)
        if few <= 0:
            made = f"its guests made {2 * self._rate} calls of the host too soon"
            why = f"{made}, {self._rate} a second are allowed"
            raise LimitReached(self._workload, _KEY, why)
        self._left -= few
        return few - 1
