"""When a connection is used again, when not, and that all of them are closed."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest
from host_plugin_wasi.http.client import OutgoingHandler
from host_plugin_wasi.http.messages import IncomingResponse, RequestOptions
from host_plugin_wasi.http.outgoing import OutgoingBody
from origins import OK, Serve, answering, listening, recording
from outgoing import client, fetch, read, request, response, write
from wasmplex.plugin import Variant

pytestmark = pytest.mark.anyio


async def until(condition: Callable[[], object]) -> None:
    with anyio.fail_after(10):
        while not condition():  # noqa: ASYNC110  there is no event for what the other side sees
            await anyio.sleep(0.002)


def counting(serve: Serve) -> tuple[Serve, list[int]]:
    """Count connections, and those that have ended."""
    counts = [0, 0]

    async def counted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        counts[0] += 1
        try:
            await serve(reader, writer)
        finally:
            counts[1] += 1

    return counted, counts


# ---------------------------------------------------------------- used again, or not


@pytest.mark.parametrize(
    ("answer", "connections"),
    [
        (OK, 1),
        (b"HTTP/1.1 200 OK\r\ncontent-length: " + b"0" * 5000 + b"2\r\n\r\nok", 1),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nx-a: b\r\n\r\n", 1),
        (b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok", 3),
        (b"HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 2\r\n\r\nok", 3),
        (OK + b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nwrong", 3),
        (OK + b"\r\n", 3),
    ],
)
async def test_a_connection_is_used_again_when_the_response_has_ended_well(
    answer: bytes, connections: int
) -> None:
    serve, counts = counting(answering(answer))
    async with listening(serve) as port, client() as handler:
        for _ in range(3):
            assert await fetch(handler, request(port)) == (200, b"ok")
    assert counts[0] == connections


@pytest.mark.parametrize(
    "answer", [b"HTTP/1.1 204 x\r\n\r\n", b"HTTP/1.1 304 x\r\ncontent-length: 5\r\n\r\n", OK, OK + b"hello"]
)
async def test_a_response_that_nobody_reads_does_not_cost_its_connection_if_it_is_here(answer: bytes) -> None:
    serve, counts = counting(answering(answer))
    async with listening(serve) as port, client() as handler:
        for _ in range(3):
            (await response(handler.handle(request(port), None))).drop()
    assert counts[0] == (1 if answer != OK + b"hello" else 3)


async def test_a_response_that_is_given_up_costs_its_connection() -> None:
    serve, counts = counting(answering(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello"))
    async with listening(serve) as port, client() as handler:
        for _ in range(3):
            (await response(handler.handle(request(port), None))).drop()
        await until(lambda: counts[1] == 3)


async def test_what_is_for_one_server_never_goes_to_another() -> None:
    async with recording() as first, recording() as second, client() as handler:
        for n in range(4):
            for origin, name in ((first, "first"), (second, "second")):
                assert await fetch(handler, request(origin.port, f"/{name}/{n}")) == (200, b"ok")
        for origin, name in ((first, "first"), (second, "second")):
            paths = [head.split(b" ")[1].decode() for head, _ in origin.requests]
            assert paths == [f"/{name}/{n}" for n in range(4)]
            assert len(origin.connections) == 1


async def test_what_comes_unasked_on_an_idle_connection_answers_no_request() -> None:
    go = anyio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK)
        await go.wait()
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nwrong")
        await reader.read(-1)

    counted, counts = counting(serve)
    async with listening(counted) as port, client() as handler:
        assert await fetch(handler, request(port)) == (200, b"ok")
        go.set()
        await until(lambda: counts[1] == 1)
        assert await fetch(handler, request(port)) == (200, b"ok")
    assert counts[0] == 2


async def test_a_server_that_has_left_is_seen_before_the_next_request_is_sent() -> None:
    """Also if the event loop has had no time to hear of it: the system is asked."""
    sockets = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        sockets.append(writer.get_extra_info("socket").fileno())
        await answering(OK)(reader, writer)

    async with listening(serve) as port, client() as handler:
        for n in range(1, 4):
            assert await fetch(handler, request(port, method="post")) == (200, b"ok")
            assert len(sockets) == n
            with socket.socket(fileno=os.dup(sockets[-1])) as same:
                same.shutdown(socket.SHUT_RDWR)


def leaving(*, after: int, said: bytes = b"") -> Serve:
    """Answer some requests of each connection, and leave at the next with what is `said`."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(after):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(OK)
        await reader.readuntil(b"\r\n\r\n")
        writer.write(said)

    return serve


@pytest.mark.parametrize("method", ["get", "head", "options", "put", "delete"])
async def test_a_request_that_may_be_repeated_is_when_the_server_leaves_at_it(method: str) -> None:
    """RFC 9110 section 9.2.2, RFC 9112 section 9.3.1."""
    serve, counts = counting(leaving(after=1))
    async with listening(serve) as port, client() as handler:
        for _ in range(3):
            assert (await fetch(handler, request(port, method=method)))[0] == 200
    assert counts[0] == 3


@pytest.mark.parametrize("method", ["post", "patch", "get ", "PURGE"])
async def test_a_request_that_may_not_be_repeated_is_not(method: str) -> None:
    serve, counts = counting(leaving(after=1))
    async with listening(serve) as port, client() as handler:
        made = request(port, method=method.strip()) if method != "get " else request(port)
        if method == "get ":
            made.set_method(Variant("other", "get"))
        assert await fetch(handler, request(port)) == (200, b"ok")
        assert await fetch(handler, made) == Variant("connection-terminated")
    assert counts[0] == 1


async def test_a_request_is_not_repeated_once_anything_of_an_answer_came() -> None:
    serve, counts = counting(leaving(after=1, said=b"HTTP/1.1 2"))
    async with listening(serve) as port, client() as handler:
        assert await fetch(handler, request(port)) == (200, b"ok")
        assert await fetch(handler, request(port)) == Variant("connection-terminated")
    assert counts[0] == 1


async def test_a_request_over_a_new_connection_is_not_repeated() -> None:
    serve, counts = counting(leaving(after=0))
    async with listening(serve) as port, client() as handler:
        assert await fetch(handler, request(port)) == Variant("connection-terminated")
    assert counts[0] == 1


async def test_a_body_that_was_there_is_sent_again_and_one_that_came_is_not() -> None:
    bodies: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first = not bodies
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            bodies.append(await reader.readexactly(4) if b"Content-Length: 4" in head else b"")
            if len(bodies) in (2, 4):
                return
            writer.write(OK)
            if not first and b"chunked" in head:
                return

    async with listening(serve) as port, client() as handler:
        assert await fetch(handler, request(port, method="get")) == (200, b"ok")
        made = request(port, method="put")
        body = made.body()
        await write(body, b"body")
        OutgoingBody.finish(body, None)
        assert await fetch(handler, made) == (200, b"ok")
        assert bodies == [b"", b"body", b"body"]
        made = request(port, method="put")
        body = made.body()
        future = handler.handle(made, None)
        await until(lambda: len(bodies) == 4)
        assert await response(future) == Variant("connection-terminated")


# ---------------------------------------------------------------- how many


async def test_a_request_waits_for_a_connection_to_be_free() -> None:
    serve, counts = counting(answering(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"))
    async with listening(serve) as port, client(max_connections=2) as handler:
        held = [await response(handler.handle(request(port), None)) for _ in range(2)]
        third = handler.handle(request(port), None)
        await anyio.sleep(0.05)
        assert counts[0] == 2
        assert third.get() is None
        held[0].drop()
        got = await response(third)
        assert (got.status(), counts[0]) == (200, 3)


async def test_a_request_does_not_wait_for_a_connection_for_ever() -> None:
    serve, _ = counting(answering(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"))
    soon = RequestOptions()
    soon.set_connect_timeout(50_000_000)  # of the one alone that waits in vain
    async with listening(serve) as port, client(max_connections=1) as handler:
        held = await response(handler.handle(request(port), None))
        refused = await response(handler.handle(request(port), soon))
        assert refused == Variant("connection-limit-reached")
        held.drop()
        assert isinstance(await response(handler.handle(request(port), None)), IncomingResponse)


async def test_an_idle_connection_makes_room_for_one_to_somebody_else() -> None:
    async with recording() as first, recording() as second, client(max_connections=1) as handler:
        for _ in range(3):
            assert await fetch(handler, request(first.port)) == (200, b"ok")
            assert await fetch(handler, request(second.port)) == (200, b"ok")
        assert (len(first.connections), len(second.connections)) == (3, 3)


async def test_who_gives_up_waiting_leaves_the_turn_to_the_next() -> None:
    async with (
        listening(answering(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")) as port,
        client(max_connections=1) as handler,
    ):
        for _ in range(20):
            held = await response(handler.handle(request(port), None))
            first, second = handler.handle(request(port), None), handler.handle(request(port), None)
            await asyncio.sleep(0)
            held.drop()
            first.drop()
            (await response(second)).drop()


async def test_many_requests_over_few_connections_are_all_answered() -> None:
    async with recording() as origin, client(max_connections=5) as handler:
        async with anyio.create_task_group() as tasks:

            async def some() -> None:
                for _ in range(10):
                    assert await fetch(handler, request(origin.port)) == (200, b"ok")

            for _ in range(20):
                tasks.start_soon(some)
        assert len(origin.requests) == 200
        assert len(origin.connections) <= 5


async def test_an_idle_connection_is_closed_after_a_time() -> None:
    serve, counts = counting(answering(OK))
    async with listening(serve) as port, client(keep_alive=0.05) as handler:
        assert await fetch(handler, request(port)) == (200, b"ok")
        await until(lambda: counts[1] == 1)


async def test_no_connection_is_kept_if_none_is_to_be() -> None:
    serve, counts = counting(answering(OK))
    async with listening(serve) as port, client(keep_alive=0) as handler:
        for _ in range(2):
            assert await fetch(handler, request(port)) == (200, b"ok")
        await until(lambda: counts == [2, 2])


# ---------------------------------------------------------------- all closed


async def test_nothing_is_left_of_a_workload_whatever_it_was_doing() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        if b"/hang" not in head:
            writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n")
            if b"/whole" in head:
                writer.write(b"0\r\n\r\n")
        await reader.read(-1)

    async def busy(handler: OutgoingHandler, port: int) -> None:
        assert await fetch(handler, request(port, "/whole")) == (200, b"a")
        handler.handle(request(port, "/hang"), None)
        (await response(handler.handle(request(port, "/half"), None))).consume().stream()
        made = request(port, "/half", method="post")
        body = made.body()
        handler.handle(made, None)
        await write(body, b"part")
        made = request(1, "/")
        made.set_authority("10.255.255.1")
        handler.handle(made, None)
        await anyio.sleep(0.02)

    async with listening(serve) as port:
        before = descriptors()
        tasks = len(asyncio.all_tasks())
        for _ in range(3):
            async with client() as handler:
                await busy(handler, port)
        await until(lambda: descriptors() == before)
        assert len(asyncio.all_tasks()) <= tasks


@pytest.mark.parametrize(
    "answer",
    [
        OK,
        b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/2",
        b"",
    ],
)
async def test_nothing_of_a_request_waits_for_a_garbage_collection(answer: bytes) -> None:
    """Full ones are seldom: what they find would pile up until then."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer)
            if answer != OK:
                return

    async with listening(serve) as port, client() as handler:
        await fetch(handler, request(port))
        gc.collect()
        gc.disable()
        gc.set_debug(gc.DEBUG_SAVEALL)
        try:
            for _ in range(3):
                await fetch(handler, request(port))
                await anyio.sleep(0.01)
            gc.collect()
            left = [type(it) for it in gc.garbage if type(it).__module__.startswith("host_plugin_wasi")]
        finally:
            gc.set_debug(0)
            gc.garbage.clear()
            gc.enable()
    assert left == []


def descriptors() -> int:
    gc.collect()
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


async def test_guests_may_ask_for_less_time_than_the_host_allows_and_not_for_more() -> None:
    options = RequestOptions()
    options.set_first_byte_timeout(3_600_000_000_000)
    async with listening(lambda r, _: r.read(-1)) as port, client(first_byte_timeout=0.05) as handler:
        with anyio.fail_after(10):
            assert await response(handler.handle(request(port), options)) == Variant(
                "connection-read-timeout"
            )


async def test_a_body_may_pause_no_longer_than_the_host_allows() -> None:
    serve = answering(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello")
    async with listening(serve) as port, client(between_bytes_timeout=0.05) as handler:
        got = await response(handler.handle(request(port), None))
        with anyio.fail_after(10):
            assert await read(got.consume()) == b"hello"
