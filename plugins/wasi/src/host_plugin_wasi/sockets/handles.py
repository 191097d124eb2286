"""Open sockets: who holds them, and when they are ready."""

from __future__ import annotations

import select
import socket
from asyncio import AbstractEventLoop, get_running_loop
from collections.abc import Callable
from typing import Any

from host_plugin_wasi.allowance import Allowance
from host_plugin_wasi.io import Pollable, Signal, Waker

__all__ = ["Direction", "Ready", "SocketHandle", "Sockets"]


class Sockets:
    """The open sockets of one workload, so that none outlives it."""

    def __init__(self, allowance: Allowance) -> None:
        self._allowance = allowance
        self._open: set[SocketHandle] = set()

    def add(self, make: Callable[..., socket.socket], *args: Any) -> SocketHandle:
        """Make a socket and take charge of it; its holder is the caller.

        :raises OSError: EMFILE if there may not be one more; and what `make` raises
        """
        self._allowance.take()
        try:
            made = make(*args)
            made.setblocking(False)
        except BaseException:
            self._allowance.give()
            raise
        handle = SocketHandle(made, self)
        self._open.add(handle)
        return handle

    def forget(self, handle: SocketHandle) -> None:
        """Stop counting a socket that has been closed."""
        if handle in self._open:
            self._open.remove(handle)
            self._allowance.give()

    def close(self) -> None:
        """Close them all."""
        for handle in tuple(self._open):
            handle.close()


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
