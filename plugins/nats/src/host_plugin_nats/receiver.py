"""What a connection sends, from its socket to who takes it. As `client`, it looks inside the library."""

# ruff: noqa: SLF001

from __future__ import annotations

import asyncio
from typing import Any, Final

from nats.aio.client import Client

from host_plugin_nats.backlog import Backlog
from host_plugin_nats.parsing import Arrived, DirectParser, text_of

__all__ = ["Receiver"]

_SHORT: Final = 4096
"""Bytes of the beginning of a message with which the rest is joined when it comes."""


class Receiver:
    """Has messages taken where they come in, not when a task of the library's gets to read them.

    What is no message of ours the library reads, or has not come whole and is long, and what comes before it
    has done so waits for that. What is not to be parsed yet goes into the backlog.
    """

    def __init__(
        self, client: Client, parser: DirectParser, reader: asyncio.StreamReader, backlog: Backlog
    ) -> None:
        self._client = client
        self._parser = parser
        self._reader = reader
        self._backlog = backlog
        self._feed = reader.feed_data
        self._unread: bytearray = reader._buffer  # type: ignore[attr-defined]
        self._cut = b""
        """The beginning of a message whose rest comes next."""
        self._parsing = self._ended = self._broken = False
        reader.feed_data = self._take  # type: ignore[method-assign, assignment]

    def _take(self, data: bytes) -> None:
        if self._broken:
            return
        if self._cut:
            data, self._cut = self._cut + data, b""
        if self._backlog.waits:
            self._backlog.add(self, data)
        elif self._unread:
            self._feed(data)
        elif rest := self._parser.at_once(data):
            if len(rest) < _SHORT and self._parser.is_cut(rest):
                self._cut = rest
            else:
                self._feed(rest)

    async def parse(self, chunk: bytes) -> None:
        """See `Source.parse`."""
        # The library is to read first what it was given before: a turn or two, for it waits for nothing.
        while not self._ended and (self._unread or self._parser.is_parsing):  # noqa: ASYNC110  nothing says so
            await asyncio.sleep(0)
        if self._broken:
            return
        self._parsing = True
        try:
            await self._parser.parse(chunk)
        except Exception as error:  # noqa: BLE001  the library, too, ends the connection then
            self._break()
            if not self._ended:
                self._reader.set_exception(error)  # the library takes it for one of the socket
        finally:
            self._parsing = False

    def end(self) -> None:
        """Have what has come taken all the same: the connection has ended."""
        if self._ended:
            return
        self._ended = True
        if self._parser.is_parsing and not self._parsing:
            self._break()  # the library was cut off somewhere, and what follows is the beginning of nothing
        elif self._unread:
            self._backlog.put_back(self, bytes(self._unread))
        self._parser.nc = _Ended(self._client, self._parser)
        if not self._parsing and not self._backlog.holds(self):
            self._parser.forget_all()

    def _break(self) -> None:
        self._broken = True
        self._backlog.discard(self)

    def hold(self) -> None:
        """See `Source.hold`."""
        if (transport := self._transport()) is not None:
            transport.pause_reading()
            # What asyncio's reader has paused it resumes once it has been read from: it is to forget that.
            self._reader._paused = False  # type: ignore[attr-defined]

    def release(self) -> None:
        """See `Source.release`."""
        if (transport := self._transport()) is not None:
            transport.resume_reading()

    def _transport(self) -> Any:
        """Return the socket's transport; None for one that is closed."""
        writer: Any = getattr(self._client._transport, "_io_writer", None)
        transport: Any = getattr(writer, "transport", None)  # uvloop's is no asyncio.Transport
        return None if transport is None or transport.is_closing() else transport


class _Ended:
    """Stands where a parser has its client once the connection has ended: all but messages is of no use."""

    def __init__(self, client: Client, parser: DirectParser) -> None:
        self._client = client
        self._parser = parser

    async def _process_msg(
        self, number: int, subject: bytes, reply: bytes, data: bytes, head: bytes | None
    ) -> None:
        if (take := self._parser.taker(number)) is not None:
            headers = await self._client._process_headers(head)
            take([Arrived(text_of(subject), data, text_of(reply) or None, headers)])

    async def _nothing(self, *_: Any) -> None:
        pass

    _process_err = _process_info = _process_ping = _process_pong = _nothing
