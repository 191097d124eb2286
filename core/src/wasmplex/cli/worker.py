"""What a worker of ``run --workers`` and the process that started it know of each other.

The parent leaves a worker one environment variable with two kinds of file descriptors: the sockets that all
workers listen on, and one end of a socket pair, the channel. On it the worker sends one line when it serves,
and the parent sends one byte when the worker is to stop. Its end without that byte means that the parent is
gone, and the worker stops as well.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from wasmplex.errors import UsageError
from wasmplex.logs import get_logger

__all__ = ["Handover", "Worker"]

_VARIABLE = "WASMPLEX_WORKER"

log = get_logger("wasmplex.worker")


@dataclass(frozen=True)
class Handover:
    """What the parent leaves a worker, by file descriptors that it inherits.

    :ivar number: which worker it is, from 1 on; the first serves what cannot be shared
    :ivar channel: its end of the socket pair
    :ivar sockets: by the name of their trigger, what all workers listen on
    """

    number: int
    channel: int
    sockets: Mapping[str, Sequence[int]]

    def environment(self) -> dict[str, str]:
        """Return the variable that hands it over."""
        return {_VARIABLE: json.dumps([self.number, self.channel, self.sockets])}

    @property
    def descriptors(self) -> list[int]:
        """All file descriptors that the worker inherits."""
        return [self.channel, *(number for numbers in self.sockets.values() for number in numbers)]


class Worker:
    """One of several workers, from the inside: the process that this is."""

    def __init__(self, handover: Handover) -> None:
        self.number = handover.number
        self._stack = ExitStack()
        self._channel = self._adopt(handover.channel)
        self._channel.setblocking(False)
        self.sockets = {
            name: [self._adopt(number) for number in numbers] for name, numbers in handover.sockets.items()
        }
        """By the name of their trigger, what all workers listen on."""

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
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close what was handed over."""
        self._stack.close()

    def announce(self, addresses: Sequence[str]) -> None:
        """Tell the parent that this worker serves, and where."""
        try:
            self._channel.send(json.dumps(addresses).encode() + b"\n")
        except OSError:  # the parent is gone: `wait` says so
            log.debug("nobody hears that this worker serves")

    async def wait(self, stop: Callable[[], None]) -> None:
        """Call `stop` when the parent says so, or is gone."""
        import anyio

        await anyio.wait_readable(self._channel)
        try:
            said = self._channel.recv(1)
        except OSError:
            said = b""
        if not said:
            log.warning("the process that started this worker is gone: stopping")
        stop()
