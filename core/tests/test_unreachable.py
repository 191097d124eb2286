"""Why a server cannot be reached: in the same words on every event loop, and without an address."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import ssl
from collections.abc import Iterator

import pytest
from wasmplex.testing.loops import EVENT_LOOPS, EventLoop
from wasmplex.testing.servers.process import free_port
from wasmplex.unreachable import why_unreachable

pytestmark = pytest.mark.anyio

REFUSED = os.strerror(errno.ECONNREFUSED)


@pytest.fixture(params=EVENT_LOOPS.values(), ids=list(EVENT_LOOPS))
def anyio_backend(request: pytest.FixtureRequest) -> EventLoop:
    loop: EventLoop = request.param
    return loop


async def refusal(host: str, port: int, tls: ssl.SSLContext | None = None) -> OSError:
    with pytest.raises(OSError) as caught:
        await asyncio.get_running_loop().create_connection(asyncio.Protocol, host, port, ssl=tls)
    return caught.value


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_a_refused_connection(host: str) -> None:
    error = await refusal(host, free_port())
    assert why_unreachable(error) == REFUSED
    wrapped = RuntimeError("a library's own")
    wrapped.__cause__ = error
    assert why_unreachable(wrapped) == REFUSED


async def test_a_name_without_an_address() -> None:
    error = await refusal("no-such-host.invalid", 1)
    assert isinstance(error, socket.gaierror)
    assert why_unreachable(error) == error.strerror


async def test_a_server_without_tls() -> None:
    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(greet, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        error = await refusal("127.0.0.1", port, ssl.create_default_context())
    assert why_unreachable(error) == "TLS: wrong version number"


@pytest.fixture
def plain_loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


def test_a_name_with_two_addresses(
    plain_loop: asyncio.AbstractEventLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """asyncio has then one error without a number, with all texts in its own."""
    port = free_port()

    async def two(*_: object, **__: object) -> list[tuple[object, ...]]:
        kind = (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "")
        return [(*kind, ("127.0.0.1", port)), (*kind, ("127.0.0.2", port))]

    monkeypatch.setattr(plain_loop, "getaddrinfo", two)
    error = plain_loop.run_until_complete(refusal("two", port))
    assert "Multiple exceptions" in str(error)
    assert why_unreachable(error) == REFUSED


def test_two_addresses_that_fail_in_two_ways() -> None:
    """As asyncio and uvloop put them into one."""
    error = OSError("Multiple exceptions: [Errno 101] x ('::1', 1, 0, 0), [Errno 111] x ('127.0.0.1', 1)")
    assert why_unreachable(error) == f"{os.strerror(101)}, {os.strerror(111)}"


def test_what_tells_nothing_and_what_only_time_tells() -> None:
    assert why_unreachable(TimeoutError()) == "no answer from the server"
    assert why_unreachable(TimeoutError(errno.ETIMEDOUT, "x")) == os.strerror(errno.ETIMEDOUT)
    assert why_unreachable(ValueError("no")) == ""
    assert why_unreachable(ConnectionError("closed by the library")) == ""


def test_what_was_handled_before_is_no_cause_of_an_error_of_the_system() -> None:
    error, before = ConnectionRefusedError(errno.ECONNREFUSED, "x"), FileNotFoundError(errno.ENOENT, "x")
    error.__context__ = before
    assert why_unreachable(error) == REFUSED
