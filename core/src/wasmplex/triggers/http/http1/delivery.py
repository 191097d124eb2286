"""Whether a client takes what is sent to it, however slowly."""

from __future__ import annotations

import socket
import struct
import sys
from asyncio import WriteTransport
from typing import Final

if sys.platform == "linux":
    from fcntl import ioctl
    from termios import TIOCOUTQ

__all__ = ["Delivery", "untaken"]

_SO_NWRITE: Final = 0x1024  # macOS, sys/socket.h
_UNSEEN: Final = 128 * 1024
"""Bytes that a client may take before its system tells ours; RFC 9293 3.8.6.2.2."""


def untaken(transport: WriteTransport) -> int:
    """Return how many of the bytes that were written the client's system has not acknowledged.

    Where our system does not tell, only what it has not been given yet is counted.
    """
    held = transport.get_write_buffer_size()
    sock: socket.socket | None = transport.get_extra_info("socket")
    if sock is None or (transport.is_closing() and not held):
        return held
    try:
        if sys.platform == "linux":
            return held + int(struct.unpack("i", ioctl(sock.fileno(), TIOCOUTQ, bytes(4)))[0])
        if sys.platform == "darwin":
            return held + sock.getsockopt(socket.SOL_SOCKET, _SO_NWRITE)
    except (OSError, ValueError):
        pass  # it is gone
    return held


class Delivery:
    """Decides for how long a client may seem to take nothing. Pure.

    A client takes something all the time, and is seen to in steps: when a part of its receive buffer has
    become free, its system says so. How long a step may last is told by how fast it was before.

    :param patience: seconds that a client may take nothing
    """

    __slots__ = ("_left", "_patience", "_since", "_step", "_taken", "_took", "_watched")

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._since = self._watched = 0.0
        self._left = 0
        self._taken = 0  # while it was watched
        self._took = 0.0  # seconds that this took
        self._step = _UNSEEN // 2

    def begin(self, now: float, left: int) -> None:
        """Watch from now on, while `left` bytes are to be taken."""
        self._since = now
        self._left = left

    def goes_on(self, now: float, left: int) -> bool:
        """Say whether the client is worth waiting for, that has now `left` bytes to take."""
        if left < self._left:
            step = self._left - left
            self._step = max(self._step, step)
            self._taken += step
            self._took += now - self._since
            self.begin(now, left)
            return True
        self._left = left
        expected = 4 * self._step * self._took / self._taken if self._taken else 0.0
        return now - self._since <= max(self._patience, expected)
