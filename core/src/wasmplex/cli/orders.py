"""What a running host is told from outside: to stop, to hurry, to read its configuration again."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn

from wasmplex.cli.logs import say
from wasmplex.cli.messages import finish

if TYPE_CHECKING:
    import anyio

__all__ = ["Orders", "awaited", "leave"]

_STOP = (signal.SIGINT, signal.SIGTERM)
_RELOAD = () if sys.platform == "win32" else (signal.SIGHUP,)
_MOMENT = 1.0
"""Seconds in which a second signal is the first one again: who sends to a process and to its group, as
``timeout`` does, reaches it twice."""


class Orders:
    """Waits for signals and for whoever else has a say.

    Before the host serves the first signal cancels, then it drains; the next one that comes a moment later
    kills. SIGHUP has the configuration read again, unless it says that the terminal is gone.

    :param scope: what is cancelled while the host starts
    :param quiet: whether somebody else tells the user, and is the one to read the configuration again
    :param on_kill: called before a second signal ends the process
    :ivar stop: is set to make the host drain
    :ivar relieved: is set when another process has taken over; see `wasmplex.host.Host.serve`
    :ivar serving: to be set once the host serves
    :ivar by: the first signal, 0 before there is one
    """

    def __init__(
        self, scope: anyio.CancelScope, *, quiet: bool = False, on_kill: Callable[[], None] | None = None
    ) -> None:
        import anyio

        self.stop = anyio.Event()
        self.relieved = anyio.Event()
        self.serving = False
        self.by = 0
        self._first_at = 0.0
        self._reload = anyio.Event()
        self._scope = scope
        self._quiet = quiet
        self._on_kill = on_kill

    async def listen(self) -> None:
        """Wait for signals until cancelled."""
        import anyio

        with anyio.open_signal_receiver(*_STOP, *_RELOAD) as signals:
            if _hung_up():
                self._stop(*_RELOAD)
            async for number in signals:
                if number in _STOP or _hung_up():
                    self._stop(number)
                elif not self._quiet:
                    self.reload()

    async def until_stopped(self, work: Callable[[], Awaitable[None]]) -> None:
        """Do something until it is done, or the host is to stop."""
        import anyio

        async def stop() -> None:
            await self.stop.wait()
            tasks.cancel_scope.cancel()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(stop)
            await work()
            tasks.cancel_scope.cancel()

    def ask(self) -> None:
        """Drain if the host serves, give up if it does not yet."""
        if self.serving:
            self.stop.set()
        else:
            self._scope.cancel()

    def reload(self) -> None:
        """Have the configuration read again, once the host serves."""
        self._reload.set()

    async def wait_for_reload(self) -> None:
        """Return when the configuration is to be read again; once for all who wanted it meanwhile."""
        import anyio

        await self._reload.wait()
        self._reload = anyio.Event()

    def leave_if_interrupted(self) -> None:
        """End the process if a signal came before the host served."""
        if self.by and not self.serving:
            leave(130 if self.by == signal.SIGINT else 0)

    def _stop(self, number: int) -> None:
        import anyio

        now = anyio.current_time()
        if not self.by:
            self.by, self._first_at = number, now
            self.ask()
            if self.serving and not self._quiet:
                say("stopping: finishing what is under way; once more to kill")
        elif now - self._first_at >= _MOMENT:
            self._kill(number)

    def _kill(self, number: int) -> None:
        if self._on_kill is not None:
            self._on_kill()
        finish()
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
        time.sleep(_MOMENT)
        os._exit(128 + number)  # process 1 of a container is not ended by what it does not handle


@contextmanager
def awaited() -> Iterator[None]:
    """Ignore SIGHUP until `Orders.listen`: the configuration has not been read yet.

    A process that ignores it already was started to outlive its terminal, by nohup(1) say.
    """
    before = {number: signal.getsignal(number) or signal.SIG_DFL for number in _RELOAD}
    _terminals[:] = [descriptor for descriptor in range(3) if os.isatty(descriptor)]
    for number, handler in before.items():
        if handler is signal.SIG_IGN:
            _terminals.clear()
        signal.signal(number, signal.SIG_IGN)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


_terminals: list[int] = []


def _hung_up() -> bool:
    """Say whether a terminal that the process was started from is there no more."""
    return any(not os.isatty(descriptor) for descriptor in _terminals)


def leave(code: int) -> NoReturn:
    """End at once: a compilation under way runs in a thread that Python would wait for."""
    finish()
    os._exit(code)
