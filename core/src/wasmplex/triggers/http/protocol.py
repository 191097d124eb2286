"""HTTP/1.1 for uvicorn: one connection, handed on as ASGI, request by request.

uvicorn's own protocol has no trailers, no bound on what a client may send before its request is
complete, and no way to say at once that a client went away; this one has. uvicorn keeps the rest: the
listening sockets, the life cycle, and the list of connections and tasks.

A connection has one deadline at a time, and one sweep over all connections checks them, so that no
request costs a timer.
"""

from __future__ import annotations

import asyncio
import math
import socket
import struct
from collections import deque
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import unquote

from wasmplex.triggers.http.asgi import CONNECTION, TRAILERS, Application, Scope
from wasmplex.triggers.http.cycle import Cycle, plain_answer
from wasmplex.triggers.http.outbox import Outbox
from wasmplex.triggers.http.parsing import Refused, RequestParser
from wasmplex.triggers.http.settings import HttpSettings

if TYPE_CHECKING:
    from uvicorn import Config
    from uvicorn.server import ServerState

__all__ = ["HttpProtocol"]

_HIGH_WATER = 64 * 1024
"""Bytes that are held in each direction before the other side has to wait."""
_PIPELINED = 64
"""Requests that may wait for an answer to the one before them."""
_UNWANTED = 256 * 1024
"""Bytes of a body nobody reads that are taken for the sake of keeping the connection."""
_LINGER = 2.0
"""Seconds that a client gets to read an answer that came before the end of its request."""
_ASGI = {"version": "3.0", "spec_version": "2.4"}
_RESET = struct.pack("ii", 1, 0)
_LINGER_BYTES = 16 * 2**20


class HttpProtocol(asyncio.Protocol):
    """One connection. uvicorn makes one for each; `settings` and `outbox` are set on a subclass.

    :ivar deadline: loop time at which `expire` is to be called
    :ivar full: set while the client takes less than is written; done when it has caught up
    """

    settings: ClassVar[HttpSettings] = HttpSettings()
    outbox: ClassVar[Outbox] = Outbox()
    _defaults: ClassVar[tuple[object, bytes]] = (None, b"")

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        self._app: Application = config.loaded_app
        self._server_state = server_state
        self._app_state = app_state
        self.loop = _loop or asyncio.get_running_loop()
        self.deadline = math.inf
        self.full: asyncio.Future[None] | None = None
        self.transport: asyncio.Transport = None  # type: ignore[assignment]  # until connection_made
        self._client: tuple[str, int] | None = None
        self._server: tuple[str, int] | None = None
        self._scheme = "http"
        self._parser: RequestParser | None = RequestParser(self, self.settings.max_head)
        self._reading = True
        self._idle = True  # no byte of the next request is here
        self._receiving: Cycle | None = None  # whose body arrives
        self._current: Cycle | None = None  # who is answered
        self._queue: deque[Cycle] = deque()  # who waits for that
        self._worker: asyncio.Future[Cycle | None] | None = None  # of a task that waits for a request
        self._lost = False
        self._final = b""  # the answer to what could not be parsed
        self._unwanted = 0
        self._lingering = False

    # ------------------------------------------------------------ the transport's callbacks

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection, or refuse it if there are too many."""
        self.transport = transport  # type: ignore[assignment]  # the loop only knows the base class
        info = transport.get_extra_info
        self._client, self._server = _address(info("peername")), _address(info("sockname"))
        self._scheme = "https" if info("sslcontext") else "http"
        self.transport.set_write_buffer_limits(high=_HIGH_WATER)
        connections: set[Any] = self._server_state.connections
        full = len(connections) >= self.settings.max_connections
        connections.add(self)
        self.deadline = self.loop.time() + self.settings.head_timeout
        if full:
            self._final = plain_answer(503, "too many connections", b"retry-after: 1\r\n")
            self._close(linger=True)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell every request that is not answered yet."""
        connections: set[Any] = self._server_state.connections
        connections.discard(self)
        self._parser = None
        self._lost = True
        self.resume_writing()
        self.deadline = math.inf
        if self._worker is not None and not self._worker.done():
            self._worker.set_result(None)
        if self._current is not None:
            self._current.disconnect()
        for cycle in self._queue:
            cycle.disconnect()

    def eof_received(self) -> None:
        """Take a half-closed connection for a closed one, which nearly all are: they look the same."""
        self.outbox.flush()

    def pause_writing(self) -> None:
        """Have writers wait, and the client not take for ever."""
        if self.full is None:
            self.full = self.loop.create_future()
            self.deadline = self.loop.time() + self.settings.write_timeout

    def resume_writing(self) -> None:
        """Let writers go on."""
        if self.full is not None:
            if not self.full.done():
                self.full.set_result(None)
            self.full = None
            self.deadline = math.inf
            if self._current is None:
                self.deadline = self.loop.time() + self.settings.keep_alive

    def data_received(self, data: bytes) -> None:
        """Parse what came, or throw it away after the last answer."""
        parser = self._parser
        if parser is None:
            self._linger_on(len(data))
            return
        try:
            parser.feed(data)
        except Refused as refused:
            self._refuse(refused)
            return
        if parser.in_head and self._current is None and self._idle:
            self._await_head()

    # ------------------------------------------------------------ the parser's finds

    def on_head(
        self,
        method: str,
        raw_path: bytes,
        query: bytes,
        version: str,
        headers: list[tuple[bytes, bytes]],
        *,
        keep_alive: bool,
        expects_continue: bool,
    ) -> None:
        """Start to serve a request, or put it in line behind those before it."""
        if self._parser is None:
            return  # closed by what came before it in the same bytes
        self._idle = False
        path = raw_path.decode("ascii", "replace")
        scope: Scope = {
            "type": "http",
            "asgi": _ASGI,
            "http_version": version,
            "method": method,
            "scheme": self._scheme,
            "path": unquote(path) if "%" in path else path,
            "raw_path": raw_path,
            "query_string": query,
            "root_path": "",
            "headers": headers,
            "client": self._client,
            "server": self._server,
            "state": self._app_state.copy(),
        }
        cycle = Cycle(self, scope, keep_alive=keep_alive, expects_continue=expects_continue)
        scope["extensions"] = {TRAILERS: {}, CONNECTION: cycle}
        self._receiving = cycle
        if self._current is None:
            self._start(cycle)
        elif len(self._queue) < _PIPELINED:
            self._queue.append(cycle)
            self._pause()
        else:
            self._receiving = None
            raise Refused(429, "too many requests before an answer to the first")

    def on_piece(self, body: bytes) -> None:
        """Hand on a piece of the body, or throw it away if its request has been answered."""
        cycle = self._receiving
        if cycle is None:
            return
        if not cycle.complete:
            if cycle.feed(body) > _HIGH_WATER:
                self._pause()
            return
        self._unwanted += len(body)
        if self._unwanted > _UNWANTED:
            self._close(linger=True)

    def on_end(self, trailers: list[tuple[bytes, bytes]]) -> None:
        """Note the end of a request."""
        cycle, self._receiving = self._receiving, None
        if cycle is not None:
            cycle.end(trailers)
            if cycle.complete and cycle is self._current:
                self._next()

    # ------------------------------------------------------------ the life of a request

    def _start(self, cycle: Cycle) -> None:
        self._current = cycle
        self._unwanted = 0
        self.deadline = math.inf
        if self._worker is not None:
            worker, self._worker = self._worker, None
            worker.set_result(cycle)
            return
        task = self.loop.create_task(self._work(cycle))
        tasks = self._server_state.tasks
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    async def _work(self, cycle: Cycle | None) -> None:
        """Run one request after the other: a task for each connection costs less than one for each request.

        An application that goes on after its answer holds nobody up: the next request gets a task of its own,
        and one of the two ends.
        """
        while cycle is not None:
            await cycle.run(self._app)
            if self._worker is not None or self._lost:
                return
            self._worker = waiter = self.loop.create_future()
            try:
                cycle = await waiter
            finally:
                if self._worker is waiter:
                    self._worker = None

    def answered(self, cycle: Cycle) -> None:
        """Go on after the end of a response; called by its cycle."""
        self._server_state.total_requests += 1
        if cycle is not self._current or self.transport.is_closing():
            return
        if not cycle.keep_alive:
            self._close(linger=not cycle.ended)
        elif cycle.ended:
            self._next()
        else:
            self._resume()
            self.deadline = self.loop.time() + self.settings.head_timeout

    def _next(self) -> None:
        self._current = None
        if self._queue:
            self._start(self._queue.popleft())
        elif self._final:
            self._close(linger=True)
        else:
            self._resume()
            self._await_head()

    def _await_head(self) -> None:
        settings = self.settings
        self._idle = self._parser is None or not self._parser.in_head
        self.deadline = self.loop.time() + (settings.keep_alive if self._idle else settings.head_timeout)

    def want_body(self) -> None:
        """Read on, the application waits for more of the request; called by its cycle."""
        self._resume()

    async def writable(self) -> None:
        """Wait until the client has taken most of what was written."""
        while self.full is not None:
            await asyncio.shield(self.full)

    def default_headers(self, *, date: bool, server: bool) -> bytes:
        """Return the header lines that every response has, unless it brings its own."""
        headers = self._server_state.default_headers  # uvicorn makes a new list every second
        known, lines = self._defaults
        if known is not headers:
            lines = b"".join([b"%s: %s\r\n" % header for header in headers])
            type(self)._defaults = (headers, lines)  # noqa: SLF001  its own class, one for each server
        if date and server:
            return lines
        skip = {name for name, wanted in ((b"date", date), (b"server", server)) if not wanted}
        return b"".join([b"%s: %s\r\n" % header for header in headers if header[0] not in skip])

    def write(self, data: bytes) -> None:
        """Write what more will follow on, now; called by its cycle."""
        self.outbox.flush()
        # Not writelines: in CPython 3.12.0 to 3.13.1 it never asks a writer to wait (CVE-2024-12254).
        self.transport.write(data)

    def write_last(self, data: bytes) -> None:
        """Write the end of an answer, now or a little later; called by its cycle."""
        self.outbox.put(self.loop, self.transport, data)

    # ------------------------------------------------------------ the end of the connection

    def close(self) -> None:
        """Close the connection when all that was written has left."""
        self.outbox.flush()
        self.transport.close()

    def expire(self) -> None:
        """End what has outlived its deadline; called by the sweep."""
        self.deadline = math.inf
        if self.full is not None or self._lingering:
            self.transport.abort()
        elif self._current is None and self._parser is not None and self._parser.in_head:
            self._refuse(Refused(408, "the head of the request took too long"))
        else:
            self._close(linger=False)

    def shutdown(self) -> None:
        """Close when what is under way has been answered; called by uvicorn when it stops."""
        last = self._queue[-1] if self._queue else self._current
        if last is None:
            self.close()
        else:
            last.keep_alive = False

    def reset(self) -> None:
        """Cut the connection in a way that the client takes for a failure."""
        self.outbox.flush()
        sock = self.transport.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.transport.abort()

    def _refuse(self, refused: Refused) -> None:
        """Answer what could not be parsed, after the answers that are due before, and close."""
        self._parser = None
        self._final = plain_answer(refused.status, refused.reason)
        broken, self._receiving = self._receiving, None
        if broken is not None:
            broken.disconnect()
            if broken is self._current:
                self._current = None
                if broken.started:
                    self._final = b""
            else:
                self._queue.remove(broken)
        if self._current is None:
            self._close(linger=True)

    def _close(self, *, linger: bool) -> None:
        """Write the final answer, if there is one, and close.

        :param linger: let the client finish what it is sending; closing with bytes unread makes the system
            reset the connection, and the client lose the answer
        """
        transport = self.transport
        self.outbox.flush()
        self._parser = self._receiving = None
        if self._final:
            transport.write(self._final)
            self._final = b""
        if not linger or self._lingering or transport.is_closing() or not transport.can_write_eof():
            transport.close()
            return
        self._lingering = True
        self._unwanted = 0
        self.deadline = self.loop.time() + _LINGER
        transport.write_eof()
        self._resume()

    def _linger_on(self, size: int) -> None:
        self._unwanted += size
        if self._unwanted > _LINGER_BYTES:
            self.transport.abort()

    def _pause(self) -> None:
        if self._reading and not self.transport.is_closing():
            self._reading = False
            self.transport.pause_reading()

    def _resume(self) -> None:
        if not self._reading and not self.transport.is_closing():
            self._reading = True
            self.transport.resume_reading()


def _address(name: Any) -> tuple[str, int] | None:
    return (str(name[0]), int(name[1])) if isinstance(name, tuple) and len(name) >= 2 else None
