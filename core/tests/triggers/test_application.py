"""What the application answers, under the trigger's own server and under uvicorn as it comes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import anyio
import pytest
from wasmplex.capabilities.http import HttpExchange, HttpFailure
from wasmplex.errors import ConfigError, Trap
from wasmplex.plugins.triggers import TriggerBinding
from wasmplex.triggers.http import http_application

from .loopback import bind, connected, exchange, get, post, serving, serving_elsewhere, unchunked

pytestmark = pytest.mark.anyio

Serve = Callable[..., AbstractAsyncContextManager[int]]


@pytest.fixture(params=["ours", "httptools", "h11"])
def serve(request: pytest.FixtureRequest) -> Serve:
    @contextlib.asynccontextmanager
    async def start(*bindings: TriggerBinding) -> AsyncIterator[int]:
        if request.param == "ours":
            async with serving(*bindings) as port:
                yield port
        else:
            async with serving_elsewhere(request.param, *bindings) as port:
                yield port

    return start


async def hello(_: Any, exchange: HttpExchange) -> None:
    exchange.start(200, [(b"content-type", b"text/plain")])
    exchange.write(b"hello")
    exchange.finish()


async def mirror(_: Any, exchange: HttpExchange) -> None:
    """Answer with what was asked."""
    exchange.start(201, [(b"x-seen", exchange.headers[0][0])])
    exchange.write(f"{exchange.method} {exchange.scheme}://{exchange.authority}".encode())
    exchange.write(exchange.path_with_query.encode() + b" ")
    while piece := await exchange.read():
        exchange.write(piece)
    exchange.finish()


def named(name: str) -> Callable[..., Any]:
    async def handler(_: Any, exchange: HttpExchange) -> None:
        exchange.start(200, [])
        exchange.write(name.encode())
        exchange.finish()

    return handler


async def test_small_answer_is_one_piece_with_its_length(serve: Serve) -> None:
    async with serve(bind(hello)) as port:
        response = await exchange(port, get())
    assert (response.status, response.body) == (200, b"hello")
    assert response.headers["content-length"] == "5"
    assert response.headers["content-type"] == "text/plain"


async def test_request_reaches_the_handler_as_it_was_sent(serve: Serve) -> None:
    async with serve(bind(mirror)) as port:
        response = await exchange(port, post(b"body", "/a%20b/%C3%A9?x=1&y=%2F"))
    assert response.status == 201
    assert response.headers["x-seen"] == "host"
    body = response.body if "content-length" in response.headers else unchunked(response.body)[0]
    assert body == b"POST http://localhost/a%20b/%C3%A9?x=1&y=%2F body"


async def test_head_has_the_headers_and_no_body(serve: Serve) -> None:
    async with serve(bind(hello)) as port:
        response = await exchange(port, get(method="HEAD"))
    assert (response.status, response.body) == (200, b"")
    assert response.headers["content-length"] == "5"


@pytest.mark.parametrize("status", [204, 304])
async def test_status_without_body_has_none(serve: Serve, status: int) -> None:
    async def handler(_: Any, exchange: HttpExchange) -> None:
        exchange.start(status, [])
        exchange.write(b"never seen")
        exchange.finish()

    async with serve(bind(handler)) as port, connected(port) as client:
        await client.send(get(close=False) + get())
        first = await client.head()
        second = await client.head()
        assert (first.status, second.status) == (status, status)
        assert "transfer-encoding" not in first.headers
        assert await client.rest() == b""


async def test_routes_by_longest_prefix_and_host(serve: Serve) -> None:
    bindings = [
        bind(named("root"), "/", name="root"),
        bind(named("api"), "/api", name="api"),
        bind(named("v2"), "/api/v2/", name="v2"),
        bind(named("shop"), "/", "shop.example", name="shop"),
        bind(named("wild"), "/", "*.shop.example", name="wild"),
    ]
    expected = {
        ("/", "any"): b"root",
        ("/api", "any"): b"api",
        ("/api?x", "any"): b"api",
        ("/apix", "any"): b"root",
        ("/api/v2", "any"): b"v2",
        ("/api/v2/x", "any"): b"v2",
        ("/api/v22", "any"): b"api",
        ("/a%70i/x", "any"): b"api",
        ("/api", "shop.example"): b"shop",
        ("/", "SHOP.example:8080"): b"shop",
        ("/", "a.b.shop.example"): b"wild",
        ("/", "ashop.example"): b"root",
    }
    async with serve(*bindings) as port:
        for (path, host), name in expected.items():
            raw = f"GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n".encode()
            response = await exchange(port, raw)
            assert response.body == name, (path, host)


@pytest.mark.parametrize(("host", "expected"), [
    ("shop.example ", b"shop"), ("SHOP.example.:80", b"shop"), ("shop.example:", b"shop"), ("b", b"root"),
    ("shop.example/x", b""), ("u@shop.example", b""), ("a b", b""), ("shop.example:x", b""),
])  # fmt: skip
async def test_hosts_are_judged_whatever_the_server(serve: Serve, host: str, expected: bytes) -> None:
    async with serve(bind(named("root")), bind(named("shop"), "/", "shop.example", name="shop")) as port:
        response = await exchange(
            port, f"GET / HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n".encode()
        )
    assert response.status == (200 if expected else 400)
    assert not expected or response.body == expected


async def test_two_claims_of_one_route_are_refused_naming_both() -> None:
    with pytest.raises(ConfigError, match=r"(?s)'a' and 'b'.*'/x'.*host\.toml:b.*host\.toml:a"):
        http_application([bind(hello, "/x", name="a"), bind(hello, "/x/", name="b")])


async def test_no_route_is_404(serve: Serve) -> None:
    async with serve(bind(hello, "/api")) as port:
        response = await exchange(port, get("/other"))
    assert response.status == 404
    assert b"/other" in response.body


async def test_full_is_503_with_retry_after(serve: Serve) -> None:
    async with serve(bind(hello, size=0)) as port:
        response = await exchange(port, get())
    assert response.status == 503
    assert int(response.headers["retry-after"]) >= 1


async def test_deadline_before_the_answer_is_504(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    async def handler(_: Any, exchange: HttpExchange) -> None:
        await anyio.sleep_forever()

    async with serve(bind(handler, timeout=0.05)) as port:
        response = await exchange(port, get())
    assert response.status == 504
    [record] = [r for r in caplog.records if r.name == "wasmplex.http"]
    assert vars(record)["request_id"] == response.headers["x-request-id"]


async def test_deadline_in_the_answer_cuts_the_connection(serve: Serve) -> None:
    async def handler(_: Any, exchange: HttpExchange) -> None:
        exchange.start(200, [])
        exchange.write(b"begun")
        await anyio.sleep_forever()

    async with serve(bind(handler, timeout=0.2)) as port:
        response = await exchange(port, get())
    assert response.status == 200
    assert response.body == b"5\r\nbegun\r\n", "there must be no last chunk"


@pytest.mark.parametrize(
    "error", [Trap("wasm trap: unreachable"), HttpFailure("no answer"), RuntimeError("bug")]
)
async def test_failure_is_502_with_an_id_that_is_in_the_log(
    serve: Serve, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    async def handler(_: Any, exchange: HttpExchange) -> None:
        raise error

    async with serve(bind(handler, name="shop")) as port:
        response = await exchange(port, get("/p?q", "x-request-id: abc-123"))
    assert response.status == 502
    assert response.headers["x-request-id"] == "abc-123"
    assert b"abc-123" in response.body
    assert str(error).encode() not in response.body, "the cause is for the log"
    [record] = [r for r in caplog.records if r.name == "wasmplex.http"]
    assert [vars(record)[name] for name in ("request_id", "host", "workload")] == [
        "abc-123", "localhost", "shop"
    ]  # fmt: skip
    assert record.getMessage() == f"GET /p: {error}", "a query may hold what is nobody's business"
    assert (record.exc_info is not None) == isinstance(error, RuntimeError)


async def test_strange_request_ids_are_replaced(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    async def handler(_: Any, exchange: HttpExchange) -> None:
        raise Trap("trapped")

    async with serve(bind(handler)) as port:
        response = await exchange(port, get("/", "x-request-id: a b\tc"))
    assert response.headers["x-request-id"] != "a b\tc"
    [record] = [r for r in caplog.records if r.name == "wasmplex.http"]
    assert vars(record)["request_id"] == response.headers["x-request-id"]


async def test_no_answer_is_502(serve: Serve) -> None:
    async def handler(_: Any, exchange: HttpExchange) -> None:
        return

    async with serve(bind(handler)) as port:
        response = await exchange(port, get())
    assert response.status == 502


async def test_unfinished_answer_that_has_not_left_is_502(serve: Serve) -> None:
    async def handler(_: Any, exchange: HttpExchange) -> None:
        exchange.start(200, [])
        exchange.write(b"half")

    async with serve(bind(handler)) as port:
        response = await exchange(port, get())
    assert response.status == 502
    assert b"half" not in response.body


async def test_failure_in_the_answer_cuts_it_off(serve: Serve) -> None:
    seen = anyio.Event()

    async def handler(_: Any, exchange: HttpExchange) -> None:
        exchange.start(200, [])
        exchange.write(b"begun")
        await seen.wait()
        raise Trap("trapped")

    async with serve(bind(handler)) as port, connected(port) as client:
        await client.send(get())
        received = await asyncio.wait_for(client.reader.readuntil(b"begun"), 60)
        seen.set()
        received += await client.rest()
    assert received.partition(b"\r\n\r\n")[2] == b"5\r\nbegun\r\n"


@pytest.mark.parametrize("status", [100, 101, 199, 600, 999])
async def test_status_that_is_none_is_502(serve: Serve, status: int) -> None:
    async def handler(_: Any, exchange: HttpExchange) -> None:
        exchange.start(status, [])
        exchange.finish()

    async with serve(bind(handler)) as port:
        response = await exchange(port, get())
    assert response.status == 502


async def test_body_over_the_limit_by_its_length_is_413_and_no_call(serve: Serve) -> None:
    binding = bind(mirror, max_body=10)
    async with serve(binding) as port:
        response = await exchange(port, post(b"x" * 11))
        assert response.status == 413
        assert (await exchange(port, post(b"x" * 10))).status == 201
    assert binding.workload.calls == 1  # type: ignore[attr-defined]


async def test_body_over_the_limit_while_it_streams_is_413(serve: Serve) -> None:
    async with serve(bind(mirror, max_body=10)) as port:
        raw = get("/", "transfer-encoding: chunked", method="POST") + b"b\r\nxxxxxxxxxxx\r\n0\r\n\r\n"
        response = await exchange(port, raw)
    assert response.status == 413


async def test_guest_that_answers_a_too_large_body_is_overruled(serve: Serve) -> None:
    async def handler(_: Any, exchange: HttpExchange) -> None:
        with contextlib.suppress(ConnectionError):
            while await exchange.read():
                pass
        exchange.start(200, [])
        for _i in range(100):
            exchange.write(bytes(4096))
        await anyio.sleep(0.01)
        exchange.finish()

    async with serve(bind(handler, max_body=10)) as port:
        raw = get("/", "transfer-encoding: chunked", method="POST") + b"b\r\nxxxxxxxxxxx\r\n0\r\n\r\n"
        response = await exchange(port, raw)
    assert response.status == 413


async def test_answer_streams_while_the_handler_goes_on(serve: Serve) -> None:
    seen = anyio.Event()

    async def handler(_: Any, exchange: HttpExchange) -> None:
        exchange.start(200, [])
        exchange.write(b"first")
        await seen.wait()
        exchange.write(b"second")
        exchange.finish()

    async with serve(bind(handler)) as port, connected(port) as client:
        await client.send(get())
        assert (await client.head()).headers["transfer-encoding"] == "chunked"
        assert await client.reader.readexactly(10) == b"5\r\nfirst\r\n"
        seen.set()
        assert unchunked(await client.rest())[0] == b"second"


async def test_headers_leave_before_there_is_a_body(serve: Serve) -> None:
    seen = anyio.Event()

    async def handler(_: Any, exchange: HttpExchange) -> None:
        exchange.start(200, [(b"x-early", b"yes")])
        await seen.wait()
        exchange.finish()

    async with serve(bind(handler)) as port, connected(port) as client:
        await client.send(get())
        assert (await client.head()).headers["x-early"] == "yes"
        seen.set()
        assert unchunked(await client.rest())[0] == b""


async def test_an_answer_that_needs_some_turns_leaves_in_one_piece(serve: Serve) -> None:
    async def handler(_: Any, exchange: HttpExchange) -> None:
        exchange.start(200, [])
        for piece in (b"first", b"second"):
            for _ in range(3):
                await anyio.lowlevel.checkpoint()
            exchange.write(piece)
        exchange.finish()

    async with serve(bind(handler)) as port:
        response = await exchange(port, get())
        assert (response.headers["content-length"], response.body) == ("11", b"firstsecond")


async def test_disconnect_cancels_the_call(serve: Serve) -> None:
    begun, ended = anyio.Event(), anyio.Event()

    async def handler(_: Any, exchange: HttpExchange) -> None:
        begun.set()
        try:
            await anyio.sleep_forever()
        finally:
            ended.set()

    binding = bind(handler, timeout=30)
    async with serve(binding) as port:
        async with connected(port) as client:
            await client.send(get())
            await begun.wait()
        with anyio.fail_after(5):
            await ended.wait()
    assert binding.workload.cancelled == 1  # type: ignore[attr-defined]
    assert binding.workload.free == 64  # type: ignore[attr-defined]


async def test_disconnect_is_seen_by_who_reads(serve: Serve) -> None:
    ended = anyio.Event()

    async def handler(_: Any, exchange: HttpExchange) -> None:
        try:
            while await exchange.read():
                pass
        finally:
            ended.set()

    async with serve(bind(handler, timeout=30)) as port:
        async with connected(port) as client:
            await client.send(get("/", "content-length: 100", method="POST") + b"part")
            await anyio.sleep(0.05)
        with anyio.fail_after(5):
            await ended.wait()


async def test_slow_client_holds_the_handler_back(serve: Serve) -> None:
    written = 0

    async def handler(_: Any, exchange: HttpExchange) -> None:
        nonlocal written
        exchange.start(200, [])
        room = anyio.Event()

        def wake() -> None:
            room.set()

        exchange.on_room = wake
        while True:
            while not exchange.room():
                await room.wait()
                room = anyio.Event()
            exchange.write(bytes(min(exchange.room(), 16384)))
            written += 16384

    async with serve(bind(handler, timeout=30)) as port, connected(port) as client:
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]  # a transport both ways
        await client.send(get())
        before = -1
        while before != written or not written:
            before = written
            await anyio.sleep(0.3)
        assert written < 32 * 2**20, "nobody reads, so only buffers can have been filled"
