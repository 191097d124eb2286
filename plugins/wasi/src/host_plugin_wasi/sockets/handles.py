"""Open sockets: who holds them, and when they are ready."""

from __future__ import annotations

import errno
import os
import select
import socket
from asyncio import AbstractEventLoop, get_running_loop

from host_plugin_wasi.io import Pollable, Signal, Waker

__all__ = ["LIMIT", "Direction", "Ready", "SocketHandle", "Sockets"]

LIMIT = 1024
"""Open sockets of one workload. A guest must not use up the host's file descriptors."""


class Sockets:
    """The open sockets of one workload, so that none outlives it."""

    def __init__(self) -> None:
        self._open: set[SocketHandle] = set()

    def add(self, made: socket.socket) -> SocketHandle:
        """Take charge of a socket; its holder is the caller."""
        made.setblocking(False)
        handle = SocketHandle(made, self)
        self._open.add(handle)
        return handle

    def check(self) -> None:
        """See whether there may be one more.

        :raises OSError: EMFILE, if not
        """
        if len(self._open) >= LIMIT:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    def forget(self, handle: SocketHandle) -> None:
        """Stop counting a socket that has been closed."""
        self._open.discard(handle)

    def close(self) -> None:
        """Close them all."""
        for handle in tuple(self._open):
            handle.close()

    def __len__(self) -> int:
        return len(self._open)


class SocketHandle:
    """A non-blocking socket and the number of those who hold it: the guest's socket, and its streams.

    :ivar readable: ready to receive or accept, or broken
    :ivar writable: ready to send, connected, or broken
    """

    def __init__(self, made: socket.socket, sockets: Sockets) -> None:
        self.socket = made
        self._sockets = sockets
        self._holders = 1
        self.readable = Direction(made, select.POLLIN)
        self.writable = Direction(made, select.POLLOUT)

    def hold(self) -> SocketHandle:
        """Become one more holder."""
        self._holders += 1
        return self

    def release(self) -> None:
        """Let go; the last one to do so closes the socket."""
        self._holders -= 1
        if not self._holders:
            self.close()

    def close(self) -> None:
        """Close the socket, whoever holds it, and wake who waits for it."""
        self.readable.unwatch()
        self.writable.unwatch()
        self.socket.close()
        self._sockets.forget(self)
        self.readable.close()
        self.writable.close()


class Direction(Signal):
    """Wakes when a socket becomes readable (or writable). The loop watches it only while someone waits."""

    __slots__ = ("_closed", "_fd", "_loop", "_poll", "_reading")

    def __init__(self, watched: socket.socket, event: int) -> None:
        super().__init__()
        self._fd = watched.fileno()
        self._reading = event == select.POLLIN
        self._poll = select.poll()
        self._poll.register(self._fd, event)
        self._loop: AbstractEventLoop | None = None
        self._closed = False

    def ready(self) -> bool:
        """Ask the system; a closed socket is ready, to say so."""
        return self._closed or bool(self._poll.poll(0))

    def attach(self, waker: Waker) -> None:
        """Have `waker` called, and the socket watched."""
        super().attach(waker)
        if self._loop is None and not self._closed:
            self._loop = get_running_loop()
            watch = self._loop.add_reader if self._reading else self._loop.add_writer
            watch(self._fd, self.notify)

    def detach(self, waker: Waker) -> None:
        """Undo `attach`."""
        super().detach(waker)
        if not self._wakers:
            self.unwatch()

    def close(self) -> None:
        """Wake who waits for a socket that has been closed."""
        self._closed = True
        self.notify()

    def unwatch(self) -> None:
        """Stop watching; before the socket is closed, lest another one with its number is watched."""
        loop, self._loop = self._loop, None
        if loop is not None:
            (loop.remove_reader if self._reading else loop.remove_writer)(self._fd)


class Ready(Pollable):
    """Ready when a direction of a socket is."""

    __slots__ = ("_direction",)

    def __init__(self, direction: Direction) -> None:
        self._direction = direction

    def ready(self) -> bool:
        """Ask the system."""
        return self._direction.ready()

    def attach(self, waker: Waker) -> None:
        """Attach to the direction."""
        self._direction.attach(waker)

    def detach(self, waker: Waker) -> None:
        """Detach from the direction."""
        self._direction.detach(waker)
