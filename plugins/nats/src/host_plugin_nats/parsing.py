"""Reads what the server sends, and hands messages on at once to who is to have them so.

The client library takes each message through several coroutines, and cuts it off what it has read; that
takes longer than what is done with a short one. Here all of a chunk are found in it one after the other.
Whatever is not plain (headers, pings, errors, a message that has not come whole) the library's parser reads,
that and no more.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from nats.errors import ProtocolError
from nats.protocol.parser import AWAITING_CONTROL_LINE, CRLF_SIZE, Parser
from wasmplex.capabilities.messaging import Message
from wasmplex.plugin import get_logger

__all__ = ["Arrived", "DirectParser", "Take", "text_of"]

logger = get_logger("wasmplex.backends.nats")

_LONGEST_LINE = 2**20
"""Bytes of a line, for one that tells of the servers of a large cluster."""
_MOST_DIGITS = 10
_KNOWN_MOST, _KNOWN_SIZE = 512, 256
"""First lines of messages that are remembered, and their bytes: most messages begin as one before has."""
_NO_LENGTH = b"\r"
"""What no first line has where a length is."""


Arrived: TypeAlias = Message
"""A message as it came: ``reply_to`` and ``headers`` are what the server says.

It says with ``reply_to`` where to tell what becomes of a message that JetStream delivers.
"""
Take: TypeAlias = Callable[[Sequence[Arrived]], None]
"""Takes messages of one subscription, which came one after the other."""
_Head: TypeAlias = tuple[Take, str, str | None, int]
"""Who takes a message, its subject, the subject for an answer, its length."""


def text_of(subject: bytes) -> str:
    """Return a subject as text. Whoever sends something may put bytes into one that are none: U+FFFD."""
    return subject.decode(errors="replace")


class DirectParser(Parser):
    """The library's parser, which some messages never get to.

    :ivar is_parsing: whether it is in the middle of something; for good if it was cut off there
    """

    def __init__(self, client: Any) -> None:
        super().__init__(client)
        self._takers: dict[bytes, Take] = {}
        self._known: dict[bytes, _Head] = {}
        self.is_parsing = False

    def listen(self, number: int, take: Take) -> None:
        """Have the messages of a subscription taken at once."""
        self._takers[b"%d" % number] = take

    def taker(self, number: int) -> Take | None:
        """Return who takes the messages of a subscription at once."""
        return self._takers.get(b"%d" % number)

    def forget(self, number: int) -> None:
        """Undo `listen`."""
        self._takers.pop(b"%d" % number, None)
        self._known.clear()

    def forget_all(self) -> None:
        """Undo every `listen`."""
        self._takers.clear()
        self._known.clear()

    def at_once(self, data: bytes) -> bytes:
        """Hand on the messages that what comes begins with, if nothing before it is left; return the rest."""
        if self.is_parsing or self.buf or self.state != AWAITING_CONTROL_LINE:
            return data
        return data[self._take(data, 0) :]

    def is_cut(self, data: bytes) -> bool:
        """Say whether what `at_once` has left is the beginning of a message that it would hand on."""
        if self.is_parsing or self.buf or self.state != AWAITING_CONTROL_LINE:
            return False
        if (stop := data.find(b"\r")) < 0:
            return b"MSG ".startswith(data[:4])
        return self._head(data[:stop]) is not None

    async def parse(self, data: bytes = b"") -> None:
        """Take in what has been read.

        :raises nats.errors.ProtocolError: for what no NATS server sends
        """
        self.is_parsing = True  # for good, if it is cut off: what comes next is the beginning of nothing
        try:
            await self._parse(data)
        except (ProtocolError, OSError):
            raise
        except Exception as error:
            logger.warning("nats: what the server sends cannot be read: %s", type(error).__name__)
            logger.debug("nats: that was", exc_info=True)
            raise ProtocolError from error
        self.is_parsing = False

    async def _parse(self, data: bytes) -> None:
        if self.state != AWAITING_CONTROL_LINE:
            missing = self.needed + CRLF_SIZE - len(self.buf)
            await super().parse(data[:missing])
            data = data[missing:]
        elif self.buf:
            data = bytes(self.buf) + data
            self.buf.clear()
        at, size = 0, len(data)
        while (at := self._take(data, at)) < size:
            end = _end(data, at)
            await super().parse(data[at:end])
            if self.state == AWAITING_CONTROL_LINE and (b"\r\n" in self.buf or len(self.buf) > _LONGEST_LINE):
                raise ProtocolError  # the library would wait for more of what it makes nothing of
            at = end

    def _take(self, data: bytes, at: int) -> int:
        """Hand on the messages that lie in a chunk from `at` on; return where something else follows."""
        known, find, make = self._known, data.find, tuple.__new__
        size = len(data)
        taker: Take | None = None
        taken: list[Arrived] = []
        subject, alike, skip, said = "", b"", 0, _NO_LENGTH
        reply: str | None
        while (stop := find(b"\r", at)) > 0:
            if skip and data.startswith(alike, at):
                answer, _, count = data[at + skip : stop].partition(b" ")
                if not answer.isascii() or (count != said and not _is_length(count)):
                    skip = 0
                    continue
                if count != said:  # most are as long as the one before
                    length, said = int(count), count
                reply = answer.decode()
            else:
                line, before = data[at:stop], subject
                head = known.get(line) or self._head(line)
                if head is None:
                    break
                take, subject, reply, length = head
                alike = b"" if reply is None or subject != before else _beginning(line)
                skip, said = len(alike), _NO_LENGTH
            start = stop + CRLF_SIZE
            end = start + length
            if end + CRLF_SIZE > size:
                break
            if take is not taker:
                if taker is not None:
                    taker(taken)
                taker, taken = take, []
            taken.append(make(Arrived, (subject, data[start:end], reply, None)))
            at = end + CRLF_SIZE
        if taker is not None:
            taker(taken)
        return at

    def _head(self, line: bytes) -> _Head | None:
        """Read the first line of a message: subject, subscription, subject for an answer if any, length.

        None if it is none, or not to be taken here.
        """
        words = line.split(b" ")
        if words[0] != b"MSG" or not 4 <= len(words) <= 5 or not _is_length(words[-1]):
            return None
        if (take := self._takers.get(words[2])) is None:
            return None
        reply = words[3] if len(words) == 5 else b""
        try:
            head = take, words[1].decode(), reply.decode() or None, int(words[-1])
        except UnicodeDecodeError:
            return take, text_of(words[1]), text_of(reply) or None, int(words[-1])
        if not reply and len(line) <= _KNOWN_SIZE:
            if len(self._known) >= _KNOWN_MOST:
                self._known.clear()
            self._known[line] = head
        return head


def _beginning(line: bytes) -> bytes:
    """Return a first line up to the subject for an answer: that is another one with each of JetStream."""
    return line[: line.rindex(b" ", 0, line.rindex(b" ")) + 1]


def _is_length(text: bytes) -> bool:
    """Say whether this may be the length of a message: Python reads no number of any length."""
    return text.isdigit() and len(text) <= _MOST_DIGITS


def _end(data: bytes, at: int) -> int:
    """Return where ends what begins at a place of a chunk, or the chunk if that is sooner."""
    if (stop := data.find(b"\r\n", at)) < 0:
        return len(data)
    words = data[at:stop].split()
    length = words[-1] if words and words[0] in (b"MSG", b"HMSG") else b""
    rest = int(length) + CRLF_SIZE if _is_length(length) else 0
    return min(stop + CRLF_SIZE + rest, len(data))
