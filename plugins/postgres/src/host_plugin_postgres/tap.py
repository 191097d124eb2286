"""Between transport and driver: what the host asks of a server by itself, without a task that waits for it.

The driver logs in, and has the rest of what comes unasked (PostgreSQL, "Message Flow"). The server answers
in the order of asking, so all else is the answer to the first message of ours that has none yet.
"""

from __future__ import annotations

import asyncio
import os
import struct
import time
from collections import deque
from functools import cached_property
from typing import Any, Final

import asyncpg

__all__ = ["Answer", "Collected", "Tap"]

_HEAD: Final = 5
"""Bytes of a message's head: its kind, and the length of the rest with these four bytes."""
_START: Final = struct.Struct(">BI")
"""A message's kind, and its length without that."""
_UNASKED: Final = frozenset(b"SAN")
"""ParameterStatus, NotificationResponse, NoticeResponse."""
_BOUND, _COMPLETE, _ERROR, _READY, _ROW, _SUSPENDED, _PARAMETERS, _COLUMNS = b"2CEZDstT"
_BEGUN: Final = b"BEGIN\0"
"""The tag of what is ours, and in front of a statement."""
_WHOLE: Final = frozenset(b"tT")
"""ParameterDescription and RowDescription: nobody but a statement makes them long, and not very."""
_MOST: Final = 1 << 16
"""Bytes that are kept of any other message: errors and notices are as long as whoever raises them likes."""


_MOMENT: Final = 50e-6
"""Seconds."""
_TOO_LONG: Final = 1e-3
"""Seconds after which somebody else had the processor: the event loop would have had its turn meanwhile."""
_PASSED: Final = 63
"""Answers that are not watched for after many moments in vain."""
_SHORT: Final = 1 << 8
"""Bytes of rows that are taken one by one."""
_ALIKE: Final = range(8, 65)
"""How many rows are compared at once."""


class Collected:
    """The rows of one answer as they came.

    :ivar data: their messages
    :ivar starts: where each begins, and where the last one ends
    """

    __slots__ = ("data", "starts")

    def __init__(self) -> None:
        self.data = bytearray()
        self.starts = [0]


class Answer(asyncio.Future[str]):
    """What the server says to one message of ours: the tag of the last statement, or an error.

    The tag is empty if there may be more rows: fewer were asked for.

    :param rows: where they go; None to pass over them
    :ivar began: whether a statement was given its parameters, and so may have been executed
    :ivar count: how many were passed over
    :ivar parameters: the body of ParameterDescription
    :ivar columns: that of RowDescription
    """

    tag = b""
    error: Exception | None = None
    began = False
    count = 0
    parameters = columns = b"\0\0"

    def __init__(self, loop: asyncio.AbstractEventLoop, rows: Collected | None = None) -> None:
        super().__init__(loop=loop)
        self.rows = rows

    def completed(self, tag: bytes) -> None:
        """Note what a statement has done."""
        self.tag = tag
        self.began = tag != _BEGUN

    def take(self, kind: int, body: bytes) -> None:
        """Note what one other message says."""
        if kind == _COMPLETE:
            self.completed(body)
        elif kind == _SUSPENDED:
            self.tag = b""
        elif kind == _ERROR:
            self.error = _error(body)
        elif kind == _PARAMETERS:
            self.parameters = body
        elif kind == _COLUMNS:
            self.columns = body

    def end(self, lost: Exception | None = None) -> None:
        """Tell who waits, if there is somebody."""
        if self.done():
            return
        if (error := self.error or lost) is not None:
            self.set_exception(error)
            self.exception()  # whoever waits is told; if nobody does, that is on purpose
        else:
            self.set_result(self.tag[:-1].decode())


class Tap(asyncio.Protocol):
    """Reads what a server sends, keeps what it was asked for by us, and passes on the rest.

    :param connection: the driver's, with nothing under way
    :ivar status: that of the session: ``I`` idle, ``T`` in a transaction, ``E`` in one that has failed
    """

    def __init__(self, connection: Any) -> None:
        self._driver = connection._protocol  # noqa: SLF001
        self._transport = connection._transport  # noqa: SLF001
        self._loop = asyncio.get_running_loop()
        self._asked: deque[Answer] = deque()
        self._part = bytearray()
        """The beginning of a message: less than its head, or one that is taken as a whole."""
        self._needed = 0
        """How many bytes of it there have to be before it is looked at again."""
        self._left = 0
        """Bytes that are yet to come of a row, or of what is passed over."""
        self._row_of: Collected | None = None
        """Whose row that is; None if nobody's."""
        self.status = "I"
        self._held = False
        """Whether what the server sends is left in the socket."""
        self._unwatched = self._passing = 0
        """How many answers are not watched for, see `watch`: still, and after the last moment in vain."""
        self._transport.set_protocol(self)
        self._transport.set_write_buffer_limits(0)  # uvloop then sends at once, not after all callbacks

    @cached_property
    def _socket(self) -> int:
        """What `poll` reads from as long as the transport is open; -1 if only the transport can."""
        if self._transport.get_extra_info("sslcontext") is not None:
            return -1
        number: int = self._transport.get_extra_info("socket").fileno()
        return number

    def poll(self) -> None:
        """Take what the server has sent by now, without waiting for the event loop to have its turn."""
        if self._transport.is_closing() or self._socket < 0:
            return
        try:
            data = os.read(self._socket, _MOST)
        except OSError:
            return  # there is nothing; or the transport will say what has happened
        if data:
            self.data_received(data)

    def watch(self, answer: asyncio.Future[Any]) -> None:
        """Take what the server sends until it has answered, for a moment, if it is one that answers in one.

        A server nearby has answered a short question before a guest is suspended, and the event loop has had
        its turn, which take as long as is waited here at most. After a moment in vain, or one for which
        others had the processor, one answer is not watched for, then three, seven and so on.
        """
        self.poll()
        if answer.done() or self._socket < 0:
            return
        if self._unwatched:
            self._unwatched -= 1
            return
        begun = now = time.perf_counter()
        while not answer.done() and now < begun + _MOMENT:
            os.sched_yield()  # the server may have no other processor
            self.poll()
            now = time.perf_counter()
        well = answer.done() and now < begun + _TOO_LONG
        self._passing = self._passing // 2 if well else min(2 * self._passing + 1, _PASSED)
        self._unwatched = self._passing

    @property
    def current(self) -> Answer | None:
        """What the server is at work on; None if it has answered everything."""
        return self._asked[0] if self._asked else None

    def ask(self, *messages: bytes, rows: Collected | None = None, held: bool = False) -> list[Answer]:
        """Send messages, each of which has the server answer; return what will be the answers.

        :param rows: where those of the first go
        :param held: leave the answers in the socket, until `let_in` or `poll`
        """
        answers = [Answer(self._loop, None if at else rows) for at in range(len(messages))]
        if self._transport.is_closing():
            _lose(answers)
            return answers
        self._asked += answers
        self._transport.write(b"".join(messages))
        if not held:
            self.let_in()
        elif not self._held:
            self._held = True
            self._transport.pause_reading()
        return answers

    def let_in(self) -> None:
        """Take what the server sends when it comes."""
        if self._held and not self._transport.is_closing():
            self._held = False
            self._transport.resume_reading()

    # ------------------------------------------------------------ what the transport says

    def data_received(self, data: bytes) -> None:
        """Take messages apart as far as has to be."""
        if self._part:
            self._part += data
            if len(self._part) < self._needed:
                return
            data, self._part = bytes(self._part), bytearray()
        at, end = self._rest_of(data, 0) if self._left else 0, len(data)
        needed, asked, start = _HEAD, self._asked, _START.unpack_from
        while end - at >= _HEAD:
            kind, size = start(data, at)
            if kind == _COMPLETE and asked and at + size < end:  # most messages, for a reset has ten of them
                asked[0].completed(data[at + _HEAD : at + 1 + size])
                at += 1 + size
            elif kind == _BOUND and asked:
                asked[0].began = True
                at += 1 + size
            elif kind == _ROW and asked:
                at = self._rows(asked[0], data, at)
            else:
                needed = 1 + size if size < _MOST or kind in _WHOLE else _MOST
                if needed > end - at:
                    break
                at = self._message(kind, data, at, needed, 1 + size)
                needed = _HEAD
        if at < end:
            self._part, self._needed = bytearray(data[at:]), needed

    def _message(self, kind: int, data: bytes, at: int, needed: int, size: int) -> int:
        """Take a message, or pass it on; return where the next begins. A cut one ends like a whole one."""
        body = data[at + _HEAD : at + needed]
        at += needed
        if needed < size:
            self._left, self._row_of, body = size - needed, None, body[:-2] + b"\0\0"
            at = self._rest_of(data, at)
        if not self._asked or kind in _UNASKED:
            self._driver.data_received(_START.pack(kind, len(body) + 4) + body)
        elif kind == _READY:
            self.status = chr(body[0])
            self._asked.popleft().end()
        else:
            self._asked[0].take(kind, body)
        return at

    def _rest_of(self, data: bytes, at: int) -> int:
        """Take in what belongs to the message before; return where the next one begins."""
        begin, at = at, min(at + self._left, len(data))
        self._left -= at - begin
        if self._row_of is not None:
            self._row_of.data += memoryview(data)[begin:at]
        return at

    def _rows(self, answer: Answer, data: bytes, at: int) -> int:
        """Keep rows that follow each other; return where the next message begins."""
        begin, end, rows, start = at, len(data), answer.rows, _START.unpack_from
        starts = [] if rows is None else rows.starts
        offset, count = (0 if rows is None else len(rows.data)) - at, len(starts)
        add, last = starts.append, end - _HEAD
        if end - at > _SHORT and (alike := _alike(data, at)) > 1:
            size = 1 + start(data, at)[1]
            at += alike * size
            starts.extend(range(begin + offset + size, at + offset + 1, size))
        while at <= last:
            kind, size = start(data, at)
            if kind != _ROW:
                break
            at += 1 + size
            add(at + offset)
        self._left, at = max(0, at - end), min(at, end)
        self._row_of = rows
        if rows is None:
            answer.count += len(starts) - count
        else:
            rows.data += memoryview(data)[begin:at]
        return at

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell who waits, and the driver."""
        lost = list(self._asked)
        self._asked.clear()
        _lose(lost)  # first: whatever the driver makes of it
        self._driver.connection_lost(exc)

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


def _alike(data: bytes, at: int) -> int:
    """Return how many rows follow each other that are all as long as the first; 1 if not many are.

    Rows of numbers and times are. Their heads are compared all at once, for taking them one by one is slow.
    """
    kind, size = _START.unpack_from(data, at)
    size += 1
    count = min(_ALIKE.stop - 1, (len(data) - at) // size)
    if count not in _ALIKE or data[at + size] != kind:
        return 1
    end = at + count * size
    heads = (data[at + byte : end : size] == data[at + byte : at + byte + 1] * count for byte in range(_HEAD))
    return count if all(heads) else 1


def _lose(answers: list[Answer]) -> None:
    for answer in answers:
        answer.end(asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation"))


def _error(fields: bytes) -> Exception:
    """Return the driver's exception for the fields of an error."""
    said = {chr(field[0]): field[1:].decode(errors="replace") for field in fields.split(b"\0") if field}
    made: Exception = asyncpg.PostgresError.new(said)
    return made
