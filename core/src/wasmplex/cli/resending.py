"""Sending dead letters again, and what is known of each if that ends before its time."""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING

import click

from wasmplex.cli.failure import print_diagnostics
from wasmplex.errors import Diagnostic
from wasmplex.escaping import escape

if TYPE_CHECKING:
    from wasmplex.capabilities.messaging import Kept, Message, MessagingBackend

__all__ = ["Resending", "remove"]

_PATIENCE = 10.0
"""Seconds in which a letter that was sent is to be removed."""
_PAUSE = 0.1
"""Seconds between two tries."""
_NAMED = 256
"""The last of them that can be named; as many as a page of a table has, and more."""


class Resending:
    """Sends letters again and removes them, one after the other.

    :ivar count: how many were sent again
    :param command: what to type to see the letters
    """

    def __init__(self, command: str) -> None:
        self.count = 0
        self._command = command
        self._last: deque[str] = deque(maxlen=_NAMED)
        self._doubt: Diagnostic | None = None

    async def resend(
        self, broker: MessagingBackend, namespace: str, subject: str, letter: Kept, message: Message
    ) -> None:
        """Send a letter's message, and remove the letter; that is tried again for a while.

        :param subject: where the letter is kept
        :raises wasmplex.capabilities.messaging.MessagingError: if it fails; see `tell`
        :raises TimeoutError: if the broker does not answer
        """
        name = f"{letter.token} in {subject}"
        self._doubt = Diagnostic(
            f"nobody says whether the dead letter {name} was sent again",
            why="it is still there, and the next --redeliver sends it",
        )
        await broker.publish(namespace, message)
        self.count += 1
        self._last.append(name)
        self._doubt = Diagnostic(
            f"the dead letter {name} was sent again, and is still there",
            why="the next --redeliver would send it twice",
            fix=f"{self._command} --remove {subject} {letter.token}",
        )
        await remove(broker, namespace, subject, letter.token)
        self._doubt = None

    def tell(self, told: int) -> None:
        """Say on standard error what is known of the letters when it has ended before its time.

        :param told: how many of those that were sent again were printed
        """
        untold = self.count - told
        if untold > 0:
            _say(f"{_so_many(untold)} sent again that standard output does not name:")
            for name in [*self._last][-untold:]:
                _say(f"  {name}")
        elif self.count:
            _say(f"{_so_many(self.count)} sent again")
        if self._doubt is not None:
            print_diagnostics((self._doubt,))


def _say(line: str) -> None:
    click.echo(escape(line), err=True)


async def remove(broker: MessagingBackend, namespace: str, subject: str, token: str) -> None:
    """Remove a letter; again for a while if that fails.

    :raises wasmplex.capabilities.messaging.MessagingError: if it fails all the same, or may not be
    :raises TimeoutError: if the broker does not answer
    """
    import anyio

    from wasmplex.capabilities.messaging import AccessDenied, MessagingError

    until = time.monotonic() + _PATIENCE
    while True:
        try:
            with anyio.fail_after(max(until - time.monotonic(), _PAUSE)):
                await broker.remove(namespace, subject, token)
            return
        except AccessDenied:
            raise
        except (MessagingError, TimeoutError):
            if time.monotonic() + _PAUSE > until:
                raise
        await anyio.sleep(_PAUSE)


def _so_many(count: int) -> str:
    return "1 dead letter was" if count == 1 else f"{count} dead letters were"
