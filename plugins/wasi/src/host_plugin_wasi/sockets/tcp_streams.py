"""The two streams of a TCP connection."""

from __future__ import annotations

import socket
from asyncio import TimerHandle, get_running_loop

from wasmplex.plugin import Err, Variant

from host_plugin_wasi.io import InputStream, OutputStream, Pollable, Signal, SignalPollable, Violation, closed
from host_plugin_wasi.sockets.errors import stream_error
from host_plugin_wasi.sockets.handles import Ready, SocketHandle

__all__ = ["LINGER", "PERMIT", "TcpInput", "TcpOutput"]

PERMIT = 64 << 10
"""The most bytes of one receive, and of what is kept here for a connection that cannot take more."""

LINGER = 10.0
"""Seconds that bytes written before a stream was dropped are still tried to be sent."""


def _shut(handle: SocketHandle, how: int) -> None:
    # The peer may have gone before; there is nothing left to shut then.
    try:
        handle.socket.shutdown(how)
    except OSError:
        return


class TcpInput(InputStream):
    """What comes in."""

    def __init__(self, handle: SocketHandle) -> None:
        self._handle = handle.hold()
        self._ended = False

    def read(self, length: int) -> bytes:
        """Receive what has come, without waiting.

        :raises Err: `closed` when the peer has ended, `failed` if the connection broke
        """
        if self._ended:
            raise closed()
        if not length:
            return b""
        try:
            data = self._handle.socket.recv(min(length, PERMIT))
        except (BlockingIOError, InterruptedError):
            return b""
        except OSError as error:
            self._ended = True
            raise stream_error(error) from None
        if not data:
            self._ended = True
            raise closed()
        return data

    def subscribe(self) -> Pollable:
        """Return a pollable that is ready when there is something to read."""
        return Ready(self._handle.readable)

    def shutdown(self) -> None:
        """Read no more."""
        self._ended = True
        _shut(self._handle, socket.SHUT_RD)
        self._handle.readable.notify()

    def drop(self) -> None:
        """Read no more, and let go of the socket."""
        _shut(self._handle, socket.SHUT_RD)
        self._handle.release()


class TcpOutput(OutputStream):
    """What goes out. What the system does not take at once is kept here and sent as it does."""

    def __init__(self, handle: SocketHandle) -> None:
        self._handle = handle.hold()
        self._pending = memoryview(b"")
        self._settled = Signal()
        self._error: Err[Variant] | None = None
        self._ended = False
        self._linger: TimerHandle | None = None

    def check_write(self) -> int:
        """Return how many bytes one write may bring; 0 while earlier ones are being sent.

        :raises Err: `closed` after a shutdown, `failed` once if the connection broke
        """
        if self._error is not None:
            error, self._error = self._error, None
            self._ended = True
            raise error
        if self._ended:
            raise closed()
        return 0 if self._pending else PERMIT

    def write(self, contents: bytes) -> None:
        """Send `contents`.

        :raises Violation: if they are more than permitted
        :raises Err: as `check_write`
        """
        if len(contents) > self.check_write():
            raise Violation("wasi:io/streams: write of more than check-write permits")
        self._pending = memoryview(contents)
        self._push()
        if self._error is not None:
            self.check_write()
        if self._pending:
            self._handle.writable.attach(self._push)

    def subscribe(self) -> Pollable:
        """Return a pollable that is ready when there is room."""
        return SignalPollable(self._ready, self._settled)

    def shutdown(self) -> None:
        """Take no more, send what there is, then tell the peer."""
        self._ended = True
        if not self._pending:
            _shut(self._handle, socket.SHUT_WR)
        self._settled.notify()

    def drop(self) -> None:
        """As `shutdown`, and let go of the socket when all is sent, or after `LINGER`."""
        self.shutdown()
        if self._pending:
            self._linger = get_running_loop().call_later(LINGER, self._give_up)
        else:
            self._handle.release()

    def _ready(self) -> bool:
        return not self._pending or self._ended

    def _push(self) -> None:
        try:
            while self._pending:
                self._pending = self._pending[self._handle.socket.send(self._pending) :]
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._error = stream_error(error)
            self._pending = memoryview(b"")
        self._settle()

    def _settle(self) -> None:
        self._handle.writable.detach(self._push)
        if self._ended:
            _shut(self._handle, socket.SHUT_WR)
        self._settled.notify()
        if self._linger is not None:
            self._linger.cancel()
            self._linger = None
            self._handle.release()

    def _give_up(self) -> None:
        self._pending = memoryview(b"")
        self._settle()
