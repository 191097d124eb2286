"""Requests of a guest under `wasmplex run`, as a server of raw sockets sees them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from functools import partial

import anyio.to_thread
import guests
import pytest
from origins import Origin, answering, listening, recording
from serving import Running, running

pytestmark = pytest.mark.anyio
PROXY = """
[http]
listen = "127.0.0.1:0"
[workload.proxy]
component = "{component}"
trigger.http = {{ path = "/" }}
allowed_hosts = ["127.0.0.1"]
[workload.small]
component = "{component}"
trigger.http = {{ path = "/", host = "small" }}
allowed_hosts = ["127.0.0.1"]
default."wasi:http" = {{ max_head = "1KiB" }}
limits = {{ outgoing_requests = 1 }}
"""


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    """Say what this side runs on; the command has its own."""
    return "asyncio"


@pytest.fixture(scope="module")
async def host(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Running]:
    path = tmp_path_factory.mktemp("out") / "host.toml"
    path.write_text(PROXY.format(component=guests.path("proxy")))
    with running(path) as process:
        await anyio.to_thread.run_sync(lambda: process.url)
        yield process


async def ask(
    host: Running, origin: int, path: str, *lines: bytes, method: str = "GET", workload: str = "proxy"
) -> bytes:
    """Have a guest request a path of a server, and return what it answers."""
    address, _, port = host.url.removeprefix("http://").rstrip("/").partition(":")
    reader, writer = await asyncio.open_connection(address, int(port), limit=1 << 20)
    target = f"/?to=127.0.0.1:{origin}&path={path}"
    writer.write(f"{method} {target} HTTP/1.1\r\nhost: {workload}\r\nconnection: close\r\n".encode())
    writer.write(b"".join(line + b"\r\n" for line in lines) + b"\r\n")
    try:
        with anyio.fail_after(30):
            return await reader.read(-1)
    finally:
        writer.close()


def one(origin: Origin) -> bytes:
    """Return the head of the one request that came."""
    ((head, _),) = origin.requests
    return head.replace(b"127.0.0.1:%d" % origin.port, b"HOST")


@pytest.mark.parametrize("method", ["GET", "PuRGE", "get", "DELETE"])
async def test_a_request_leaves_as_it_was_made(host: Running, method: str) -> None:
    async with recording() as origin:
        lines = (b"X-A: caf\xc3\xa9", b"x-b: \xe9", b"x-a: 2", b"not-passed-on: 1")
        answer = await ask(host, origin.port, "/a%2Fb?", *lines, method=method)
        assert answer.startswith(b"HTTP/1.1 200 ")
        line, *headers = one(origin).split(b"\r\n")
        assert line == method.encode() + b" /a%2Fb? HTTP/1.1"
        assert [header.lower() for header in headers[1:4]] == [b"x-a: caf\xc3\xa9", b"x-b: \xe9", b"x-a: 2"]
        assert [*headers[:1], *headers[4:]] == [b"Host: HOST", b"", b""]


async def test_the_whole_server_is_asked_for_its_options_and_for_nothing_else(host: Running) -> None:
    async with recording() as origin:
        assert b"error=19\n" in await ask(host, origin.port, "*")
        await ask(host, origin.port, "*", method="OPTIONS")
        assert one(origin).startswith(b"OPTIONS * HTTP/1.1\r\n")


async def test_a_large_head_is_taken_up_to_the_limit_which_is_logged(host: Running) -> None:
    large = b"HTTP/1.1 200 OK\r\nx-large: " + b"v" * 60_000 + b"\r\ncontent-length: 2\r\n\r\nok"
    async with listening(answering(large)) as port:
        assert (await ask(host, port, "/")).endswith(b"ok")
        assert b"error=26\n" in await ask(host, port, "/", workload="small")
    assert f"a request to 127.0.0.1:{port} failed: HTTP-response-header-section-size" in host.log()
    assert "max_head, 1024 bytes" in host.log()


async def test_requests_under_way_are_bounded_by_a_limit_which_is_logged(host: Running) -> None:
    here = anyio.Event()

    async def serve(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        here.set()
        await reader.read(-1)

    async with listening(serve) as port, anyio.create_task_group() as tasks:
        tasks.start_soon(partial(ask, host, port, "/", workload="small"))
        with anyio.fail_after(30):
            await here.wait()
        assert b"error=38\n" in await ask(host, port, "/", workload="small")
        tasks.cancel_scope.cancel()
    assert "limits.outgoing_requests: 1 requests of this workload are under way" in host.log()
