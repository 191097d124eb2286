"""The epoch ticker: ends the time slices of guests, so that none can keep the event loop."""

from __future__ import annotations

import threading
from collections.abc import Iterable

from wasmplex.engine.capi import increment_epoch

__all__ = ["TICK_SECONDS", "Ticker"]

TICK_SECONDS = 0.005
"""A guest runs at most this long before the event loop gets its turn."""

_IDLE_TICKS = 200


class Ticker:
    """A thread that advances the epoch of wasmtime engines while guests run.

    It starts with the first guest and sleeps when none has run for a second.
    """

    def __init__(self) -> None:
        self._engines: list[int] = []
        self._awake = threading.Event()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._wanted = False

    def add(self, engine: int) -> None:
        """Tick an engine from now on; it must outlive the ticker."""
        self._engines = [*self._engines, engine]

    def keep_ticking(self) -> None:
        """Tell that a guest is about to run, or goes on."""
        self._wanted = True
        if not self._awake.is_set():
            self._wake()

    def _wake(self) -> None:
        self._awake.set()
        if self._thread is None and not self._stop.is_set():
            self._thread = threading.Thread(target=self._run, name="wasmplex epoch ticker", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        idle = 0
        while not self._stop.wait(TICK_SECONDS):
            _tick(self._engines)
            idle = 0 if self._wanted else idle + 1
            self._wanted = False
            if idle > _IDLE_TICKS:
                self._awake.clear()
                if not self._wanted:  # who sets it from here on sees that we sleep
                    self._awake.wait()

    def close(self) -> None:
        """Stop the thread and wait for it."""
        self._stop.set()
        self._awake.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None


def _tick(engines: Iterable[int]) -> None:
    for engine in engines:
        increment_epoch(engine)
