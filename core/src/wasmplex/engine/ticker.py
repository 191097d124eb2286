"""The epoch ticker: ends the time slices of guests, so that none can keep the event loop."""

from __future__ import annotations

import threading
from typing import Any

from wasmplex.engine.capi import increment_epoch

__all__ = ["TICK_SECONDS", "Tempo", "Ticker"]

TICK_SECONDS = 0.002
"""A guest runs at most this long before the event loop gets its turn, while some want to run for longer."""
CALM_TICK_SECONDS = 0.01
"""As long as there were none: each tick takes the GIL from the event loop for a moment."""
HURRIED_TICK_SECONDS = 0.0005
"""While others come between those that run for longer: that is what they wait for."""

_PRESSED_SECONDS = 0.1
_HURRIED_SECONDS = 1.0
_IDLE_SECONDS = 1.0


class Tempo:
    """Decides how far apart ticks are.

    :ivar short: whether they are `TICK_SECONDS` apart at most
    """

    __slots__ = ("_hurried", "_pressed", "short")

    def __init__(self) -> None:
        self.short = False
        self._pressed = self._hurried = 0.0
        """Seconds for which ticks are to be short, or shorter."""

    def next(self, last: float, *, pressed: bool, hurried: bool) -> float:
        """Return the seconds until the next tick.

        :param last: how long it was until the one that has just been
        :param pressed: whether a guest has run from one tick to another meanwhile
        :param hurried: whether others have come between such guests
        """
        self._pressed = _PRESSED_SECONDS if pressed else self._pressed - last
        self._hurried = _HURRIED_SECONDS if hurried else self._hurried - last
        self.short = self._pressed > 0
        if not self.short:
            return CALM_TICK_SECONDS
        return HURRIED_TICK_SECONDS if self._hurried > 0 else TICK_SECONDS


class Ticker:
    """A thread that advances the epoch of wasmtime engines while guests run.

    It starts with the first guest and sleeps when none has run for a second.

    :ivar ticks: how often it has advanced them
    :ivar wanted: to be set before a guest runs, or goes on; see `wake`
    :ivar asleep: True if `wake` must be called after that
    :ivar pressed: to be set when a guest has run from one tick to another
    :ivar hurried: to be set when others come between such guests
    :ivar short: whether ticks are `TICK_SECONDS` apart at most, because somebody pressed
    """

    def __init__(self) -> None:
        self._engines: list[tuple[int, Any]] = []
        # A finalizer removes, in whatever thread.
        self._changing = threading.RLock()
        self._awake = threading.Event()
        # Waiting for a lock is a single call into C; with an event, a tick would cost three times as much.
        self._running = threading.Lock()
        self._running.acquire()
        self._stopped = False
        self._thread: threading.Thread | None = None
        self.wanted = False
        self.asleep = True
        self.pressed = self.hurried = self.short = False
        self.ticks = 0

    def add(self, engine: int, owner: Any) -> None:
        """Tick an engine from now on.

        :param engine: its address
        :param owner: what keeps it alive; the ticker holds on to it
        """
        with self._changing:
            self._engines = [*self._engines, (engine, owner)]

    def remove(self, engine: int) -> None:
        """Tick an engine no more."""
        with self._changing:
            self._engines = [pair for pair in self._engines if pair[0] != engine]

    def wake(self) -> None:
        """Tick again, or for the first time."""
        self.asleep = False
        self._awake.set()
        if self._thread is None and not self._stopped:
            self._thread = threading.Thread(target=self._run, name="wasmplex epoch ticker", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        idle, tempo, interval = 0.0, Tempo(), CALM_TICK_SECONDS
        while not self._running.acquire(timeout=interval):
            self._tick()
            self.ticks += 1
            idle = 0.0 if self.wanted else idle + interval
            interval = tempo.next(interval, pressed=self.pressed, hurried=self.hurried)
            self.pressed = self.hurried = self.wanted = False
            self.short = tempo.short
            if idle > _IDLE_SECONDS:
                self._awake.clear()
                self.asleep = True
                if not self.wanted:  # who sets it from here on sees that we sleep
                    self._awake.wait()
                self.asleep = False

    def _tick(self) -> None:
        # A function of its own: while the thread sleeps, its frame must not keep an engine alive.
        for engine, _ in self._engines:
            increment_epoch(engine)

    def close(self) -> None:
        """Stop the thread and wait for it."""
        if not self._stopped:
            self._stopped = True
            self._running.release()
        self._awake.set()
        if self._thread is not None:
            if self._thread is not threading.current_thread():  # a garbage collection may have run in it
                self._thread.join()
            self._thread = None
