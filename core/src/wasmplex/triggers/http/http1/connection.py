"""One connection: requests in, one after the other, and their answers out.

A connection has one deadline at a time, and one sweep over all connections checks them, so that no
request costs a timer.
"""

from __future__ import annotations

import asyncio
import math
import socket
import struct
from typing import Final

from wasmplex.triggers.http.access import log_refusal
from wasmplex.triggers.http.http1.cycle import Cycle, plain_answer
from wasmplex.triggers.http.http1.delivery import Delivery, untaken
from wasmplex.triggers.http.http1.head import Head
from wasmplex.triggers.http.http1.parsing import RequestParser
from wasmplex.triggers.http.http1.shared import Shared
from wasmplex.triggers.http.http1.worker import Worker
from wasmplex.triggers.http.refusal import Refused

__all__ = ["Connection"]

_HIGH_WATER: Final = 64 * 1024
"""Bytes that are held in each direction before the other side has to wait."""
_LINGER: Final = 2.0
"""Seconds that a client gets to close its side, once it has taken an answer that ends the connection."""
_UNWANTED: Final = 16 * 2**20
"""Bytes that are taken and thrown away: of a body nobody reads, and after the end of a connection."""
_TOO_MANY: Final = 1000
"""Connections above `HttpSettings.max_connections` that get an answer; those above are closed without."""
_LOOKS: Final = 8
_LOOK_SECONDS: Final = 1.0
"""How often at least, and how soon at the latest, a client is looked at that may take nothing."""
_OPEN, _LINGERING, _PARTING = range(3)
_RESET: Final = struct.pack("ii", 1, 0)


class Connection(asyncio.Protocol):
    """One connection; `Line` is what its requests see of it.

    :ivar deadline: loop time at which `expire` is to be called
    :ivar full: set while the client takes less than is written; done when it has caught up
    """

    def __init__(self, shared: Shared, loop: asyncio.AbstractEventLoop) -> None:
        self._shared = shared
        self._settings = shared.settings
        self.loop = loop
        self.deadline = math.inf
        self.full: asyncio.Future[None] | None = None
        self.client = ""
        self._transport: asyncio.Transport = None  # type: ignore[assignment]  # until connection_made
        self._parser: RequestParser | None = RequestParser(shared.settings.max_head)
        self._reading = True
        self._behind = False  # something that has come has not been looked at
        self._idle = True  # no byte of the next request is here
        self._current: Cycle | None = None  # who is answered, or whose body still comes
        self._worker = Worker(shared, loop)
        self._lost = False
        self._unwanted = 0
        self._delivery = Delivery(shared.settings.write_timeout)
        self._watched = False  # whether the client takes what is sent
        # _LINGERING: all is written, and nothing that comes is of use; _PARTING: and all has been taken
        self._phase = _OPEN

    # ------------------------------------------------------------ the transport's callbacks

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection, or refuse it if there are too many."""
        self._transport = transport  # type: ignore[assignment]  # the loop only knows the base class
        peer = transport.get_extra_info("peername")
        self.client = str(peer[0]) if isinstance(peer, tuple) and peer else ""
        self._transport.set_write_buffer_limits(high=_HIGH_WATER)
        connections = self._shared.connections
        above = len(connections) - self._settings.max_connections
        connections.add(self)
        self.deadline = self.loop.time() + self._settings.head_timeout
        if above >= _TOO_MANY:
            self.abort()
        elif above >= 0:
            self._end_with(503, "too many connections", b"retry-after: 1\r\n")

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the request that is not answered yet."""
        self._parser = None
        self._lost = True
        self.resume_writing()
        self.deadline = math.inf
        self._worker.end()
        if self._current is not None:
            self._current.disconnect()
            self._current = None  # which refers to this connection: nobody has to look for such circles
        self._shared.closed(self)

    def eof_received(self) -> None:
        """Take a half-closed connection for a closed one, which nearly all are: they look the same."""
        self._shared.outbox.flush()

    def pause_writing(self) -> None:
        """Have writers wait, and the client not take for ever."""
        if self.full is None:
            self.full = self.loop.create_future()
            self._watch()

    def resume_writing(self) -> None:
        """Let writers go on."""
        if self.full is not None:
            if not self.full.done():
                self.full.set_result(None)
            self.full = None
            if not self._transport.is_closing() and self._phase is _OPEN:
                self._watched = False
                self._reset_deadline()

    def data_received(self, data: bytes) -> None:
        """Parse what came, or throw it away after the last answer."""
        parser = self._parser
        if parser is None:
            self._linger_on(len(data))
            return
        parser.feed(data)
        self._advance()

    # ------------------------------------------------------------ requests as they come

    def _advance(self) -> None:
        """Deal with all that has come of this request."""
        try:
            while (parser := self._parser) is not None and (event := parser.next_event()) is not None:
                if isinstance(event, Head):
                    self._start(Cycle(self, event))
                    if not event.length:
                        break  # the next request has to wait
                elif isinstance(event, bytes):
                    self._on_piece(event)
                    if parser.behind and self._parser is parser:
                        self._yield()
                        return
                else:
                    self._on_end(event.trailers)
        except Refused as refused:
            self._refuse(refused)
            return
        if parser is None:
            return
        if self._current is None:
            if self._idle and parser.in_head:
                self._idle = False
                self._reset_deadline()
        elif parser.waiting:
            self._pause()  # what is behind this request waits where it is

    def _yield(self) -> None:
        """Go on when others have had their turn."""
        self._pause()
        self._behind = True
        self.loop.call_soon(self._go_on)

    def _go_on(self) -> None:
        self._behind = False
        self._advance()
        cycle = self._current
        if not self._behind and (cycle is None or cycle.buffered <= _HIGH_WATER):
            self._resume()  # no sooner: what has come is looked at before more is taken

    def _on_piece(self, body: bytes) -> None:
        """Hand on a piece of the body, or throw it away if its request has been answered."""
        cycle = self._current
        if cycle is None:
            return
        if not cycle.complete:
            if cycle.feed(body) > _HIGH_WATER:
                self._pause()
            return
        self._unwanted += len(body)
        if self._unwanted > _UNWANTED:
            self._close(linger=True)

    def _on_end(self, trailers: list[tuple[bytes, bytes]]) -> None:
        cycle = self._current
        if cycle is not None:
            cycle.end(trailers)
            if cycle.complete:
                self._next()

    # ------------------------------------------------------------ the life of a request

    def _start(self, cycle: Cycle) -> None:
        self._current = cycle
        self._idle = False
        self._unwanted = 0
        if self._shared.draining:
            cycle.keep_alive = False
        if not self._watched:
            self.deadline = math.inf
        self._worker.run(cycle)

    def answered(self, cycle: Cycle) -> None:
        """Go on after the end of a response; called by its cycle."""
        if cycle is not self._current or self._transport.is_closing():
            return
        if not cycle.keep_alive:
            # Closing with bytes unread makes the system reset the connection, and the client lose the answer.
            self._close(linger=not cycle.ended or not self._reading)
        elif cycle.ended:
            self._next()
        else:
            self._resume()
            self._reset_deadline()

    def _next(self) -> None:
        parser = self._parser
        self._current = None
        if parser is None:
            return
        self._idle = True
        self._reset_deadline()
        parser.begin()
        if not self._reading:
            self._advance()
        if self._current is None:
            self._resume()

    def want_body(self) -> None:
        """Read on, the handler waits for more of the request; called by its cycle."""
        self._resume()

    def _reset_deadline(self) -> None:
        """Set the deadline for what comes next from the client."""
        if self._watched:
            return
        cycle, settings = self._current, self._settings
        if cycle is not None and not cycle.complete:
            self.deadline = math.inf  # that is for the handler to bound
        elif cycle is None and self._idle:
            self.deadline = self.loop.time() + settings.keep_alive
        else:
            self.deadline = self.loop.time() + settings.head_timeout

    # ------------------------------------------------------------ what cycles write

    async def writable(self) -> None:
        """Wait until the client has taken most of what was written."""
        while self.full is not None:
            await asyncio.shield(self.full)

    def default_headers(self, *, date: bool, server: bool) -> bytes:
        """Return the header lines that every response has, unless it brings its own."""
        shared = self._shared
        if date and server:
            return shared.date + shared.server
        return shared.date if date else shared.server if server else b""

    def write(self, data: bytes) -> None:
        """Write what more will follow on, now; called by its cycle."""
        self._shared.outbox.flush()
        # Not writelines: in CPython 3.12.0 to 3.13.1 it never asks a writer to wait (CVE-2024-12254).
        self._transport.write(data)

    def write_last(self, data: bytes) -> None:
        """Write the end of an answer, now or a little later; called by its cycle."""
        self._shared.outbox.put(self.loop, self._transport, data)

    # ------------------------------------------------------------ the end of the connection

    def close(self) -> None:
        """Close the connection when all that was written has left."""
        self._shared.outbox.flush()
        self._parser = None
        self._transport.close()
        self._watch()

    def expire(self) -> None:
        """End what has outlived its deadline; called by the sweep."""
        self.deadline = math.inf
        if self._watched:
            self._look()
        elif self._phase is _PARTING:
            self._transport.abort()
        elif self._current is None and self._parser is not None and self._parser.in_head:
            self._refuse(Refused(408, "the head of the request took too long"))
        else:
            self._close(linger=self._current is not None)

    def shutdown(self, patience: float) -> None:
        """Close when what is under way has been answered; called by the server when it ends.

        :param patience: seconds for a request that may be under way already on a connection without one
        """
        if self._current is not None and self._current.complete:
            self._close(linger=True)
        elif self._current is not None:
            self._current.keep_alive = False
        elif self._phase is _OPEN and self._idle and not self._watched:
            self.deadline = min(self.deadline, self.loop.time() + patience)

    def abort(self) -> None:
        """Cut the connection; called by the server when it ends."""
        self._transport.abort()

    def reset(self) -> None:
        """Cut the connection in a way that the client takes for a failure."""
        self._shared.outbox.flush()
        sock = self._transport.get_extra_info("socket")
        if sock is not None and not self._transport.is_closing():
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self._transport.abort()

    def _refuse(self, refused: Refused) -> None:
        """Answer what could not be parsed, unless its answer has begun, and close."""
        broken, self._current = self._current, None
        if broken is not None:
            broken.disconnect()
            if broken.started:
                self._close(linger=True)
                return
        self._end_with(refused.status, refused.reason)

    def _end_with(self, status: int, text: str, more: bytes = b"") -> None:
        """Answer what is no request that anybody could serve, and close."""
        if self._settings.access_log:
            log_refusal(self.client, status, text)
        headers = more + self.default_headers(date=True, server=True)
        head = self._parser is not None and self._parser.is_head
        self.write(plain_answer(status, text, headers, body=not head))
        self._close(linger=True)

    def _close(self, *, linger: bool) -> None:
        """Close when all that was written has been taken.

        :param linger: let the client finish what it is sending; closing with bytes unread makes the system
            reset the connection, and the client lose the answer
        """
        transport = self._transport
        if self._phase is not _OPEN:
            return
        if not linger or transport.is_closing() or not transport.can_write_eof():
            self.close()
            return
        self._shared.outbox.flush()
        self._parser = None
        self._phase = _LINGERING
        self._unwanted = 0
        transport.write_eof()
        self._resume()
        self._watch()

    def _linger_on(self, size: int) -> None:
        self._unwanted += size
        if self._unwanted > _UNWANTED:
            self._transport.abort()

    # ------------------------------------------------------------ whether the client takes what is sent

    def _watch(self) -> None:
        """Look from time to time whether the client takes what is sent, and cut it if it does not."""
        if self._lost:
            return
        self._watched = True
        self._delivery.begin(self.loop.time(), untaken(self._transport))
        self._look_again()

    def _look_again(self) -> None:
        self.deadline = self.loop.time() + min(self._settings.write_timeout / _LOOKS, _LOOK_SECONDS)

    def _look(self) -> None:
        left = untaken(self._transport)
        if self._phase is _LINGERING and not left:
            self._phase = _PARTING
            self._watched = False
            self.deadline = self.loop.time() + _LINGER
        elif self._delivery.goes_on(self.loop.time(), left):
            self._look_again()
        else:
            self.reset()  # what the system holds for the client goes, too

    def _pause(self) -> None:
        if self._reading and not self._transport.is_closing():
            self._reading = False
            self._transport.pause_reading()

    def _resume(self) -> None:
        if not self._reading and not self._behind and not self._transport.is_closing():
            self._reading = True
            self._transport.resume_reading()
