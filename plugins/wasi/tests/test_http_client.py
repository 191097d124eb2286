"""``wasi:http/outgoing-handler`` against a real server on loopback."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from contextlib import AsyncExitStack
from typing import Any

import anyio
import pytest
from host_plugin_wasi.http.fields import Fields
from host_plugin_wasi.http.incoming import IncomingBody
from host_plugin_wasi.http.messages import IncomingResponse, OutgoingRequest, RequestOptions
from host_plugin_wasi.http.outgoing import OutgoingBody
from origins import answering, listening
from outgoing import client, once, read, request, response, write
from wasmplex.plugin import Err, Ok, Variant

pytestmark = pytest.mark.anyio


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
    assert lines[1:-2] == [f"Host: 127.0.0.1:{port}", "X-Mine: a", "x-mine: b"]


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
        "early = {'aiohappyeyeballs', 'httptools', 'host_plugin_wasi.http.transport'} & {*sys.modules}\n"
        "assert not early, f'imported too early: {early}'"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
