"""A request and its response at the same time: who waits for whom, and for how long."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import anyio
import pytest
from host_plugin_wasi.http.errors import HttpError
from host_plugin_wasi.http.incoming import IncomingBody
from host_plugin_wasi.http.messages import RequestOptions
from host_plugin_wasi.http.outbound import outbound
from host_plugin_wasi.http.outgoing import OutgoingBody
from host_plugin_wasi.http.transport import Transport
from host_plugin_wasi.http.upload import Upload
from host_plugin_wasi.http_settings import OutgoingSettings
from host_plugin_wasi.packages import PROVIDERS
from origins import OK, answering, listening, recording
from outgoing import client, fetch, once, read, request, response, write
from wasmplex.component.shape import InstanceType
from wasmplex.plugin import Err, Grants, HostFunction, ImportRequest, Limits, Ok, Variant, WorkloadContext

pytestmark = pytest.mark.anyio


async def until(condition: Callable[[], object]) -> None:
    with anyio.fail_after(10):
        while not condition():  # noqa: ASYNC110  there is no event for what the other side sees
            await anyio.sleep(0.002)


# ---------------------------------------------------------------- expect: 100-continue

EXPECT = ("Expect", b"100-Continue")


async def posted(
    port: int, handler: Any, *headers: tuple[str, bytes], pieces: tuple[bytes, ...] = (b"body",)
) -> Any:
    """Send a request whose body is there, and return what came of it."""
    made = request(port, "/", *headers, method="post")
    body = made.body()
    await write(body, *pieces)
    OutgoingBody.finish(body, None)
    return await fetch(handler, made)


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_body_waits_for_the_servers_word_and_then_leaves_without_it(streamed: bool) -> None:
    """RFC 9110 section 10.1.1: not for ever. The head has left meanwhile, and nothing of the body."""
    seen: list[bytes] = []
    now = asyncio.get_running_loop().time
    begun, came = now(), 0.0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal came
        seen.append(await reader.readuntil(b"\r\n\r\n"))
        first = await reader.read(1)
        came = now()
        seen.append(first + await reader.readuntil(b"ody" if not streamed else b"0\r\n\r\n"))
        writer.write(OK)

    async with listening(serve) as port, client(expect_timeout=0.1) as handler:
        if not streamed:
            assert await posted(port, handler, EXPECT) == (200, b"ok")
        else:
            made = request(port, "/", EXPECT, method="post")
            body = made.body()
            future = handler.handle(made, None)
            await until(lambda: seen)  # a body that is whole before the head leaves is not sent in chunks
            await write(body, b"body")
            OutgoingBody.finish(body, None)
            assert (await response(future)).status() == 200
    assert round(came - begun, 3) >= 0.1  # uvloop's clock counts milliseconds
    assert b"Expect: 100-Continue\r\n" in seen[0]
    assert b"body" in seen[1]


async def test_a_body_leaves_at_the_servers_word() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n")
            assert await reader.readexactly(4) == b"body"
            writer.write(OK)

    async with listening(serve) as port, client(expect_timeout=3600) as handler:
        with anyio.fail_after(10):
            for _ in range(2):
                assert await posted(port, handler, EXPECT) == (200, b"ok")


async def test_a_body_that_the_server_does_not_want_does_not_leave() -> None:
    """Nor is the connection used again: the server would take the next request for the body."""
    came: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 417 no\r\ncontent-length: 2\r\n\r\nno")
        came.append(await reader.read(-1))

    async with listening(serve) as port, client(expect_timeout=3600) as handler:
        for _ in range(2):
            assert await posted(port, handler, EXPECT) == (417, b"no")
        await until(lambda: len(came) == 2)
    assert came == [b"", b""]


@pytest.mark.parametrize("headers", [(EXPECT,), (EXPECT, ("content-length", b"0"))])
async def test_without_a_body_nothing_waits(headers: tuple[tuple[str, bytes], ...]) -> None:
    async with recording() as origin, client(expect_timeout=3600) as handler:
        with anyio.fail_after(10):
            assert await fetch(handler, request(origin.port, "/", *headers)) == (200, b"ok")
            assert await posted(origin.port, handler, *headers, pieces=()) == (200, b"ok")


async def test_another_expectation_is_the_servers_business() -> None:
    async with recording() as origin, client(expect_timeout=3600) as handler:
        with anyio.fail_after(10):
            assert await posted(origin.port, handler, ("expect", b"a miracle")) == (200, b"ok")


# ---------------------------------------------------------------- both at once


@pytest.mark.parametrize("pieces", [(b"a", b"bc", b"d"), (b"ab",), ()])
async def test_no_more_and_no_less_leaves_than_was_said_whoever_wrote_it(pieces: tuple[bytes, ...]) -> None:
    """The guest's side of a body has made sure of that; here it is the next request that is at stake."""
    async with recording() as origin:
        transport = Transport(OutgoingSettings())
        try:
            made = request(origin.port, "/first", ("content-length", b"3"), method="post")
            body = made.body()
            checked = outbound(made)
            upload = Upload(checked, body)
            sending = asyncio.ensure_future(transport.send(checked, upload, RequestOptions()))
            await until(lambda: origin.connections and origin.connections[0])
            for piece in pieces:
                upload.write(piece)
            upload.finish()
            with pytest.raises(HttpError) as error:
                await sending
            assert error.value.code.tag == "HTTP-request-body-size"
            assert origin.requests == []
        finally:
            await transport.close()


async def test_an_answer_before_the_end_of_the_request_does_not_end_it() -> None:
    """What the guest writes afterwards still arrives, and then the connection is as good as any."""
    bodies: list[bytes] = []
    connections = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        while True:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(OK)
            bodies.append(await reader.readuntil(b"0\r\n\r\n"))

    async with listening(serve) as port, client() as handler:
        for n in range(2):
            made = request(port, method="post")
            body = made.body()
            future = handler.handle(made, None)
            got = await response(future)
            assert await read(got.consume()) == b"ok"
            await write(body, b"late")
            OutgoingBody.finish(body, None)
            await until(lambda n=n: len(bodies) == n + 1)  # type: ignore[misc]
            await asyncio.sleep(0)
    assert bodies == [b"4\r\nlate\r\n0\r\n\r\n"] * 2
    assert connections == 1


async def test_an_answer_to_half_a_request_is_seen_when_the_server_leaves_with_it() -> None:
    answer = b"HTTP/1.1 413 too large\r\nconnection: close\r\ncontent-length: 9\r\n\r\ntoo large"

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await reader.read(100_000)
        writer.write(answer)
        await writer.drain()
        writer.write_eof()
        await reader.read(1)

    async with listening(serve) as port, client() as handler:
        made = request(port, method="post")
        body = made.body()
        future = handler.handle(made, None)
        with anyio.fail_after(10), pytest.raises(Err):
            await write(body, *[bytes(65536)] * 500)
        got = await response(future)
        assert (got.status(), await read(got.consume())) == (413, b"too large")


async def test_a_body_that_nobody_reads_stays_with_the_server() -> None:
    sent = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % (64 << 20))
        for _ in range(1024):
            writer.write(bytes(65536))
            await writer.drain()
            sent += 65536

    async with listening(serve) as port, client() as handler:
        got = await response(handler.handle(request(port), None))
        before = -1
        while sent != before or not sent:
            before = sent
            await anyio.sleep(0.1)
        assert sent < 32 << 20, "only buffers of the system can have been filled"
        stream, received = got.consume().stream(), 0
        with pytest.raises(Err) as error:  # noqa: PT012  the last read is the one that fails
            while True:
                received += len(await once(stream))
        assert (error.value.value.tag, received) == ("closed", 64 << 20)


async def test_a_server_that_takes_nothing_is_left() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        await asyncio.sleep(60)

    async with listening(serve) as port, client(between_bytes_timeout=0.1) as handler:
        made = request(port, method="post")
        body = made.body()
        future = handler.handle(made, None)
        with anyio.fail_after(10), pytest.raises(Err) as error:
            await write(body, *[bytes(65536)] * 1000)
        assert error.value.value.value.code_of("http") == Variant("connection-write-timeout")
        await response(future)


async def test_a_request_that_is_given_up_ends_its_answer() -> None:
    """``outgoing-body``: dropping it unfinished aborts the request."""
    ended = anyio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n")
        await reader.read(-1)
        ended.set()

    async with listening(serve) as port, client() as handler:
        made = request(port, method="post")
        body = made.body()
        future = handler.handle(made, None)
        await write(body, b"part")
        stream = (await response(future)).consume().stream()
        assert await once(stream) == b"a"
        body.drop()
        with pytest.raises(Err) as error:
            await once(stream)
        assert error.value.value.value.code_of("http").tag == "internal-error"
        with anyio.fail_after(10):
            await ended.wait()


# ---------------------------------------------------------------- trailers of responses


async def test_the_trailers_of_a_response_are_seen_and_those_of_the_connection_are_not() -> None:
    answer = (
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\n"
        b"X-Sum: \xe9\r\nconnection: close\r\nx-sum: 2\r\n\r\n"
    )
    async with listening(answering(answer)) as port, client() as handler:
        for read_first in (True, False):
            body = (await response(handler.handle(request(port), None))).consume()
            if read_first:
                assert await read(body) == b"a"
            trailers = IncomingBody.finish(body)
            await trailers.subscribe().block()
            got = trailers.get()
            assert isinstance(got, Ok)
            inner: Any = got.value
            assert inner.value.entries() == [("X-Sum", b"\xe9"), ("x-sum", b"2")]


async def test_throwing_a_body_away_lets_others_have_their_turn() -> None:
    """A server may send a million pieces: they go some at a time."""

    class Source:
        left = 1000

        async def read(self) -> bytes:
            raise AssertionError("it is all there")

        def read_nowait(self) -> bytes:
            self.left -= 1
            return b"a" if self.left > 0 else b""

        def trailers(self) -> None:
            return None

        def close(self) -> None:
            """Have nothing to close."""

    source = Source()
    trailers = IncomingBody.finish(IncomingBody(source))
    turns, done = 0, False

    async def others() -> None:
        nonlocal turns
        while not done:
            turns += 1
            await asyncio.sleep(0)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(others)
        await trailers.subscribe().block()
        done = True
    assert trailers.get() == Ok(Ok(None))
    assert turns > 100


# ---------------------------------------------------------------- limits


async def test_the_limit_of_requests_under_way_is_one_of_the_workload() -> None:
    held = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
    provider = next(p for p in PROVIDERS if p.package == "wasi:http")()
    context = WorkloadContext("w", Grants(allowed_hosts=["*"]), limits=Limits(outgoing_requests=3))
    async with listening(answering(held)) as port, provider.bind(context) as bound:
        first, second = (
            bound.serve(ImportRequest("wasi:http/outgoing-handler@0.2.9", label, InstanceType()))["handle"]
            for label in (None, "other")
        )
        assert not isinstance(first, HostFunction)
        assert not isinstance(second, HostFunction)
        waiting = [first(request(port), None), second(request(port), None), first(request(port), None)]
        for handle in (first, second):
            with pytest.raises(Err) as error:
                handle(request(port), None)
            code: Variant = error.value.value
            assert code.tag == "internal-error"
            assert "limits.outgoing_requests" in code.value
        got = [await response(future) for future in waiting]
        with pytest.raises(Err):
            first(request(port), None)
        got.pop().drop()
        got.append(await response(second(request(port), None)))
        with pytest.raises(Err):
            second(request(port), None)
        for one in got:
            one.drop()
        for _ in range(10):
            (await response(first(request(port), None))).drop()


async def test_a_request_that_failed_is_not_under_way() -> None:
    provider = next(p for p in PROVIDERS if p.package == "wasi:http")()
    context = WorkloadContext("w", Grants(allowed_hosts=["*"]), limits=Limits(outgoing_requests=1))
    async with provider.bind(context) as bound:
        handle = bound.serve(ImportRequest("wasi:http/outgoing-handler@0.2.9", None, InstanceType()))[
            "handle"
        ]
        assert not isinstance(handle, HostFunction)
        for _ in range(3):
            assert (await response(handle(request(1), None))).tag == "connection-refused"
            dropped = handle(request(1), None)
            dropped.drop()
            await anyio.sleep(0.01)


async def test_a_time_of_nothing_is_over_at_once() -> None:
    options = RequestOptions()
    options.set_first_byte_timeout(0)
    async with listening(lambda r, _: r.read(-1)) as port, client() as handler:
        with anyio.fail_after(10):
            assert await response(handler.handle(request(port), options)) == Variant(
                "connection-read-timeout"
            )


async def test_nobody_waits_for_room_in_a_body_whose_request_did_not_leave() -> None:
    async with client("example.com") as handler:
        made = request(80, method="post")
        body = made.body()
        stream = body.write_stream()
        with pytest.raises(Err) as denied:
            handler.handle(made, None)
        assert denied.value.value == Variant("HTTP-request-denied")
        with pytest.raises(Err) as error:
            stream.check_write()
        assert error.value.value.value.code_of("http") == Variant("HTTP-request-denied")


# ---------------------------------------------------------------- what is logged


@pytest.mark.parametrize(
    ("answer", "settings", "said"),
    [
        (b"HTTP/1.1 200 OK\r\nx-a: " + bytes(100) + b"\r\n\r\n", {"max_head": 50}, "max_head, 50 bytes"),
        (b"HTTP/1.1 200 OK\r\na: 1\r\nb: 2\r\n\r\n", {"max_headers": 1}, "max_headers, 1 headers"),
        (b"HTTP/1.1 103 x\r\n\r\n" + OK, {"max_informational": 0}, "max_informational"),
        (
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\nx-a: 1\r\n\r\n",
            {"max_trailers": 5}, "max_trailers, 5 bytes",
        ),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 1\r\n\r\na", {}, "Duplicate"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nab", {}, "transfer-coding"),
    ],
)  # fmt: skip
async def test_why_a_request_failed_is_logged_where_the_guest_gets_a_case_alone(
    answer: bytes, settings: dict[str, Any], said: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with listening(answering(answer)) as port, client(**settings) as handler:
        await fetch(handler, request(port))
    (line,) = [record.getMessage() for record in caplog.records if record.name == "wasmplex.http.client"]
    assert said in line
    assert line.startswith(f"a request to 127.0.0.1:{port} failed: HTTP-")


async def test_a_denied_request_is_logged_and_one_that_is_refused_or_given_up_is_not(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with listening(answering(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\na")) as port:
        async with client("127.0.0.1") as handler:
            (await response(handler.handle(request(port), None))).consume().drop()
            assert (await fetch(handler, request(1))).tag == "connection-refused"
            assert caplog.records == []
        async with client("example.com") as handler:
            await fetch(handler, request(port))
    assert [record.getMessage() for record in caplog.records] == [
        f"a request to 127.0.0.1:{port} failed: HTTP-request-denied: allowed_hosts does not have it"
    ]
