"""Warnings that are repeated are counted: a flood of them says no more than the first few do."""

from __future__ import annotations

import copy
import logging
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, TypeAlias

from wasmplex.escaping import Escaped
from wasmplex.logs.records import Prepare

if TYPE_CHECKING:
    import asyncio

__all__ = ["Counted"]

_MOST: Final = 1000
"""Kinds of warnings that are told apart; those beyond are of one kind for each logger."""
_PREPARE: Final = Prepare()

_Key: TypeAlias = tuple[str, str, object, object]


class _Kind:
    """Warnings of one kind within one window."""

    __slots__ = ("begun", "held", "last", "passed")

    def __init__(self, begun: float) -> None:
        self.begun = begun
        self.passed = 0
        self.held = 0
        self.last: logging.LogRecord | None = None


class Counted(logging.Filter):
    """Lets the first few records of a kind pass, counts the others, and says at the end how many there were.

    Of one kind are warnings and errors of one logger with one message before its arguments are put in, of one
    workload and, where the record has an attribute ``repeats``, with the same value of it. Records below are
    never held back, nor is one with an attribute ``counts`` that is true: it says how many there were itself.

    :param emit: takes the record that says how many more there were: the last of them, with the number before
        its message
    :param few: how many pass in one window
    :param window: seconds
    :param level: records below it pass
    """

    def __init__(
        self,
        emit: Callable[[logging.LogRecord], None],
        *,
        few: int = 5,
        window: float = 10.0,
        level: int = logging.WARNING,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        self._emit = emit
        self._few = few
        self._window = window
        self._level = level
        self._clock = clock
        self._kinds: dict[_Key, _Kind] = {}
        self._next = 0.0  # when the first window ends
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None  # where the end of a window is waited for

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether a record passes."""
        if record.levelno >= self._level and not record.__dict__.get("counts"):
            now = self._clock()
            self.flush(now)
            with self._lock:
                return self._passes(record, now)
        if self._kinds:
            self.flush(self._clock())
        return True

    def _passes(self, record: logging.LogRecord, now: float) -> bool:
        _PREPARE.filter(record)
        more = record.__dict__
        key = (record.name, str(record.msg), more["workload"], more.get("repeats"))
        if key not in self._kinds and len(self._kinds) >= _MOST:
            key = (record.name, "", "", None)
        kind = self._kinds.get(key)
        if kind is None:
            self._next = min(self._next, now + self._window) if self._kinds else now + self._window
            kind = self._kinds[key] = _Kind(now)
        if kind.passed < self._few:
            kind.passed += 1
            return True
        kind.held += 1
        kind.last = _rendered(record)
        self._wake(kind.begun + self._window - now)
        return False

    def flush(self, now: float | None = None) -> None:
        """Say what was held back in windows that have ended by then; in all of them without a time."""
        if now is not None and now < self._next:
            return
        with self._lock:
            ends = {key: kind.begun + self._window for key, kind in self._kinds.items()}
            over = [self._kinds.pop(key) for key, end in ends.items() if now is None or now >= end]
            self._next = min((kind.begun + self._window for kind in self._kinds.values()), default=0.0)
        for kind in over:
            if kind.last is not None:
                self._emit(_summary(kind.last, kind.held, self._clock() - kind.begun))

    def _wake(self, delay: float) -> None:
        """See to it that what is held back is told even if nothing more is logged."""
        if self._loop is not None and not self._loop.is_closed():
            return
        from asyncio import get_running_loop  # `wasmplex --help` does without

        try:
            self._loop = get_running_loop()
        except RuntimeError:  # a thread without one: the next record tells, or the end of the process
            return
        self._loop.call_later(max(delay, 0.0), self._woken)

    def _woken(self) -> None:
        self._loop = None
        now = self._clock()
        self.flush(now)
        with self._lock:
            ends = [kind.begun + self._window for kind in self._kinds.values() if kind.held]
            if ends:
                self._wake(min(ends) - now)


def _rendered(record: logging.LogRecord) -> logging.LogRecord:
    """Return a record that keeps nothing alive: neither arguments nor the frames of a traceback."""
    rendered = copy.copy(record)
    rendered.msg, rendered.args, rendered.exc_info = Escaped(record.getMessage()), (), None
    return rendered


def _summary(last: logging.LogRecord, count: int, seconds: float) -> logging.LogRecord:
    record = copy.copy(last)
    record.msg = Escaped(f"… {count:,} more like it in the last {seconds:.3g} s, the last: {record.msg}")
    record.created = time.time()
    record.__dict__["repeated"] = count
    return record
