"""What a worker of ``run --workers`` and the process that started it know of each other.

The parent leaves a worker one environment variable with two kinds of file descriptors: the sockets that all
workers listen on, and one end of a socket pair, the channel. On it the worker sends lines: an empty one now
and then as long as its event loop turns, one with its addresses when it serves, and one with its figures when
it is asked. The parent sends a byte when the worker is to stop, when another one has taken over, or to ask.
Its end without that means that the parent is gone, and the worker stops as well.

A worker whose event loop stands still hears nothing of this. The parent, which misses its lines, kills it. If
the parent is gone, a timer of the system does, which only a turning loop puts off: whatever holds the
interpreter lock does not hold it up. One that was stopped is continued when its parent ends, for the timer to
reach it.
"""

from __future__ import annotations

import ctypes
import json
import signal
import socket
import sys
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Self

from wasmplex.errors import UsageError
from wasmplex.logs import get_logger

if TYPE_CHECKING:
    from wasmplex.cli.orders import Orders
    from wasmplex.metrics import Family

__all__ = ["FIGURES", "RELIEVED", "STARTING", "STOP", "Handover", "Worker"]

STOP, RELIEVED, FIGURES = b"s", b"r", b"f"
"""What a parent sends."""
STARTING = 60.0
"""Seconds that the event loop may stand still before a worker serves: large components are linked on it."""

_VARIABLE = "WASMPLEX_WORKER"
_MARGIN = 1.25
"""How much longer than the parent the system's timer waits."""
_TELLING = 5.0
"""Seconds that the parent may take to read the figures; it has given up by then."""
_ENDING = 20.0
"""Seconds that the process may take to end after its event loop has."""
_PR_SET_PDEATHSIG = 1

log = get_logger("wasmplex.worker")


@dataclass(frozen=True)
class Handover:
    """What the parent leaves a worker, by file descriptors that it inherits.

    :ivar number: which worker it is, from 1 on; the first serves what cannot be shared
    :ivar channel: its end of the socket pair
    :ivar hang_timeout: seconds that its event loop may stand still; 0 for as long as it likes
    :ivar sockets: by the name of their trigger, what all workers listen on
    """

    number: int
    channel: int
    hang_timeout: float
    sockets: Mapping[str, Sequence[int]]

    def environment(self) -> dict[str, str]:
        """Return the variable that hands it over."""
        return {_VARIABLE: json.dumps([self.number, self.channel, self.hang_timeout, self.sockets])}

    @property
    def descriptors(self) -> list[int]:
        """All file descriptors that the worker inherits."""
        return [self.channel, *(number for numbers in self.sockets.values() for number in numbers)]


class Worker:
    """One of several workers, from the inside: the process that this is."""

    def __init__(self, handover: Handover) -> None:
        self.number = handover.number
        self.hang_timeout = float(handover.hang_timeout)
        self._patience = max(STARTING, self.hang_timeout)
        self._stack = ExitStack()
        self._channel = self._adopt(handover.channel)
        self._channel.setblocking(False)
        self.sockets = {
            name: [self._adopt(number) for number in numbers] for name, numbers in handover.sockets.items()
        }
        """By the name of their trigger, what all workers listen on."""
        self.collect: Callable[[], Sequence[Family]] = tuple
        """Returns the figures of this process."""
        self._telling = False

    @classmethod
    def of_environment(cls, environ: MutableMapping[str, str]) -> Self | None:
        """Return what this process is if it was started as a worker, and take the variable away.

        :raises wasmplex.errors.UsageError: if the variable is there and nobody handed anything over
        """
        text = environ.pop(_VARIABLE, None)
        if text is None:
            return None
        try:
            return cls(Handover(*json.loads(text)))
        except (ValueError, TypeError, AttributeError, OSError) as error:
            raise UsageError(
                f"{_VARIABLE} is not for you to set",
                why=f"wasmplex run --workers hands workers their sockets in it: {error}",
                fix=f"unset {_VARIABLE}",
            ) from None

    def _adopt(self, descriptor: int) -> socket.socket:
        return self._stack.enter_context(socket.socket(fileno=descriptor))

    def __enter__(self) -> Self:
        _continue_with_the_parents_end()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close what was handed over; the event loop has ended."""
        self._die_in(_ENDING)
        self._stack.close()

    def announce(self, addresses: Sequence[str]) -> None:
        """Tell the parent that this worker serves, and where."""
        self._patience = self.hang_timeout
        self._die_in(self._patience * _MARGIN)  # one that hangs at once would have the patience of a start
        self._send(json.dumps(addresses).encode() + b"\n")

    async def live(self) -> None:
        """Show that the event loop turns, until cancelled."""
        import anyio

        while True:
            if not self._telling:  # what is being sent shows it too
                self._send(b"\n")
            self._die_in(self._patience * _MARGIN)
            await anyio.sleep(min(1.0, self.hang_timeout / 4) if self.hang_timeout else 60.0)

    async def obey(self, orders: Orders) -> None:
        """Do what the parent says; stop when it is gone."""
        import anyio

        while True:
            await anyio.wait_readable(self._channel)
            try:
                said = self._channel.recv(64)
            except BlockingIOError:
                continue
            except OSError:
                said = b""
            if not said:
                log.warning("the process that started this worker is gone: stopping")
            if not said or STOP in said:
                orders.ask()
                return
            if RELIEVED in said:
                orders.relieved.set()
            if FIGURES in said:
                await self._tell_figures()

    async def _tell_figures(self) -> None:
        import anyio

        families = [family.to_json() for family in self.collect()]
        line = json.dumps({"figures": families}).encode() + b"\n"
        self._telling = True
        try:
            with anyio.move_on_after(_TELLING), suppress(OSError):
                while line:
                    await anyio.wait_writable(self._channel)
                    line = line[self._channel.send(line) :]
        finally:
            self._telling = False

    def _send(self, line: bytes) -> None:
        with suppress(OSError):  # the parent is gone, as `obey` finds out, or reads too little to need it
            self._channel.send(line)

    def _die_in(self, seconds: float) -> None:
        if self.hang_timeout and hasattr(signal, "setitimer"):
            signal.setitimer(signal.ITIMER_REAL, seconds)  # SIGALRM, which ends the process


def _continue_with_the_parents_end() -> None:
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGCONT)
