"""What serves all instances of an engine."""

from __future__ import annotations

from dataclasses import dataclass

from wasmplex.engine.leaving import Cancelling
from wasmplex.engine.sweeping import Sweeper
from wasmplex.engine.ticker import Ticker
from wasmplex.engine.trimming import Trimming
from wasmplex.engine.turns import Turns
from wasmplex.engine.worker import Worker

__all__ = ["Services"]


@dataclass(frozen=True, slots=True)
class Services:
    """One of each for an `Engine`.

    :ivar ticker: ends the time slices of guests
    :ivar worker: does long steps elsewhere
    :ivar sweeper: drops what ended instances have left behind
    :ivar cancelling: cancels what ended instances have under way
    :ivar trimming: gives memory back to the system
    :ivar turns: decides which guests run, and when
    """

    ticker: Ticker
    worker: Worker
    sweeper: Sweeper
    cancelling: Cancelling
    trimming: Trimming
    turns: Turns

    def close(self) -> None:
        """End the threads, and what was left for later."""
        self.cancelling.finish()
        self.sweeper.finish()
        self.worker.close()
        self.ticker.close()
