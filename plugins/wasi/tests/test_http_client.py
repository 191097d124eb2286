"""``wasi:http/outgoing-handler`` against a real server on loopback."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import anyio
import pytest
from host_plugin_wasi.http.allowlist import AllowedHosts
from host_plugin_wasi.http.client import FutureIncomingResponse, OutgoingHandler
from host_plugin_wasi.http.fields import Fields
from host_plugin_wasi.http.incoming import BodyStream, IncomingBody
from host_plugin_wasi.http.messages import IncomingResponse, OutgoingRequest, RequestOptions
from host_plugin_wasi.http.outgoing import OutgoingBody
from wasmplex.errors import ConfigError
from wasmplex.plugin import Err, Ok, Variant

pytestmark = pytest.mark.anyio

Server = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Any]


@asynccontextmanager
async def listening(serve: Server) -> AsyncIterator[int]:
    """Run `serve` for each connection; the value is the port. What it is in the midst of is cancelled."""
    connections: set[asyncio.Task[Any]] = set()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        connections.add(task)
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
                await serve(reader, writer)
        finally:
            writer.close()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in connections:
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)


@asynccontextmanager
async def client(*allowed: str) -> AsyncIterator[OutgoingHandler]:
    async with OutgoingHandler(AllowedHosts(allowed)).open() as handler:
        yield handler


def request(port: int, path: str = "/", *headers: tuple[str, bytes], method: str = "get") -> OutgoingRequest:
    made = OutgoingRequest(Fields(headers))
    made.set_method(Variant(method))
    made.set_scheme(Variant("HTTP"))
    made.set_authority(f"127.0.0.1:{port}")
    made.set_path_with_query(path)
    return made


async def response(future: FutureIncomingResponse) -> Any:
    """Return the response, or the error-code."""
    await future.subscribe().block()
    result = future.get()
    assert isinstance(result, Ok)
    assert future.get() == Err(), "the answer is given once"
    inner: Any = result.value
    return inner.value


async def once(stream: BodyStream, length: int = 65536) -> bytes:
    piece = stream.blocking_read(length)
    return piece if isinstance(piece, bytes) else await piece


async def read(body: IncomingBody) -> bytes:
    stream, got = body.stream(), b""
    with contextlib.suppress(Err):
        while True:
            got += await once(stream)
    return got


async def write(body: OutgoingBody, *pieces: bytes) -> None:
    stream = body.write_stream()
    for piece in pieces:
        pending = stream.blocking_write_and_flush(piece)
        if pending is not None:
            await pending


def answering(answer: bytes, seen: list[bytes] | None = None) -> Server:
    """Read a request's head, send `answer`."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            if seen is not None:
                seen.append(head)
            writer.write(answer)
            await writer.drain()

    return serve


HELLO = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\nX-A: 1\r\nx-a: 2\r\nconnection: keep-alive\r\n\r\nhello"


async def test_a_request_leaves_as_it_was_made_and_the_response_arrives_whole() -> None:
    seen: list[bytes] = []
    async with listening(answering(HELLO, seen)) as port, client("127.0.0.1") as handler:
        headers = (("X-Mine", b"a"), ("x-mine", b"b"))
        got = await response(handler.handle(request(port, "/a%20b?x=%2F&y", *headers), None))
        assert isinstance(got, IncomingResponse)
        assert got.status() == 200
        assert got.headers().entries() == [("content-length", b"5"), ("X-A", b"1"), ("x-a", b"2")]
        assert await read(got.consume()) == b"hello"
    lines = seen[0].decode().split("\r\n")
    assert lines[0] == "GET /a%20b?x=%2F&y HTTP/1.1"
    assert sorted(lines[1:-2], key=str.lower) == [f"Host: 127.0.0.1:{port}", "x-mine: a", "x-mine: b"]


async def test_connections_are_reused_and_closed_with_the_workload() -> None:
    connections = 0
    closed = anyio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        try:
            await answering(HELLO)(reader, writer)
        finally:
            closed.set()

    async with listening(serve) as port:
        async with client("127.0.0.1") as handler:
            for _ in range(3):
                got = await response(handler.handle(request(port), None))
                assert await read(got.consume()) == b"hello"
            assert connections == 1
        with anyio.fail_after(5):
            await closed.wait()


async def test_what_is_not_allowed_is_denied() -> None:
    seen: list[bytes] = []
    async with (
        listening(answering(HELLO, seen)) as port,
        client("example.com", f"127.0.0.1:{port + 1}") as handler,
    ):
        with pytest.raises(Err) as error:
            handler.handle(request(port), None)
    assert error.value.value == Variant("HTTP-request-denied")
    assert not seen


@pytest.mark.parametrize(
    ("entry", "host", "port", "allowed"),
    [
        ("example.com", "example.com", 443, True),
        ("example.com", "EXAMPLE.com.", 8443, True),
        ("example.com", "sub.example.com", 443, False),
        ("example.com", "example.com.evil", 443, False),
        ("example.com:8443", "example.com", 8443, True),
        ("example.com:8443", "example.com", 443, False),
        ("*.example.com", "a.b.example.com", 80, True),
        ("*.example.com", "example.com", 80, False),
        ("*.example.com", "aexample.com", 80, False),
        ("*.example.com:80", "a.example.com", 81, False),
        ("*", "anything", 1, True),
        ("*:443", "anything", 443, True),
        ("*:443", "anything", 80, False),
        ("[::1]:80", "[::1]", 80, True),
        ("[::1]", "[::2]", 80, False),
        ("10.0.0.1", "10.0.0.1", 80, True),
        ("*.0.0.1", "10.0.0.1", 80, False),
    ],
)
def test_the_allow_list(entry: str, host: str, port: int, allowed: bool) -> None:
    assert ((host, port) in AllowedHosts([entry])) == allowed


def test_nothing_is_allowed_by_default() -> None:
    assert ("localhost", 80) not in AllowedHosts([])


def test_all_wrong_entries_are_reported() -> None:
    with pytest.raises(ConfigError) as error:
        AllowedHosts(["https://a", "ok.example", "a/b", "u@h", "a*b", "", "*.*.a"], "shop")
    assert len(error.value.diagnostics) == 6
    assert "'shop'" in str(error.value)


async def test_a_redirect_is_the_guests_to_follow() -> None:
    answer = b"HTTP/1.1 302 Found\r\nlocation: http://elsewhere.example/\r\ncontent-length: 0\r\n\r\n"
    async with listening(answering(answer)) as port, client("127.0.0.1") as handler:
        got = await response(handler.handle(request(port), None))
        assert got.status() == 302
        assert got.headers().get("Location") == [b"http://elsewhere.example/"]


async def test_a_compressed_body_is_left_as_it_is() -> None:
    answer = b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 3\r\n\r\nraw"
    async with listening(answering(answer)) as port, client("127.0.0.1") as handler:
        got = await response(handler.handle(request(port), None))
        assert await read(got.consume()) == b"raw"


async def test_a_small_body_is_sent_with_its_length() -> None:
    seen: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await reader.readuntil(b"\r\n\r\n"))
        seen.append(await reader.readexactly(10))
        writer.write(HELLO)
        await writer.drain()

    async with listening(serve) as port, client("127.0.0.1") as handler:
        made = request(port, method="post")
        body = made.body()
        future = handler.handle(made, None)
        await write(body, b"12345", b"67890")
        OutgoingBody.finish(body, None)
        assert (await response(future)).status() == 200
    assert b"content-length: 10\r\n" in seen[0].lower()
    assert seen[1] == b"1234567890"


async def test_a_body_streams_and_waits_for_a_slow_server() -> None:
    size, piece = 24 * 2**20, bytes(65536)
    go, received = anyio.Event(), 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal received
        await reader.readuntil(b"\r\n\r\n")
        await go.wait()
        while received < size:
            received += len(await reader.readexactly(min(65536, size - received)))
        writer.write(HELLO)
        await writer.drain()

    async with listening(serve) as port, client("127.0.0.1") as handler:
        made = request(port, "/", ("content-length", str(size).encode()), method="put")
        body = made.body()
        future = handler.handle(made, None)
        stream, written = body.write_stream(), 0
        async with anyio.create_task_group() as tasks:

            async def send() -> None:
                nonlocal written
                while written < size:
                    pending = stream.blocking_write_and_flush(piece)
                    if pending is not None:
                        await pending
                    written += len(piece)
                OutgoingBody.finish(body, None)

            tasks.start_soon(send)
            before = -1
            while written != before or not written:
                before = written
                await anyio.sleep(0.2)
            assert written < size, "nobody reads, so only buffers can have been filled"
            go.set()
        assert (await response(future)).status() == 200
    assert received == size


async def test_the_response_may_come_before_the_end_of_the_request() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        while (size := int(await reader.readline(), 16)) > 0:
            data = await reader.readexactly(size + 2)
            writer.write(b"%x\r\n" % size + data)
        writer.write(b"0\r\n\r\n")
        await writer.drain()

    async with listening(serve) as port, client("127.0.0.1") as handler:
        made = request(port, method="post")
        body, future = made.body(), None
        stream = body.write_stream()
        future = handler.handle(made, None)
        got = await response(future)
        incoming = got.consume()
        echoed = incoming.stream()
        for piece in (b"one", b"two"):
            stream.write(piece)
            assert await once(echoed) == piece
        OutgoingBody.finish(body, None)
        with pytest.raises(Err):
            await once(echoed)


async def test_a_body_that_is_given_up_fails_the_request() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(-1)

    async with listening(serve) as port, client("127.0.0.1") as handler:
        made = request(port, method="post")
        body = made.body()
        future = handler.handle(made, None)
        await write(body, b"part")
        await anyio.sleep(0.02)
        body.drop()
        code = await response(future)
        assert code.tag == "internal-error"
        assert "gave up" in code.value


async def test_a_body_whose_server_left_fails_its_writer() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.transport.abort()

    async with listening(serve) as port, client("127.0.0.1") as handler:
        made = request(port, method="post")
        body = made.body()
        future = handler.handle(made, None)
        with anyio.fail_after(10), pytest.raises(Err) as error:
            await write(body, *[bytes(65536)] * 1000)
        assert error.value.value.tag == "last-operation-failed"
        assert (await response(future)).tag in ("connection-terminated", "HTTP-protocol-error")


async def test_request_trailers_cannot_be_sent_and_that_is_said() -> None:
    async with listening(answering(HELLO)) as port, client("127.0.0.1") as handler:
        made = request(port, method="post")
        body = made.body()
        future = handler.handle(made, None)
        with pytest.raises(Err) as error:
            OutgoingBody.finish(body, Fields([("x-t", b"1")]))
        assert error.value.value.tag == "internal-error"
        assert (await response(future)).tag == "internal-error"
        made = request(port, method="post")
        body = made.body()
        future = handler.handle(made, None)
        OutgoingBody.finish(body, Fields())
        assert (await response(future)).status() == 200


# ---------------------------------------------------------------- what goes wrong


@pytest.mark.parametrize(
    ("answer", "tag"),
    [
        (b"", "connection-terminated"),
        (b"nonsense\r\n\r\n", "HTTP-protocol-error"),
        (b"HTTP/1.1 200 OK\r\ncontent-le", "connection-terminated"),
    ],
)
async def test_servers_that_do_not_answer(answer: bytes, tag: str) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()

    async with listening(serve) as port, client("127.0.0.1") as handler:
        assert (await response(handler.handle(request(port), None))).tag == tag


@pytest.mark.parametrize("framing", [b"content-length: 10", b"transfer-encoding: chunked"])
async def test_a_response_that_breaks_off(framing: bytes) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n" + framing + b"\r\n\r\n5\r\nh")
        await writer.drain()

    async with listening(serve) as port, client("127.0.0.1") as handler:
        body = (await response(handler.handle(request(port), None))).consume()
        stream = body.stream()
        with pytest.raises(Err) as error:  # noqa: PT012  which of the reads fails is the client library's choice
            for _ in range(3):
                await once(stream)
        assert error.value.value.value.code_of("http") == Variant("HTTP-response-incomplete")
        assert IncomingBody.finish(body).get() == Ok(Err(Variant("HTTP-response-incomplete")))


async def test_refused_and_unknown() -> None:
    async with listening(answering(HELLO)) as port:
        pass
    async with client("*") as handler:
        assert await response(handler.handle(request(port), None)) == Variant("connection-refused")
        made = request(port)
        made.set_authority("no-such-host.invalid")
        assert (await response(handler.handle(made, None))).tag == "DNS-error"


async def test_tls_with_a_server_that_has_none() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(10)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await writer.drain()

    async with listening(serve) as port, client("*") as handler:
        made = request(port)
        made.set_scheme(None)
        assert await response(handler.handle(made, None)) == Variant("TLS-protocol-error")


@pytest.mark.parametrize(
    ("scheme", "authority", "tag"),
    [(Variant("other", "ftp"), "a", "HTTP-protocol-error"), (None, None, "HTTP-request-URI-invalid")],
)
async def test_requests_that_cannot_be_sent(scheme: Any, authority: Any, tag: str) -> None:
    made = OutgoingRequest(Fields())
    made.set_scheme(scheme)
    made.set_authority(authority)
    async with client("*") as handler:
        with pytest.raises(Err) as error:
            handler.handle(made, None)
    assert error.value.value.tag == tag


async def test_timeouts() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        if b"/slow" in head:
            await asyncio.sleep(60)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello")
        await writer.drain()
        await asyncio.sleep(60)

    async with listening(serve) as port, client("*") as handler:
        options = RequestOptions()
        options.set_first_byte_timeout(50_000_000)
        code = await response(handler.handle(request(port, "/slow"), options))
        assert code == Variant("connection-read-timeout")
        options = RequestOptions()
        options.set_between_bytes_timeout(50_000_000)
        body = (await response(handler.handle(request(port), options))).consume()
        stream = body.stream()
        assert await once(stream) == b"hello"
        with pytest.raises(Err) as error:
            await once(stream)
        assert error.value.value.value.code_of("http") == Variant("connection-read-timeout")


async def test_dropping_ends_what_is_under_way() -> None:
    gone = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal gone
        head = await reader.readuntil(b"\r\n\r\n")
        if b"/begun" in head:
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello")
            await writer.drain()
        await reader.read(-1)
        gone += 1

    async with listening(serve) as port, client("*") as handler:
        waiting = handler.handle(request(port), None)
        await anyio.sleep(0.05)
        waiting.drop()
        nobody = handler.handle(request(port, "/begun"), None)
        await nobody.subscribe().block()
        nobody.drop()
        unread = await response(handler.handle(request(port, "/begun"), None))
        unread.drop()
        body = (await response(handler.handle(request(port, "/begun"), None))).consume()
        body.stream()
        body.drop()
        with anyio.fail_after(5):
            while gone < 4:  # noqa: ASYNC110
                await anyio.sleep(0.01)


async def test_closing_the_workload_cancels_what_is_under_way() -> None:
    async with AsyncExitStack() as stack:
        port = await stack.enter_async_context(listening(lambda r, w: r.read(-1)))
        async with client("*") as handler:
            future = handler.handle(request(port), None)
            await anyio.sleep(0.05)
        await future.subscribe().block()
        assert future.get().value.value.tag == "internal-error"
        with pytest.raises(Err):
            handler.handle(request(port), None)


def test_the_client_library_is_imported_by_the_first_request_only() -> None:
    code = (
        "import sys, host_plugin_wasi.http, host_plugin_wasi.http.client\n"
        "assert 'aiohttp' not in sys.modules, 'imported too early'"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
