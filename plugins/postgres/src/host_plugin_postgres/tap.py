"""Between transport and driver: what the host asks of a server by itself, without a task that waits for it.

The server answers in the order of asking. What is asked here is sent while the driver waits for nothing.
So the next answers are ours, and all that follow are the driver's, as are messages that come unasked
(PostgreSQL, "Message Flow").
"""

from __future__ import annotations

import asyncio
import struct
from collections import deque
from typing import Any, Final

import asyncpg

__all__ = ["Answer", "Tap", "simple"]

_HEAD: Final = 5
"""Bytes of a message's head: its kind, and the length of the rest with these four bytes."""
_LENGTH: Final = struct.Struct(">I")
_UNASKED: Final = frozenset(b"SAN")
"""ParameterStatus, NotificationResponse, NoticeResponse."""
_COMPLETE, _ERROR, _READY = b"CEZ"


def simple(sql: str) -> bytes:
    """Return the message that executes statements without parameters."""
    text = sql.encode()
    return b"Q" + _LENGTH.pack(len(text) + 5) + text + b"\0"


class Answer(asyncio.Future[str]):
    """What the server says to one message of ours: the tag of the last statement, or an error."""

    tag = ""
    error: Exception | None = None


class Tap(asyncio.Protocol):
    """Reads what a server sends, keeps what it was asked for itself, and passes on the rest.

    :param connection: the driver's, with nothing under way
    :ivar status: that of the session: ``I`` idle, ``T`` in a transaction, ``E`` in one that has failed
    """

    def __init__(self, connection: Any) -> None:
        self._driver = connection._protocol  # noqa: SLF001
        self._transport = connection._transport  # noqa: SLF001
        self._loop = asyncio.get_running_loop()
        self._asked: deque[Answer] = deque()
        self._part = b""
        """The beginning of a message: less than its head, or a message of ours that is not all there."""
        self._left = 0
        """Bytes that are yet to come of a message of the driver's."""
        self.status = "I"
        self._transport.set_protocol(self)

    def ask(self, *messages: bytes) -> list[Answer]:
        """Send messages; return what will be the answer to each."""
        answers = [Answer(loop=self._loop) for _ in messages]
        if self._transport.is_closing():
            self._lose(answers)
            return answers
        self._asked += answers
        self._transport.write(b"".join(messages))
        return answers

    # ------------------------------------------------------------ what the transport says

    def data_received(self, data: bytes) -> None:
        """Take messages apart as far as has to be."""
        if self._part:
            data, self._part = self._part + data, b""
        at, end, begin = min(self._left, len(data)), len(data), 0
        self._left -= at
        while end - at >= _HEAD:
            kind, (length,) = data[at], _LENGTH.unpack_from(data, at + 1)
            after = at + 1 + length
            ours = self._asked and kind not in _UNASKED
            if after > end and (ours or kind == _READY):
                break
            if kind == _READY:
                self.status = chr(data[at + _HEAD])
            if ours:
                if begin < at:
                    self._driver.data_received(data[begin:at])
                self._answered(kind, data, at + _HEAD, after)
                begin = after
            at = after
        if at > end:
            self._left, at = at - end, end
        self._part = data[at:]
        if begin < at:
            self._driver.data_received(data[begin:at] if begin or at < end else data)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell who waits, and the driver."""
        self._driver.connection_lost(exc)
        lost = list(self._asked)
        self._asked.clear()
        self._lose(lost)

    def eof_received(self) -> bool | None:
        """Let the transport close itself."""
        ended: bool | None = self._driver.eof_received()
        return ended

    def pause_writing(self) -> None:
        """Tell the driver."""
        self._driver.pause_writing()

    def resume_writing(self) -> None:
        """Tell the driver."""
        self._driver.resume_writing()

    # ------------------------------------------------------------ answers

    def _answered(self, kind: int, data: bytes, begin: int, end: int) -> None:
        answer = self._asked[0]
        if kind == _COMPLETE:
            answer.tag = data[begin : end - 1].decode()
        elif kind == _ERROR:
            answer.error = _error(data[begin:end])
        elif kind == _READY:
            self._asked.popleft()
            if answer.done():
                return
            if answer.error is None:
                answer.set_result(answer.tag)
            else:
                answer.set_exception(answer.error)

    @staticmethod
    def _lose(answers: list[Answer]) -> None:
        for answer in answers:
            if not answer.done():
                lost = asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation")
                answer.set_exception(answer.error or lost)


def _error(fields: bytes) -> Exception:
    """Return the driver's exception for the fields of an error."""
    said = {chr(field[0]): field[1:].decode(errors="replace") for field in fields.split(b"\0") if field}
    made: Exception = asyncpg.PostgresError.new(said)
    return made
