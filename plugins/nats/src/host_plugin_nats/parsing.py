"""Reads what the server sends, and hands messages on at once to who is to have them so.

The client library takes each message through several coroutines, and cuts it off what it has read; that
takes longer than what is done with a short one. Here all of a chunk are found in it one after the other.
Whatever is not plain (headers, pings, errors, a message that has not come whole) the library's parser reads,
as always.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple, TypeAlias

from nats.protocol.parser import AWAITING_CONTROL_LINE, CRLF_SIZE, Parser

__all__ = ["Arrived", "DirectParser", "Take", "text_of"]

_MESSAGE: Final = re.compile(rb"MSG (\S+) (\d+) (?:(\S+) )?(\d+)\r\n")
"""Subject, number of the subscription, subject for an answer, length: as the server writes them."""


class Arrived(NamedTuple):
    """A message as it came.

    :ivar reply: where an answer is expected; empty for none
    """

    subject: str
    reply: str
    data: bytes
    headers: Mapping[str, str] | None = None


Take: TypeAlias = Callable[[Arrived], None]


def text_of(subject: bytes) -> str:
    """Return a subject as text. Whoever sends something may put bytes into one that are none: U+FFFD."""
    return subject.decode(errors="replace")


class DirectParser(Parser):
    """The library's parser, which some messages never get to.

    :ivar direct: who takes the messages of a subscription, by the digits of its number
    """

    def __init__(self, client: Any) -> None:
        super().__init__(client)
        self.direct: dict[bytes, Take] = {}
        self._parsing = False

    def at_once(self, data: bytes) -> bytes:
        """Hand on the messages that what comes begins with, if nothing before it is left; return the rest."""
        if self._parsing or self.buf or self.state != AWAITING_CONTROL_LINE:
            return data
        return data[self._take(data) :]

    async def parse(self, data: bytes = b"") -> None:
        """Take in what has been read."""
        self._parsing = True
        try:
            await self._parse(data)
        finally:
            self._parsing = False

    async def _parse(self, data: bytes) -> None:
        if self.state != AWAITING_CONTROL_LINE:
            missing = self.needed + CRLF_SIZE - len(self.buf)
            await super().parse(data[:missing])
            data = data[missing:]
        elif self.buf:
            data = bytes(self.buf) + data
            self.buf.clear()
        if taken := self._take(data):
            data = data[taken:]
        if data:
            await super().parse(data)

    def _take(self, data: bytes) -> int:
        """Hand on the messages that a chunk begins with; return how many bytes these are."""
        direct, at, size, match = self.direct, 0, len(data), _MESSAGE.match
        while (found := match(data, at)) is not None:
            subject, number, reply, length = found.groups()
            start = found.end()
            end = start + int(length)
            take = direct.get(number)
            if take is None or end + CRLF_SIZE > size:
                break
            at = end + CRLF_SIZE
            try:
                message = Arrived(subject.decode(), reply.decode() if reply else "", data[start:end])
            except UnicodeDecodeError:
                message = Arrived(text_of(subject), text_of(reply or b""), data[start:end])
            take(message)
        return at
