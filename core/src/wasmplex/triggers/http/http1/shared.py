"""What the connections of one server have in common."""

from __future__ import annotations

from asyncio import Task
from collections.abc import Awaitable, Callable
from typing import Protocol

from wasmplex.triggers.http.http1.outbox import Outbox
from wasmplex.triggers.http.settings import HttpSettings
from wasmplex.triggers.http.wire import Wire

__all__ = ["Member", "Shared"]


class Member(Protocol):
    """A connection, as its server sees it.

    :ivar deadline: loop time at which `expire` is to be called
    """

    deadline: float

    def expire(self) -> None:
        """End what has outlived its deadline."""

    def shutdown(self, patience: float) -> None:
        """Close when what is under way has been answered, or the one that comes within so many seconds."""

    def abort(self) -> None:
        """Cut the connection."""


class Shared:
    """What the connections of a server have in common.

    :param handle: answers one request
    :param settings: bounds and deadlines
    :ivar date: the line of the header ``date``; the server keeps it right
    """

    def __init__(self, handle: Callable[[Wire], Awaitable[None]], settings: HttpSettings) -> None:
        self.handle = handle
        self.settings = settings
        self.outbox = Outbox()
        self.connections: set[Member] = set()
        self.tasks: set[Task[None]] = set()
        self.draining = False
        self.on_idle: Callable[[], None] = lambda: None
        self.server = b"server: %s\r\n" % settings.server_header.encode() if settings.server_header else b""
        self.date = b""

    def ended(self, task: Task[None]) -> None:
        """Forget a task that served requests."""
        self.tasks.discard(task)
        self._tell_idle()

    def closed(self, connection: Member) -> None:
        """Forget a connection."""
        self.connections.discard(connection)
        self._tell_idle()

    def _tell_idle(self) -> None:
        if self.draining and not self.connections and not self.tasks:
            self.on_idle()
