"""A guest's standard output and error as lines in the host's log."""

from __future__ import annotations

from asyncio import sleep
from typing import Final

from wasmplex.plugin import Escaped, escape, get_logger

from host_plugin_wasi.io import MaybeAwaitable, OutputStream, Pollable, ReadyPollable, Violation
from host_plugin_wasi.log_budget import LogBudget

__all__ = ["LINE_LIMIT", "LineLog", "LogOutput"]

LINE_LIMIT: Final = 8192
"""Bytes of one line that are logged; the rest of a longer one is counted and thrown away."""

_AT_ONCE: Final = 64
"""Lines that are logged before others have their turn: a guest can make a million of them in one write."""

_PERMIT: Final = 64 << 10
_WITHOUT_PAUSE: Final = 4 * _PERMIT
"""Bytes after which the event loop has its turn. Whoever splices a file to here calls so fast that the thread
which is to interrupt the guest does not get Python's lock: 64 MiB took 50 ms in one go."""


class LineLog:
    """Collects the bytes of one stream of one instance into lines, and logs each.

    The logger is ``wasmplex.guest.<workload>``, the level INFO, and the record has an attribute
    ``stream``, ``"stdout"`` or ``"stderr"``.

    :param budget: what all guests of the workload may write
    :ivar handles: how many `LogOutput` write to it; when the last is dropped, a partial line is logged
    """

    __slots__ = ("_budget", "_extra", "_line", "_logger", "_lost", "_unbroken", "handles")

    def __init__(self, workload: str, stream: str, budget: LogBudget) -> None:
        self._budget = budget
        self._logger = get_logger(f"wasmplex.guest.{workload}")
        self._extra = {"stream": stream, "workload": workload}
        self._line = bytearray()
        self._lost = 0
        self._unbroken = 0
        self.handles = 0

    def write(self, contents: bytes) -> MaybeAwaitable[None]:
        """Take bytes; log the lines that they end. Many are logged a few at a time, much with pauses."""
        if contents.count(b"\n") > _AT_ONCE:
            return self._write_slowly(contents)
        self._write(contents)
        self._unbroken += len(contents)
        if self._unbroken < _WITHOUT_PAUSE:
            return None
        self._unbroken = 0
        return sleep(0)

    async def _write_slowly(self, contents: bytes) -> None:
        start = 0
        while start < len(contents):
            last = contents.rfind(b"\n") + 1
            if self._budget.dry and last > start:
                self._leave_out(contents.count(b"\n", start, last), last - start)
                start = last
                continue
            end = start
            for _ in range(_AT_ONCE):
                end = contents.find(b"\n", end) + 1
                if not end:
                    end = len(contents)
                    break
            self._write(contents[start:end])
            start = end
            await sleep(0)

    def _write(self, contents: bytes) -> None:
        *ended, rest = contents.split(b"\n")
        for piece in ended:
            self._append(piece)
            self._emit()
        self._append(rest)

    def flush(self) -> None:
        """Log what is left of a line without an end."""
        if self._line:
            self._emit()

    def _append(self, piece: bytes) -> None:
        room = LINE_LIMIT - len(self._line)
        self._line += piece[:room]
        self._lost += max(0, len(piece) - room)

    def _leave_out(self, lines: int, size: int) -> None:
        """Count lines that are not logged, the first of which may have begun earlier."""
        self._budget.leave_out(lines, len(self._line) + self._lost + size)
        self._line, self._lost = bytearray(), 0

    def _emit(self) -> None:
        if not self._budget.take(len(self._line)):
            self._leave_out(1, 1)
            return
        line, self._line = self._line, bytearray()
        lost, self._lost = self._lost, 0
        text = escape(line.removesuffix(b"\r").decode("utf-8", "replace"), keep="\t")
        self._budget.charge(len(text) - len(line))
        if lost:
            text = f"{text} [{lost} bytes cut]"
        self._logger.info("%s", Escaped(text), extra=self._extra)


class LogOutput(OutputStream):
    """An ``output-stream`` into a `LineLog`. It always has room, and nothing ever fails."""

    __slots__ = ("_log",)

    def __init__(self, log: LineLog) -> None:
        self._log = log
        log.handles += 1

    def check_write(self) -> int:
        """Return how much one write may bring."""
        return _PERMIT

    def write(self, contents: bytes) -> MaybeAwaitable[None]:
        """Log the lines that `contents` ends.

        :raises Violation: if it is more than permitted
        """
        if len(contents) > _PERMIT:
            raise Violation("wasi:io/streams: write of more than check-write permits")
        return self._log.write(contents)

    def blocking_write_and_flush(self, contents: bytes) -> MaybeAwaitable[None]:
        """As `write`; nothing is buffered but a line without its end."""
        return self._log.write(contents)

    def blocking_flush(self) -> None:
        """Do nothing: lines are logged as they end."""

    def subscribe(self) -> Pollable:
        """Return a pollable that is ready."""
        return ReadyPollable()

    def drop(self) -> None:
        """Let go of the log; the last one logs what is left."""
        self._log.handles -= 1
        if not self._log.handles:
            self._log.flush()
