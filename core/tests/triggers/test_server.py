"""The server on the wire: connections, bounds, deadlines, trailers, shutdown. Real sockets, bytes by hand."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import resource
import socket
from functools import partial
from typing import Any

import anyio
import pytest
from wasmplex.capabilities.http import HttpExchange
from wasmplex.errors import FailureError, Trap
from wasmplex.triggers.http import HttpSettings, HttpTrigger
from wasmplex.triggers.http.http1.connection import Connection

from .loopback import Response, bind, chunked, connected, exchange, get, http, post, serving, unchunked

pytestmark = pytest.mark.anyio


async def hello(_: Any, exchange: HttpExchange) -> None:
    exchange.start(200, [])
    exchange.write(b"hello")
    exchange.finish()


async def echo(_: Any, exchange: HttpExchange) -> None:
    """Send the body back as it comes, with the trailers it came with."""
    room = anyio.Event()

    def wake() -> None:
        room.set()

    exchange.on_room = wake
    exchange.start(200, [])
    while piece := await exchange.read():
        while not exchange.room():
            await room.wait()
            room = anyio.Event()
        exchange.write(piece)
    exchange.finish(exchange.trailers)


async def ignore(_: Any, exchange: HttpExchange) -> None:
    """Answer without reading the body."""
    exchange.start(200, [])
    exchange.write(b"no thanks")
    exchange.finish()


# ---------------------------------------------------------------- connections


async def test_a_connection_serves_one_request_after_the_other() -> None:
    async with serving(bind(hello)) as port, connected(port) as client:
        for _ in range(3):
            await client.send(get(close=False))
            assert (await client.response()).body == b"hello"


async def test_every_answer_has_date_and_server_unless_the_guest_has() -> None:
    async def own(_: Any, exchange: HttpExchange) -> None:
        exchange.start(200, [(b"server", b"mine")])
        exchange.finish()

    async with serving(bind(hello), bind(own, "/own", name="own"), server_header="edge") as port:
        ours, theirs = await exchange(port, get()), await exchange(port, get("/own"))
    assert ours.headers["server"] == "edge"
    assert ours.headers["date"].endswith("GMT")
    assert theirs.headers["server"] == "mine"
    assert theirs.raw.count(b"server:") == 1


async def test_pipelined_requests_are_answered_in_order() -> None:
    async def delayed(_: Any, exchange: HttpExchange) -> None:
        await anyio.sleep(0.03 if exchange.path_with_query == "/slow" else 0)
        exchange.start(200, [])
        exchange.write(exchange.path_with_query.encode())
        exchange.finish()

    async with serving(bind(delayed)) as port, connected(port) as client:
        await client.send(get("/slow", close=False) + post(b"x" * 10, "/1", close=False) + get("/2"))
        assert [(await client.response()).body for _ in range(3)] == [b"/slow", b"/1", b"/2"]
        assert await client.rest() == b""


async def test_pipelined_requests_wait_where_they_are() -> None:
    release = anyio.Event()
    calls = 0

    async def held(_: Any, exchange: HttpExchange) -> None:
        nonlocal calls
        calls += 1
        await release.wait()
        exchange.start(204, [])
        exchange.finish()

    async with serving(bind(held)) as port, connected(port) as client:
        await client.send(get(close=False) * 100)
        await anyio.sleep(0.05)
        assert calls == 1
        release.set()
        assert [(await client.head()).status for _ in range(100)] == [204] * 100
        assert calls == 100


async def test_a_client_that_pipelines_without_end_is_held_back() -> None:
    async def held(_: Any, exchange: HttpExchange) -> None:
        await anyio.sleep_forever()

    async with serving(bind(held, timeout=30)) as port:
        sock = socket.create_connection(("127.0.0.1", port))
        sock.setblocking(False)
        sent = 0
        with contextlib.closing(sock):
            for _ in range(400):
                with contextlib.suppress(BlockingIOError):
                    sent += sock.send(get(close=False) * 1000)
                await anyio.sleep(0.001)
        assert sent < 16 * 2**20, "only buffers can have been filled"


async def test_http_1_0_has_no_chunks_and_ends_with_the_connection() -> None:
    async def streamed(_: Any, exchange: HttpExchange) -> None:
        exchange.start(200, [])
        exchange.write(b"one")
        await anyio.sleep(0.01)
        exchange.write(b"two")
        exchange.finish([(b"x-t", b"lost")])

    async with serving(bind(streamed)) as port:
        response = await exchange(port, b"GET / HTTP/1.0\r\n\r\n")
    assert "transfer-encoding" not in response.headers
    assert response.headers["connection"] == "close"
    assert response.body == b"onetwo"


async def test_a_cut_answer_of_http_1_0_resets_the_connection() -> None:
    async def broken(_: Any, exchange: HttpExchange) -> None:
        exchange.start(200, [])
        exchange.write(b"one")
        await anyio.sleep(0.05)
        raise Trap("trapped")

    async with serving(bind(broken)) as port, connected(port) as client:
        await client.send(b"GET / HTTP/1.0\r\n\r\n")
        await client.head()
        with pytest.raises(ConnectionResetError):
            await client.rest()


async def test_an_answer_shorter_than_it_says_is_cut() -> None:
    async def liar(_: Any, exchange: HttpExchange) -> None:
        exchange.start(200, [(b"content-length", b"10")])
        exchange.write(b"short")
        await anyio.sleep(0.01)
        exchange.finish()

    async with serving(bind(liar)) as port:
        response = await exchange(port, get())
    assert (response.status, response.body) == (200, b"short")


async def test_an_answer_longer_than_it_says_never_spills_into_the_next() -> None:
    async def liar(_: Any, exchange: HttpExchange) -> None:
        exchange.start(200, [(b"content-length", b"2")])
        exchange.write(b"ok")
        await anyio.sleep(0.01)
        exchange.write(b"HTTP/1.1 200 OK\r\n\r\n")
        exchange.finish()

    async with serving(bind(liar)) as port:
        response = await exchange(port, get(close=False))
    assert response.body == b"ok"


async def test_a_header_with_a_line_break_never_leaves() -> None:
    async def injecting(_: Any, exchange: HttpExchange) -> None:
        exchange.start(200, [(b"x", b"a\r\nset-cookie: b")])
        exchange.finish()

    async with serving(bind(injecting)) as port:
        response = await exchange(port, get())
    assert response.status == 502
    assert b"set-cookie" not in response.raw


async def test_work_after_the_answer_holds_nobody_up() -> None:
    ended = 0
    release = anyio.Event()

    async def lingering(_: Any, exchange: HttpExchange) -> None:
        nonlocal ended
        exchange.start(200, [])
        exchange.write(b"done")
        exchange.finish()
        await release.wait()
        ended += 1

    async with serving(bind(lingering)) as port, connected(port) as client:
        for _ in range(3):
            await client.send(get(close=False))
            assert (await client.response()).body == b"done"
        assert ended == 0
        release.set()
        await anyio.sleep(0.02)
        assert ended == 3


@pytest.mark.parametrize("version", ["1.0", "1.1"])
async def test_work_after_the_answer_goes_on_when_its_connection_has_ended(version: str) -> None:
    ended = anyio.Event()

    async def lingering(_: Any, exchange: HttpExchange) -> None:
        exchange.start(200, [])
        exchange.write(b"one")
        await anyio.sleep(0.01)
        exchange.write(b"two")
        exchange.finish()
        await anyio.sleep(0.1)
        ended.set()

    binding = bind(lingering)
    async with serving(binding) as port:
        response = await exchange(port, get().replace(b"1.1", version.encode()))
        assert response.body.endswith(b"two" if version == "1.0" else b"0\r\n\r\n")
        with anyio.fail_after(5):
            await ended.wait()
    assert binding.workload.cancelled == 0  # type: ignore[attr-defined]


async def test_the_connection_limit_is_kept() -> None:
    async with serving(bind(hello), max_connections=1) as port:
        async with connected(port) as first:
            await first.send(get(close=False))
            await first.response()
            refused = await exchange(port, get())
            assert refused.status == 503
            assert "retry-after" in refused.headers
        await anyio.sleep(0.05)
        assert (await exchange(port, get())).status == 200


async def test_a_half_closed_connection_is_a_closed_one() -> None:
    binding = bind(echo, timeout=30)
    async with serving(binding) as port, connected(port) as client:
        await client.send(get("/", "content-length: 100", method="POST") + b"part")
        client.writer.write_eof()
        await client.rest()
        await anyio.sleep(0.05)
    assert binding.workload.free == 64  # type: ignore[attr-defined]


# ---------------------------------------------------------------- what clients do wrong


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET /" + b"x" * 3000 + b" HTTP/1.1\r\n", 414),
        (b"GET / HTTP/1.1\r\nhost: a\r\nx: " + b"y" * 5000, 431),
        (b"CONNECT a:1 HTTP/1.1\r\nhost: a\r\n\r\n", 501),
    ],
)
async def test_a_bad_request_is_answered_and_the_connection_closed(raw: bytes, status: int) -> None:
    async with serving(bind(hello), max_head="2KiB") as port:
        response = await exchange(port, raw)
    assert response.status == status
    assert response.headers["connection"] == "close"


async def test_a_bad_request_waits_for_the_answers_before_it() -> None:
    async def slow(_: Any, exchange: HttpExchange) -> None:
        await anyio.sleep(0.03)
        await hello(_, exchange)

    async with serving(bind(slow)) as port, connected(port) as client:
        await client.send(get(close=False) + b"nonsense\r\n\r\n")
        assert (await client.response()).body == b"hello"
        assert Response(await client.rest()).status == 400


async def test_a_refusal_has_what_every_answer_has_and_none_to_a_head_has_content() -> None:
    async with serving(bind(hello), server_header="edge") as port:
        refused = await exchange(port, b"GET / HTTP/1.1\r\n\r\n")
        head = await exchange(port, b"HEAD / HTTP/1.1\r\n\r\n")
    assert refused.status == head.status == 400
    assert refused.headers["server"] == "edge"
    assert refused.headers["date"].endswith("GMT")
    assert len(refused.body) == int(refused.headers["content-length"]) == int(head.headers["content-length"])
    assert head.body == b""


async def test_a_bad_request_waits_for_an_answer_that_is_streamed() -> None:
    async def streamed(_: Any, exchange: HttpExchange) -> None:
        exchange.start(200, [])
        for _i in range(3):
            exchange.write(b"piece")
            await anyio.sleep(0.01)
        exchange.finish()

    async with serving(bind(streamed)) as port, connected(port) as client:
        await client.send(get(close=False) + b"nonsense\r\n\r\n")
        await client.head()
        body, rest = unchunked(await client.rest())
    assert body == b"piece" * 3
    assert Response(rest.removeprefix(b"\r\n")).status == 400


async def test_what_follows_the_last_request_does_not_cost_its_answer() -> None:
    async def slow(_: Any, exchange: HttpExchange) -> None:
        await anyio.sleep(0.05)
        await hello(_, exchange)

    async with serving(bind(slow)) as port, connected(port) as client:
        with contextlib.suppress(ConnectionError):
            await client.send(get() + bytes(4_000_000))
        assert (await client.response()).body == b"hello"
        assert await client.rest() == b""


async def test_bad_chunks_end_the_request() -> None:
    binding = bind(echo, timeout=30)
    async with serving(binding) as port, connected(port) as client:
        await client.send(get("/", "transfer-encoding: chunked", method="POST") + b"3\r\nabc\r\n")
        await anyio.sleep(0.05)
        await client.send(b"zz\r\n")
        answer = await client.rest()
        await anyio.sleep(0.02)
    assert not answer.endswith(b"0\r\n\r\n")
    assert binding.workload.free == 64  # type: ignore[attr-defined]


async def test_bad_chunks_before_the_answer_are_400() -> None:
    async def waiting(_: Any, exchange: HttpExchange) -> None:
        await anyio.sleep_forever()

    async with serving(bind(waiting, timeout=30)) as port:
        response = await exchange(port, get("/", "transfer-encoding: chunked", method="POST") + b"zz\r\n")
    assert response.status == 400


async def test_a_head_that_takes_too_long_is_408() -> None:
    async with serving(bind(hello), head_timeout=0.05) as port, connected(port) as client:
        await client.send(b"GET / HTTP/1.1\r\nhos")
        assert Response(await client.rest()).status == 408


async def test_a_connection_without_a_request_is_closed_in_silence() -> None:
    async with serving(bind(hello), head_timeout=0.05) as port, connected(port) as client:
        assert await client.rest() == b""


async def test_an_idle_connection_is_closed() -> None:
    async with serving(bind(hello), keep_alive=0.05) as port, connected(port) as client:
        await client.send(get(close=False))
        await client.response()
        assert await client.rest() == b""


async def test_a_client_that_takes_nothing_is_cut() -> None:
    cut = anyio.Event()

    async def flood(_: Any, exchange: HttpExchange) -> None:
        exchange.start(200, [])
        room = anyio.Event()

        def wake() -> None:
            room.set()

        exchange.on_room = wake
        try:
            while True:
                exchange.write(bytes(65536))
                await room.wait()
                room = anyio.Event()
        finally:
            cut.set()

    async with serving(bind(flood, timeout=30), write_timeout=0.1) as port, connected(port) as client:
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]  # a transport both ways
        await client.send(get())
        with anyio.fail_after(5):
            await cut.wait()


async def test_expect_continue_is_answered_when_the_body_is_wanted() -> None:
    async with serving(bind(echo)) as port, connected(port) as client:
        await client.send(get("/", "expect: 100-continue", "content-length: 4", method="POST"))
        assert (await client.head()).raw.startswith(b"HTTP/1.1 100 ")
        await client.send(b"body")
        assert b"body" in await client.rest()


async def test_http_1_0_has_no_expectations() -> None:
    async def late(_: Any, exchange: HttpExchange) -> None:
        await exchange.read()
        await hello(_, exchange)

    async with serving(bind(late)) as port, connected(port) as client:
        await client.send(b"POST / HTTP/1.0\r\nexpect: 100-continue\r\ncontent-length: 4\r\n\r\n")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client.reader.read(1), 0.1)
        await client.send(b"body")
        assert (await client.rest()).startswith(b"HTTP/1.1 200 ")


async def test_expect_continue_is_not_answered_when_it_is_not() -> None:
    async with serving(bind(ignore, max_body=100)) as port:
        for length, status in ((4, 200), (101, 413)):
            fields = ("expect: 100-continue", f"content-length: {length}")
            response = await exchange(port, get("/", *fields, method="POST", close=False))
            assert response.status == status
            assert response.headers["connection"] == "close", "the body may come or not"


@pytest.mark.parametrize("size", [10_000, 3_000_000])
async def test_a_client_that_still_sends_gets_the_early_answer(size: int) -> None:
    async with serving(bind(ignore, max_body=1 << 30)) as port, connected(port) as client:
        with contextlib.suppress(ConnectionError):
            await client.send(post(b"x" * size, close=False))
        assert (await client.response()).body == b"no thanks"
        if size < 100_000:  # what is left of a small body is read, and the connection kept
            await client.send(get(close=False))
            assert (await client.response()).body == b"no thanks"
        else:
            assert await client.rest() == b""


@pytest.mark.parametrize("late", [True, False], ids=["after the answer", "before"])
@pytest.mark.parametrize("framing", ["content-length: 1000000", "transfer-encoding: chunked"])
async def test_a_connection_is_kept_or_its_answer_says_that_it_is_not(framing: str, late: bool) -> None:
    head = get("/", framing, method="POST", close=False)
    body = bytes(1_000_000) if "length" in framing else chunked(bytes(1_000_000)) + b"0\r\n\r\n"
    async with serving(bind(ignore)) as port, connected(port) as client:
        client.writer.write(head if late else head + body)
        response = await client.response()
        if response.headers.get("connection") == "close":
            assert await client.rest() == b""
            return
        await client.send((body if late else b"") + get(close=False))
        assert (await client.response()).body == b"no thanks"


async def test_413_reaches_a_client_that_still_sends() -> None:
    async with serving(bind(echo, max_body=1000)) as port, connected(port) as client:
        with contextlib.suppress(ConnectionError):
            await client.send(post(b"x" * 3_000_000, close=False))
        response = await client.response()
        assert (response.status, response.headers["connection"]) == (413, "close")


# ---------------------------------------------------------------- bodies


async def test_bodies_stream_through_in_both_directions_while_they_are_made() -> None:
    async with serving(bind(echo)) as port, connected(port) as client:
        await client.send(get("/", "transfer-encoding: chunked", method="POST"))
        for piece in (b"one", b"two", b"three"):
            await client.send(chunked(piece))
            if piece == b"one":
                await client.head()
            line = await asyncio.wait_for(client.reader.readline(), 5)
            assert await client.reader.readexactly(int(line, 16) + 2) == piece + b"\r\n"
        await client.send(b"0\r\n\r\n")
        assert await client.rest() == b"0\r\n\r\n"


async def test_very_many_very_small_chunks_let_others_have_their_turn() -> None:
    turns = 0
    begun = anyio.Event()

    async def count(_: Any, exchange: HttpExchange) -> None:
        begun.set()
        size = 0
        while piece := await exchange.read():
            size += len(piece)
        exchange.start(200, [])
        exchange.write(b"%d in %d turns" % (size, turns))
        exchange.finish()

    async def others() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    async with serving(bind(count)) as port, connected(port) as client, anyio.create_task_group() as tasks:
        await client.send(get("/", "transfer-encoding: chunked", method="POST"))
        await begun.wait()
        tasks.start_soon(others)
        await client.send(chunked(b"x") * 40_000 + b"0\r\n\r\n")
        size, _, turns_meanwhile = (await client.response()).body.decode().partition(" in ")
        tasks.cancel_scope.cancel()
    assert size == "40000"
    assert int(turns_meanwhile.split()[0]) > 30


async def test_trailers_go_in_and_out() -> None:
    async with serving(bind(echo)) as port:
        raw = get("/", "transfer-encoding: chunked", method="POST")
        raw += chunked(b"body") + b"0\r\nX-Checksum: 12\r\nx-more: b\r\n\r\n"
        response = await exchange(port, raw)
    body, tail = unchunked(response.body)
    assert body == b"body"
    assert tail == b"x-checksum: 12\r\nx-more: b\r\n\r\n"


async def test_trailers_of_a_small_answer_are_not_lost() -> None:
    async def trailing(_: Any, exchange: HttpExchange) -> None:
        exchange.start(200, [])
        exchange.write(b"hi")
        exchange.finish([(b"x-t", b"1")])

    async with serving(bind(trailing)) as port:
        response = await exchange(port, get())
    assert unchunked(response.body) == (b"hi", b"x-t: 1\r\n\r\n")


async def test_a_trailer_with_a_line_break_never_leaves() -> None:
    async def injecting(_: Any, exchange: HttpExchange) -> None:
        exchange.start(200, [])
        exchange.finish([(b"x", b"a\r\n\r\nHTTP/1.1 200 OK")])

    async with serving(bind(injecting)) as port:
        response = await exchange(port, get())
    assert response.status == 502
    assert b"200 OK" not in response.raw


async def test_a_big_body_goes_through_in_little_memory() -> None:
    size, piece = 192 * 2**20, bytes(256 * 1024)

    async def drain(client: Any) -> int:
        got = 0
        while data := await client.reader.read(1 << 20):
            got += len(data)
        return got

    async with serving(bind(echo, max_body=1 << 30, timeout=60)) as port, connected(port) as client:
        gc.collect()
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        await client.send(get("/", f"content-length: {size}", method="POST"))
        async with anyio.create_task_group() as tasks:
            received: list[int] = []

            async def receive() -> None:
                received.append(await drain(client))

            tasks.start_soon(receive)
            for _ in range(size // len(piece)):
                await client.send(piece)
        assert received[0] >= size
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 24 * 1024, f"{grown} KiB more for {size >> 20} MiB"


async def test_nothing_is_read_from_the_client_before_the_guest_reads() -> None:
    async def idle(_: Any, exchange: HttpExchange) -> None:
        await anyio.sleep_forever()

    async with serving(bind(idle, max_body=1 << 30, timeout=30)) as port:
        sock = socket.create_connection(("127.0.0.1", port))
        sock.setblocking(False)
        sent = 0
        with contextlib.closing(sock):
            await anyio.to_thread.run_sync(sock.sendall, get("/", "content-length: 900000000", method="POST"))
            for _ in range(400):
                with contextlib.suppress(BlockingIOError):
                    sent += sock.send(bytes(65536))
                await anyio.sleep(0.001)
        assert sent < 16 * 2**20, "only buffers can have been filled"


# ---------------------------------------------------------------- the trigger's life


async def test_port_in_use_is_said_with_a_fix() -> None:
    async with serving(bind(hello)) as port:
        trigger = http(f"127.0.0.1:{port}")
        with pytest.raises(FailureError, match=rf"(?s)cannot listen on 127.0.0.1:{port}.*in use.*listen = "):
            await trigger.serve(task_status=anyio.TASK_STATUS_IGNORED)


@pytest.mark.parametrize("listen", ["192.0.2.1:80", "no-such-host.invalid:80"])
async def test_an_address_that_is_not_ours_is_said_with_a_fix(listen: str) -> None:
    with pytest.raises(FailureError, match=r"(?s)cannot listen on.*127\.0\.0\.1"):
        await http(listen).serve(task_status=anyio.TASK_STATUS_IGNORED)


async def test_ipv6_and_the_report() -> None:
    if not socket.has_ipv6:
        pytest.skip("no IPv6 here")
    trigger = http("[::1]:0", bind(hello))
    async with anyio.create_task_group() as tasks:
        report = await tasks.start(partial(trigger.serve))
        assert report["url"].startswith("http://[::1]:")
        assert not report["url"].endswith(":0")
        tasks.cancel_scope.cancel()


async def test_draining_lets_what_is_under_way_end_and_takes_nothing_new() -> None:
    begun, release = anyio.Event(), anyio.Event()

    async def held(_: Any, exchange: HttpExchange) -> None:
        begun.set()
        await release.wait()
        await hello(_, exchange)

    trigger = http("127.0.0.1:0", bind(held, host="localhost"))
    async with anyio.create_task_group() as tasks:
        report = await tasks.start(partial(trigger.serve))
        port = int(report["listen"].rpartition(":")[2])
        async with connected(port) as client, connected(port) as idle, connected(port) as late_by_a_moment:
            await client.send(get(close=False))
            await begun.wait()
            tasks.start_soon(trigger.drain)
            await anyio.sleep(0.02)
            await late_by_a_moment.send(b"GET /nowhere HTTP/1.1\r\nhost: elsewhere\r\n\r\n")
            assert (await late_by_a_moment.response()).headers["connection"] == "close"
            assert await idle.rest() == b"", "idle connections are closed"
            with pytest.raises(OSError):  # noqa: PT012
                async with connected(port) as late:
                    await late.send(get())
                    if not await late.rest():
                        raise ConnectionResetError
            release.set()
            assert (await client.response()).body == b"hello"
            assert await client.rest() == b""


async def test_draining_ends_a_connection_whose_answer_came_before_the_end_of_its_request() -> None:
    trigger = http("127.0.0.1:0", bind(hello))
    async with anyio.create_task_group() as tasks:
        report = await tasks.start(partial(trigger.serve))
        async with connected(int(report["listen"].rpartition(":")[2])) as client:
            await client.send(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\na")
            assert (await client.response()).body == b"hello"
            with anyio.fail_after(5):
                async with anyio.create_task_group() as draining:
                    draining.start_soon(trigger.drain)
                    await anyio.sleep(0.2)
                    await client.send(b"b")
                    assert await client.rest() == b""


async def test_another_one_takes_over_and_nobody_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wasmplex.triggers.http.http1.server._LAST", 0.5)
    begun, release = anyio.Event(), anyio.Event()

    async def old(_: Any, exchange: HttpExchange) -> None:
        if exchange.path_with_query == "/held":
            begun.set()
            await release.wait()
        await hello(_, exchange)

    settings = HttpSettings(listen="127.0.0.1:0")  # type: ignore[arg-type]
    shared = await HttpTrigger().share(settings)
    port = shared[0].getsockname()[1]
    with shared[0]:
        first = http("127.0.0.1:0", bind(old), sockets=[shared[0].dup()])
        second = http("127.0.0.1:0", bind(echo), sockets=[shared[0].dup()])
    with pytest.raises(ConnectionRefusedError):
        # Bound, and not served yet: who looks whether the host is up must not think so.
        socket.create_connection(("127.0.0.1", port), timeout=5)
    async with anyio.create_task_group() as tasks:
        await tasks.start(partial(first.serve))
        async with connected(port) as held, connected(port) as quick, connected(port) as idle:
            for client in (held, quick, idle):
                await client.send(get(close=False))
                assert (await client.response()).body == b"hello"
            await held.send(get("/held", close=False))
            await begun.wait()
            await tasks.start(partial(second.serve))
            relieved = anyio.Event()

            async def relieve() -> None:
                await first.relieve()
                relieved.set()

            tasks.start_soon(relieve)
            await anyio.sleep(0.1)
            await quick.send(get(close=False))  # the connection is there: its request is answered
            response = await quick.response()
            assert (response.body, response.headers["connection"]) == (b"hello", "close")
            assert await quick.rest() == b""
            for _ in range(20):  # and every new one is the other's
                assert (await exchange(port, post(b"new"))).body == b"new"
            assert await idle.rest() == b""
            assert not relieved.is_set()
            release.set()
            assert (await held.response()).headers["connection"] == "close"
            await relieved.wait()
        tasks.cancel_scope.cancel()


async def test_cancelling_cuts_what_is_under_way() -> None:
    begun = anyio.Event()
    binding = bind(lambda i, e: held(i, e), timeout=30)

    async def held(_: Any, exchange: HttpExchange) -> None:
        begun.set()
        await anyio.sleep_forever()

    async with contextlib.AsyncExitStack() as stack:
        async with serving(binding) as port:
            client = await stack.enter_async_context(connected(port))
            await client.send(get())
            await begun.wait()
        with contextlib.suppress(ConnectionResetError):
            assert await client.rest() == b""
    assert binding.workload.free == 64  # type: ignore[attr-defined]


async def test_the_access_log_has_a_line_for_each_request(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "wasmplex.http.access")
    async with serving(bind(hello), access_log=True) as port:
        await exchange(port, get("/logged?secret"))
    [record] = [r for r in caplog.records if r.name == "wasmplex.http.access"]
    assert record.getMessage().startswith("127.0.0.1 GET /logged 200 ")


async def test_requests_leave_nothing_for_the_garbage_collector() -> None:
    async with serving(bind(echo)) as port, connected(port) as client:
        for count in (3, 30):
            # What earlier tests have left may take several collections: what one frees lets go of more.
            for _ in range(10):
                if not gc.collect():
                    break
            gc.disable()
            try:
                for _ in range(count):
                    await client.send(post(b"body", close=False))
                    await client.response()
                found = gc.collect()
            finally:
                gc.enable()
            assert found < 30, f"{found} objects of {count} requests refer to each other"


async def test_connections_leave_nothing_for_the_garbage_collector() -> None:
    async with serving(bind(echo)) as port:
        await exchange(port, post(b"body"))
        for _ in range(10):
            if not gc.collect():
                break
        gc.disable()
        logging.disable()  # what a test before has set to DEBUG is kept by pytest, with whom it is about
        try:
            before = sum(type(one) is Connection for one in gc.get_objects())
            for _ in range(30):
                await exchange(port, post(b"body"))
            left = sum(type(one) is Connection for one in gc.get_objects()) - before
        finally:
            logging.disable(logging.NOTSET)
            gc.enable()
    assert left < 5, f"{left} of 30 connections that have ended refer to themselves"
