"""Messages that come one after the other for somebody who waits for them, until the connection is lost."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence

from wasmplex.capabilities.errors import CapabilityError
from wasmplex.plugin import get_logger

from host_plugin_nats.parsing import Arrived

__all__ = ["Inbox", "left_out"]

logger = get_logger("wasmplex.backends.nats")


def left_out(message: Arrived) -> None:
    """Say that something in an inbox is not from JetStream: anybody on the account may send there."""
    logger.warning(
        "nats: a message was left out that JetStream did not deliver: to %s, with the answer to %s",
        message.subject,
        message.reply_to,
    )


class Inbox:
    """Messages for somebody who waits for more than one.

    :ivar number: what `Link.leave` needs to have no more of them
    :ivar needs: what `Needs.remove` takes, by the subjects that were asked for what comes; "" for its own
    """

    def __init__(self, subject: str) -> None:
        self.subject = subject
        self.number = 0
        self.needs: dict[str, object] = {}
        self._messages: deque[Arrived] = deque()
        self._error: CapabilityError | None = None
        self._waiting: deque[asyncio.Future[None]] = deque()

    @property
    def ended(self) -> bool:
        """Whether no more comes: the connection is lost, or the user may not ask."""
        return self._error is not None

    def put(self, messages: Sequence[Arrived]) -> None:
        """Add messages."""
        self._messages.extend(messages)
        for _ in messages:
            if not self._waiting:
                break
            self._wake()

    def end(self, error: CapabilityError) -> None:
        """Have an error raised once what has come is read."""
        self._error = error
        while self._waiting:
            self._wake()

    def next_nowait(self) -> Arrived | None:
        """Return the next message; None if there is none yet."""
        return self._messages.popleft() if self._messages else None

    def take(self) -> Sequence[Arrived]:
        """Return all messages that there are."""
        taken = list(self._messages)
        self._messages.clear()
        return taken

    async def next(self) -> Arrived:
        """Return the next message.

        :raises wasmplex.capabilities.errors.CapabilityError: if `ended`
        """
        while not self._messages:
            if self._error is not None:
                raise self._error
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(turn)
            try:
                await turn
            except BaseException:
                if turn.done() and not turn.cancelled():
                    self._wake()  # for a message that it does not take any more
                raise
        return self._messages.popleft()

    def _wake(self) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
