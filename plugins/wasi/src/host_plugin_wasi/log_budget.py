"""How much the guests of a workload may write to the log in a second, and what is said of the rest."""

from __future__ import annotations

import time
from asyncio import TimerHandle, get_running_loop
from collections.abc import Callable
from typing import Final

from wasmplex.plugin import WorkloadContext, get_logger

__all__ = ["LINE_COST", "LogBudget"]

LINE_COST: Final = 128
"""Bytes that a line counts on top of its own: what the log writes around it, and the work of doing so."""

_REPORT: Final = 1.0
"""Seconds after the first line that is left out until it is said how many were."""

_logger = get_logger("wasmplex.wasi")


class LogBudget:
    """A budget that fills up with time, to one second's worth.

    What does not fit is left out: a guest that waited would fail the requests that it serves, and whoever
    makes it write a line for each of theirs could have it wait. One line says how much it was.

    :param workload: whose lines they are
    :param rate: bytes a second; a line counts `LINE_COST` more than it has
    """

    def __init__(self, workload: str, rate: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.workload = workload
        self._rate = rate
        self._clock = clock
        self._left = float(rate)
        self._at = clock()
        self._lines = self._bytes = 0
        self._report: TimerHandle | None = None

    @classmethod
    def of(cls, workload: WorkloadContext) -> LogBudget:
        """Return the one budget of a workload, whatever versions of ``wasi:cli`` it imports."""
        if cls not in workload.shared:
            workload.shared[cls] = cls(workload.name, workload.limits.log_bytes_per_second)
        found: LogBudget = workload.shared[cls]
        return found

    def take(self, size: int) -> bool:
        """Say whether a line of so many bytes may be written; it may run into debt, or it never could."""
        if self.dry:
            return False
        self._left -= size + LINE_COST
        return True

    def charge(self, size: int) -> None:
        """Note that a line that was taken has become longer, by what it is escaped with."""
        self._left -= max(0, size)

    @property
    def dry(self) -> bool:
        """Whether nothing may be written now."""
        now = self._clock()
        self._left = min(self._rate, self._left + (now - self._at) * self._rate)
        self._at = now
        return self._left <= 0

    def leave_out(self, lines: int, size: int) -> None:
        """Count what is not written."""
        self._lines += lines
        self._bytes += size
        if self._report is None:
            self._report = get_running_loop().call_later(_REPORT, self.report)

    def report(self) -> None:
        """Say how much was left out since it was last said."""
        lines, size, report = self._lines, self._bytes, self._report
        self._lines, self._bytes, self._report = 0, 0, None
        if report is not None:
            report.cancel()
        if lines:
            _logger.warning(
                "workload %r: its guests wrote more than limits.log_bytes_per_second: "
                "%d lines (%d bytes) were left out",
                self.workload, lines, size, extra={"workload": self.workload, "counts": True},
            )  # fmt: skip
