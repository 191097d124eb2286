"""The epoch ticker: ends the time slices of guests, so that none can keep the event loop."""

from __future__ import annotations

import threading
from typing import Any

from wasmplex.engine.capi import increment_epoch

__all__ = ["TICK_SECONDS", "Ticker"]

TICK_SECONDS = 0.002
"""A guest runs at most this long before the event loop gets its turn."""

_IDLE_TICKS = 500


class Ticker:
    """A thread that advances the epoch of wasmtime engines while guests run.

    It starts with the first guest and sleeps when none has run for a second.

    :ivar ticks: how often it has advanced them
    """

    def __init__(self) -> None:
        self._engines: list[tuple[int, Any]] = []
        self._awake = threading.Event()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._wanted = False
        self.ticks = 0

    def add(self, engine: int, owner: Any) -> None:
        """Tick an engine from now on.

        :param engine: its address
        :param owner: what keeps it alive; the ticker holds on to it
        """
        self._engines = [*self._engines, (engine, owner)]

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
            for engine, _ in self._engines:
                increment_epoch(engine)
            self.ticks += 1
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
            if self._thread is not threading.current_thread():  # a garbage collection may have run in it
                self._thread.join()
            self._thread = None
