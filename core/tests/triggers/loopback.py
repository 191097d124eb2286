"""A workload whose guest is a Python function, served on loopback, and a client that speaks raw bytes."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from functools import partial
from typing import Any

import anyio
import uvicorn
from wasmplex.capabilities.http import HttpExchange
from wasmplex.component.shape import Shape
from wasmplex.errors import CallCancelled, DeadlineExceeded, LimitExceeded
from wasmplex.plugins.triggers import RunningTrigger, TriggerBinding
from wasmplex.scopes import TaskScope
from wasmplex.triggers.http import HttpSettings, HttpTrigger, RouteSettings, http_application

Handler = Callable[[Any, HttpExchange], Awaitable[None]]


class Workload:
    """As many instances as asked for, each of them nothing; the handler does the work."""

    shape = Shape((), ())

    def __init__(self, name: str, *, timeout: float = 5.0, max_body: int = 1 << 20, size: int = 64) -> None:
        self.name = name
        self.timeout = timeout
        self.max_body = max_body
        self.free = size
        self.cancelled = 0
        self.calls = 0

    def instance(self, within: TaskScope | None = None) -> Borrowing:
        return Borrowing(self)


class Borrowing:
    def __init__(self, workload: Workload) -> None:
        self.workload = workload
        self.scope = anyio.CancelScope()
        self.given_up = False

    async def __aenter__(self) -> Any:
        if not self.workload.free:
            raise LimitExceeded(f"workload {self.workload.name!r} is full")
        self.workload.free -= 1
        self.workload.calls += 1
        self.scope.deadline = anyio.current_time() + self.workload.timeout
        self.scope.__enter__()
        return self.workload

    async def __aexit__(self, *raised: object) -> bool:
        self.workload.free += 1
        scope: Any = self.scope
        if not scope.__exit__(*raised):
            return False
        if self.given_up:
            self.workload.cancelled += 1
            raise CallCancelled("given up")
        raise DeadlineExceeded(f"still running after {self.workload.timeout:g} s")

    def cancel(self) -> None:
        self.given_up = True
        self.scope.cancel()


def bind(
    handler: Handler, path: str = "/", host: str | None = None, *, name: str = "w", **options: Any
) -> TriggerBinding:
    workload = Workload(name, **options)
    return TriggerBinding(workload, RouteSettings(path=path, host=host), handler, where=f"host.toml:{name}")  # type: ignore[arg-type]


def http(
    listen: str, *bindings: TriggerBinding, sockets: Sequence[socket.socket] = (), **settings: Any
) -> RunningTrigger:
    """Return the trigger of one host, to be served."""
    return HttpTrigger().start(bindings, HttpSettings.model_validate({"listen": listen, **settings}), sockets)


@contextlib.asynccontextmanager
async def serving(*bindings: TriggerBinding, **settings: Any) -> AsyncIterator[int]:
    """Serve with the trigger; the value is the port."""
    trigger = http("127.0.0.1:0", *bindings, **settings)
    async with anyio.create_task_group() as tasks:
        report = await tasks.start(partial(trigger.serve))
        try:
            yield int(report["listen"].rpartition(":")[2])
        finally:
            tasks.cancel_scope.cancel()


@contextlib.asynccontextmanager
async def serving_elsewhere(protocol: str, *bindings: TriggerBinding) -> AsyncIterator[int]:
    """Serve the application with uvicorn as it comes; the value is the port."""
    sock = socket.create_server(("127.0.0.1", 0))

    class Server(uvicorn.Server):
        @contextlib.contextmanager
        def capture_signals(self) -> Iterator[None]:
            yield

    config = uvicorn.Config(
        http_application(bindings), http=protocol, ws="none", lifespan="on", log_config=None
    )
    server = Server(config)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(server.serve, [sock])
        while not server.started:  # noqa: ASYNC110  uvicorn has no event for it
            await anyio.sleep(0.01)
        try:
            yield sock.getsockname()[1]
        finally:
            server.should_exit = True


class Response:
    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        head, _, self.body = raw.partition(b"\r\n\r\n")
        line, *fields = head.decode("latin-1").split("\r\n")
        self.status = int(line.split(" ")[1]) if line else 0
        self.headers = {n.lower(): v for n, _, v in (field.partition(": ") for field in fields)}


class Client:
    """One connection; what is sent is what the test says."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def head(self) -> Response:
        """Read up to the end of the headers."""
        return Response(await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), 10))

    async def response(self) -> Response:
        """Read one response with a content-length."""
        head = await self.head()
        head.body = await asyncio.wait_for(
            self.reader.readexactly(int(head.headers.get("content-length", 0))), 10
        )
        return head

    async def rest(self) -> bytes:
        """Read until the server closes."""
        return await asyncio.wait_for(self.reader.read(-1), 10)


@contextlib.asynccontextmanager
async def connected(port: int) -> AsyncIterator[Client]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 20)
    try:
        yield Client(reader, writer)
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def exchange(port: int, raw: bytes) -> Response:
    """Send one request whose connection ends with it; return everything that came back."""
    async with connected(port) as client:
        await client.send(raw)
        return Response(await client.rest())


def get(path: str = "/", *fields: str, method: str = "GET", close: bool = True) -> bytes:
    lines = [
        f"{method} {path} HTTP/1.1",
        "host: localhost",
        *fields,
        *(["connection: close"] if close else []),
    ]
    return "\r\n".join([*lines, "", ""]).encode()


def post(body: bytes, path: str = "/", *fields: str, close: bool = True) -> bytes:
    return get(path, f"content-length: {len(body)}", *fields, method="POST", close=close) + body


def chunked(body: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(body), body)


def unchunked(raw: bytes) -> tuple[bytes, bytes]:
    """Return body and what follows the last chunk; raises if there is no last chunk."""
    body = b""
    while True:
        size, _, raw = raw.partition(b"\r\n")
        if not int(size, 16):
            return body, raw
        body, raw = body + raw[: int(size, 16)], raw[int(size, 16) + 2 :]
