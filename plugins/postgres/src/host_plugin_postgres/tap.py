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

__all__ = ["Answer", "Collected", "Tap", "simple"]

_HEAD: Final = 5
"""Bytes of a message's head: its kind, and the length of the rest with these four bytes."""
_LENGTH: Final = struct.Struct(">I")
_UNASKED: Final = frozenset(b"SAN")
"""ParameterStatus, NotificationResponse, NoticeResponse."""
_COMPLETE, _ERROR, _READY, _ROW = b"CEZD"


def simple(sql: str) -> bytes:
    """Return the message that executes statements without parameters."""
    text = sql.encode()
    return b"Q" + _LENGTH.pack(len(text) + 5) + text + b"\0"


class Answer(asyncio.Future[str]):
    """What the server says to one message of ours: the tag of the last statement, or an error."""

    tag = ""
    error: Exception | None = None


class Collected:
    """The rows of one answer as they came, which the driver does not see.

    :ivar data: their messages
    :ivar starts: where each begins, and where the last one ends
    """

    __slots__ = ("data", "starts")

    def __init__(self) -> None:
        self.data = bytearray()
        self.starts = [0]


class Tap(asyncio.Protocol):
    """Reads what a server sends, keeps what it was asked for itself, and passes on the rest.

    :param connection: the driver's, with nothing under way
    :ivar collected: where rows go instead of to the driver
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
        """Bytes that are yet to come of a message of the driver's, or of a row."""
        self._row_of: Collected | None = None
        """Whose row that is."""
        self.collected: Collected | None = None
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
        begin = at = self._rest_of(data) if self._left else 0
        if self._row_of is None:
            begin = 0
        end = len(data)
        while end - at >= _HEAD:
            kind, (length,) = data[at], _LENGTH.unpack_from(data, at + 1)
            after = at + 1 + length
            ours = self._asked and kind not in _UNASKED
            if after > end and (ours or kind == _READY):
                break
            if kind == _READY:
                self.status = chr(data[at + _HEAD])
            if ours:
                self._pass(data, begin, at)
                self._answered(kind, data, at + _HEAD, after)
                begin = after
            elif kind == _ROW and self.collected is not None:
                self._pass(data, begin, at)
                begin = after = self._collect(self.collected, data, at)
            at = after
        if at > end:
            if begin < end:
                self._row_of = None
            self._left, at = at - end, end
        self._part = data[at:]
        self._pass(data, begin, at)

    def _pass(self, data: bytes, begin: int, end: int) -> None:
        if begin < end:
            self._driver.data_received(data if end - begin == len(data) else data[begin:end])

    def _rest_of(self, data: bytes) -> int:
        """Take in what belongs to the message before; return where the next one begins."""
        at = min(self._left, len(data))
        self._left -= at
        if self._row_of is not None:
            self._row_of.data += memoryview(data)[:at]
        return at

    def _collect(self, rows: Collected, data: bytes, at: int) -> int:
        """Keep rows that follow each other; return where the last one ends, which may be to come yet."""
        begin, end, add, size_at = at, len(data), rows.starts.append, _LENGTH.unpack_from
        offset = len(rows.data) - at
        while end - at >= _HEAD and data[at] == _ROW:
            at += 1 + size_at(data, at + 1)[0]
            add(at + offset)
        rows.data += memoryview(data)[begin:at]
        self._row_of = rows if at > end else None
        return at

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
