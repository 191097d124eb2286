"""Whether the user may tell the server what becomes of messages: without that each comes again and again.

The server does not answer what it is told, and complains when the message has been handled. So it is told
something that changes nothing before the first is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from wasmplex.capabilities.messaging import AccessDenied

from host_plugin_nats.delivery import outcome_parts, tries_at
from host_plugin_nats.link import Link

__all__ = ["OutcomeRights"]

_NO_MESSAGE: Final = "1.0.0.0.0"
"""The end of the subject for the outcome of a message that there is not."""
_IN_PROGRESS: Final = b"+WPI"


class OutcomeRights:
    """What one user may tell of the messages of any consumer.

    The subject for an outcome begins with ``$JS.ACK.<stream>.<consumer>``, in newer servers with a domain and
    an account's hash before the stream. Which it is, and what hash, the first message tells.

    :param domain: the JetStream domain, None for the server's own
    """

    def __init__(self, link: Link, domain: str | None) -> None:
        self._link = link
        self._forms: Sequence[tuple[str, ...]] = [(), (domain or "_", "_")]
        """What may be before the stream; one of it alone once a message has come that was asked about."""

    async def check(self, stream: str, consumer: str) -> tuple[Sequence[str], bool]:
        """Return the patterns of the subjects that may be used, and whether the server's is one of them.

        :raises wasmplex.capabilities.messaging.AccessDenied: if none may be
        """
        allowed, refused = [], []
        for form in self._forms:
            pattern = _subject(["*"] * len(form), stream, consumer, ">")
            try:
                await self._tell(_subject(form, stream, consumer, _NO_MESSAGE), pattern)
            except AccessDenied as error:
                refused.append(error)
            else:
                allowed.append(pattern)
        if refused and not allowed:
            raise refused[0]
        return allowed, not refused

    async def check_for(self, reply: str | None) -> bool:
        """Look whether the outcome of a message may be told, which is in progress; False if it has none.

        :raises wasmplex.capabilities.messaging.AccessDenied: if it may not
        """
        tokens = outcome_parts(reply)
        if reply is None or tokens is None:
            return False
        place = tries_at(tokens)
        self._forms = [tuple(tokens[2 : place - 2])]
        await self._tell(reply, ".".join([*tokens[:place], ">"]))
        return True

    async def _tell(self, subject: str, pattern: str) -> None:
        await self._link.deliver(subject, _IN_PROGRESS, needs=pattern)


def _subject(form: Sequence[str], *rest: str) -> str:
    return ".".join(["$JS.ACK", *form, *rest])
