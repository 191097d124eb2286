"""Messages that come one after the other for somebody who waits for them, until the connection is lost."""

from __future__ import annotations

import asyncio

from wasmplex.capabilities.errors import CapabilityError

from host_plugin_nats.parsing import Arrived

__all__ = ["Inbox"]


class Inbox:
    """Messages for somebody who waits for more than one.

    :ivar ended: whether the connection that they came by is lost
    :ivar number: what `Link.leave` needs to have no more of them
    """

    def __init__(self, subject: str) -> None:
        self.subject = subject
        self.number = 0
        self.ended = False
        self._messages: asyncio.Queue[Arrived | CapabilityError] = asyncio.Queue()

    def put(self, message: Arrived | CapabilityError) -> None:
        """Add a message, or the error that ends them."""
        self.ended = self.ended or isinstance(message, CapabilityError)
        self._messages.put_nowait(message)

    def next_nowait(self) -> Arrived | None:
        """Return the next message; None if there is none yet."""
        try:
            message = self._messages.get_nowait()
        except asyncio.QueueEmpty:
            return None
        if isinstance(message, CapabilityError):
            self._messages.put_nowait(message)
            return None
        return message

    async def next(self) -> Arrived:
        """Return the next message.

        :raises wasmplex.capabilities.errors.CapabilityError: if the connection was lost
        """
        message = await self._messages.get()
        if isinstance(message, CapabilityError):
            self._messages.put_nowait(message)
            raise message
        return message
