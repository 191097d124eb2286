"""What signals do to ``wasmplex run``: the first one drains, the second one kills."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, NoReturn

from wasmplex.cli.logs import say

if TYPE_CHECKING:
    import anyio

__all__ = ["Stopping", "leave"]

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stopping:
    """Waits for signals: before the host serves they cancel, then they drain, and the second one kills.

    :param scope: what is cancelled while the host starts
    :param stop: is set to make it drain
    :param quiet: whether somebody else tells the user
    :param on_kill: called before a second signal ends the process
    :ivar serving: to be set once the host serves
    :ivar by: the first signal, 0 before there is one
    """

    def __init__(
        self,
        scope: anyio.CancelScope,
        stop: anyio.Event,
        *,
        quiet: bool = False,
        on_kill: Callable[[], None] | None = None,
    ) -> None:
        self.stop = stop
        self.serving = False
        self.by = 0
        self._scope = scope
        self._quiet = quiet
        self._on_kill = on_kill

    async def listen(self) -> None:
        """Wait for signals until cancelled."""
        import anyio

        with anyio.open_signal_receiver(*_SIGNALS) as signals:
            async for number in signals:
                if self.by:
                    self._kill(number)
                self.by = number
                if self.serving and not self._quiet:
                    say("stopping: finishing what is under way; once more to kill")
                self.ask()

    def ask(self) -> None:
        """Drain if the host serves, give up if it does not yet."""
        if self.serving:
            self.stop.set()
        else:
            self._scope.cancel()

    def leave_if_interrupted(self) -> None:
        """End the process if a signal came before the host served."""
        if self.by and not self.serving:
            leave(130 if self.by == signal.SIGINT else 0)

    def _kill(self, number: int) -> None:
        if self._on_kill is not None:
            self._on_kill()
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)


def leave(code: int) -> NoReturn:
    """End at once: a compilation under way runs in a thread that Python would wait for."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
