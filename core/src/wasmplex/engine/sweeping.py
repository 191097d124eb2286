"""Drops what ended instances have left behind, a little at a time, so that nobody else waits for it.

What a guest holds is for it to choose, and each `drop()` is code of a plugin. So only a few objects are
dropped at once where an instance ends; the others in turns of the event loop, some milliseconds in each.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from wasmplex.engine.resources import HostObjects
from wasmplex.logs import get_logger

__all__ = ["FEW", "Report", "Sweeper"]

_log = get_logger(__name__)

FEW: Final = 64
"""Objects of an instance that are dropped at once."""
_SECONDS: Final = 0.002
"""What a turn of the event loop may take for the others."""

Report = Callable[[str, BaseException], None]
"""Is told of an exception that a ``drop()`` raised, and whose instance held the object."""


def _warn(workload: str, error: BaseException) -> None:
    _log.warning("workload %s: dropping a resource of an ended instance failed", workload, exc_info=error)


class Sweeper:
    """Drops the objects of ended instances.

    :param report: is told what the first of an instance's objects raised that could not be dropped
    """

    def __init__(self, report: Report = _warn) -> None:
        self._report = report
        self._waiting: deque[_Sweep] = deque()
        self._loop: asyncio.AbstractEventLoop | None = None

    def __len__(self) -> int:
        """Return how many objects wait to be dropped."""
        return sum(len(sweep.objects) for sweep in self._waiting)

    def sweep(self, objects: HostObjects) -> None:
        """Drop everything in a table, the youngest first: now, or soon. Never raises."""
        if len(objects) > FEW and (loop := _running_loop()) is not None:
            self._waiting.append(_Sweep(objects))
            if self._loop is not loop:  # none, or one that has ended before its turn came
                self._loop = loop
                loop.call_soon(self._turn)
        elif objects:
            self._some(_Sweep(objects))

    def _turn(self) -> None:
        until = time.perf_counter() + _SECONDS
        while self._waiting and self._some(self._waiting[0], until):
            self._waiting.popleft()
        if self._waiting:
            asyncio.get_running_loop().call_soon(self._turn)
        else:
            self._loop = None

    async def swept(self) -> None:
        """Wait until nothing is left to be dropped."""
        while self._waiting:  # noqa: ASYNC110  once, when a workload ends
            await asyncio.sleep(0)

    def finish(self) -> None:
        """Drop all that waits, now: the loop ends."""
        while self._waiting:
            self._some(self._waiting.popleft())

    def _some(self, sweep: _Sweep, until: float = math.inf) -> bool:
        """Drop what a table holds until it is late; say whether nothing is left in it."""
        objects = sweep.objects
        while objects:
            try:
                objects.drop_youngest()
            except (Exception, SystemExit) as error:  # noqa: BLE001  the others are dropped all the same
                sweep.failed += 1
                if sweep.failed == 1:
                    self.tell(objects.workload, error)
            if time.perf_counter() > until and objects:
                return False
        if sweep.failed > 1:
            _log.warning("workload %s: so did dropping %d more of it", objects.workload, sweep.failed - 1)
        return True

    def tell(self, workload: str, error: BaseException) -> None:
        """Report what a ``drop()`` has raised. Never raises."""
        try:
            self._report(workload, error)
        except Exception:  # noqa: BLE001  nobody could do anything about it
            _log.exception("workload %s: what could not be dropped could not be reported either", workload)


@dataclass(slots=True)
class _Sweep:
    """A table that is being emptied.

    :ivar failed: how many of its objects could not be dropped
    """

    objects: HostObjects
    failed: int = 0


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
