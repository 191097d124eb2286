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

__all__ = ["UNSEEN", "Delivery", "untaken"]

_SO_NWRITE: Final = 0x1024  # macOS, sys/socket.h
UNSEEN: Final = 4
"""Times ``http.write_timeout`` that a client is waited for whose system may not have said what it took."""


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

    What a client takes is seen in steps: its system says so when about half of its receive buffer has become
    free, which is 64 to 128 KiB by default on Linux, whatever the size of a segment. Between two steps, one
    that takes little looks like one that takes nothing.

    :param write_timeout: seconds that a client may take nothing
    """

    __slots__ = ("_left", "_patience", "_since")

    def __init__(self, write_timeout: float) -> None:
        self._patience = write_timeout * UNSEEN
        self._since = 0.0
        self._left = 0

    def begin(self, now: float, left: int) -> None:
        """Watch from now on, while `left` bytes are to be taken."""
        self._since = now
        self._left = left

    def goes_on(self, now: float, left: int) -> bool:
        """Say whether the client is worth waiting for, that has now `left` bytes to take."""
        if left < self._left:
            self._since = now
        self._left = left
        return now - self._since <= self._patience
