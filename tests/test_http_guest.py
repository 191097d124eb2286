"""A guest behind the HTTP trigger: what clients get, whatever the guest does."""

import asyncio
import contextlib
import gc
import io
import logging
import os
import re
import resource
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import aiohttp
import anyio
import guests
import pytest
from aiohttp import web
from wasmplex.component.images import without_images
from wasmplex.engine.images import Image, possible
from wasmplex.engine.memory import RAW
from wasmplex.host import Host
from wasmplex.testing.loops import everything

pytestmark = pytest.mark.anyio

PYTHON = pytest.mark.skipif(
    not everything(), reason="a second guest in Python is compiled for half a minute: make test-all does"
)
"""`make test` has one guest that is made of Python, the example."""

Serve = Callable[..., AbstractAsyncContextManager["Client"]]


class Client:
    def __init__(self, host: Host, session: aiohttp.ClientSession) -> None:
        self.host = host
        self.session = session
        self.port = int(host.addresses["http"]["listen"].rpartition(":")[2])

    async def get(self, path: str, method: str = "GET", **options: object) -> tuple[int, bytes]:
        async with self.session.request(method, path, **options) as response:  # type: ignore[arg-type]
            return response.status, await response.read()

    async def raw(self, request: str) -> bytes:
        """Send bytes on a connection of their own; return all that comes until it is closed."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(request.encode())
        try:
            return await asyncio.wait_for(reader.read(-1), 20)
        finally:
            writer.close()


@pytest.fixture
def serve(tmp_path: Path) -> Serve:
    @contextlib.asynccontextmanager
    async def start(
        settings: str = "", guest: str = "lab", component: Path | None = None
    ) -> AsyncIterator[Client]:
        path = tmp_path / "host.toml"
        path.write_text(
            '[http]\nlisten = "127.0.0.1:0"\n'
            f'[workload.w]\ncomponent = "{component or guests.path(guest)}"\n'
            f'trigger.http = {{ path = "/" }}\n{settings}\n'
        )
        started, stop = anyio.Event(), anyio.Event()
        async with Host.from_config(path) as host, anyio.create_task_group() as tasks:

            async def run() -> None:
                await host.serve(stop, started=started.set)

            tasks.start_soon(run)
            await started.wait()
            base, limits = host.addresses["http"]["url"], aiohttp.ClientTimeout(total=30)
            async with aiohttp.ClientSession(base, timeout=limits, auto_decompress=False) as session:
                yield Client(host, session)
            stop.set()

    return start


async def test_hello(serve: Serve) -> None:
    async with serve(guest="hello") as client, client.session.get("/anything") as response:
        assert (response.status, await response.read()) == (200, b"hello, world\n")
        assert response.headers["content-length"] == "13"
        assert response.headers["server"] == "wasmplex"


async def test_the_request_is_what_the_client_sent(serve: Serve) -> None:
    async with serve() as client:
        raw = (
            "PURGE /request?a=%2F HTTP/1.1\r\nHost: shop.example:81\r\nX-Twice: 1\r\nx-twice: 2\r\n"
            "connection: close\r\n\r\n"
        )
        lines = (await client.raw(raw)).decode().split("\r\n\r\n", 1)[1].splitlines()
    assert lines == [
        "method: PURGE", "path: /request?a=%2F", "authority: shop.example:81", "x-twice: 1", "x-twice: 2",
    ]  # fmt: skip


async def test_headers_come_back_in_order_with_duplicates(serve: Serve) -> None:
    async with serve() as client:
        headers = [("x-b", "1"), ("x-a", "\u00e9"), ("x-b", "2")]
        async with client.session.get("/headers", headers=headers) as response:
            got = [(n.lower(), v) for n, v in response.raw_headers if n.lower().startswith(b"x-")]
    assert got == [(b"x-b", b"1"), (b"x-a", "\u00e9".encode()), (b"x-b", b"2")]


@pytest.mark.parametrize("size", [0, 1, 65536, 5_000_000])
async def test_a_body_goes_in_and_comes_back(serve: Serve, size: int) -> None:
    body = bytes(range(256)) * (size // 256 + 1)
    async with serve() as client:
        assert await client.get("/echo", "POST", data=io.BytesIO(body[:size])) == (200, body[:size])


async def test_trailers_go_in_and_come_back(serve: Serve) -> None:
    raw = (
        "POST /echo HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n"
        "4\r\nbody\r\n0\r\nX-Sum: 1\r\n\r\n"
    )
    async with serve() as client:
        assert (await client.raw(raw)).endswith(b"4\r\nbody\r\n0\r\nx-sum: 1\r\n\r\n")
        assert b"0\r\nx-last: word\r\n\r\n" in await client.raw(
            "GET /trailers HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"
        )


async def test_big_bodies_need_little_memory(serve: Serve) -> None:
    count, piece = 384, bytes((i ^ i >> 8) & 255 for i in range(65536))

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(count):
            yield piece

    expected = 1
    for _ in range(count):
        expected = zlib.adler32(piece, expected)
    async with serve('limits = { max_body = "1GiB", timeout = "50s" }') as client:
        await client.get("/count", "POST", data=b"warm up")
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        said = await client.get("/count", "POST", data=pieces())
        assert said == (200, f"bytes={count * 65536} adler32={expected}\n".encode())
        checksum = 1
        async with client.session.get(f"/big?n={count * 65536}") as response:
            async for received in response.content.iter_any():
                checksum = zlib.adler32(received, checksum)
        assert checksum == expected
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 16 * 1024, f"{grown} KiB more for 24 MiB"


async def test_head_has_no_body(serve: Serve) -> None:
    async with serve() as client:
        raw = await client.raw("HEAD /hello HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
    assert raw.startswith(b"HTTP/1.1 200 ")
    assert raw.endswith(b"\r\n\r\n")
    assert b"content-length: 13\r\n" in raw


async def test_a_guest_that_does_not_answer_is_502_with_an_id(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    async with serve() as client:
        for path in ("/trap", "/none", "/error", "/unfinished"):
            status, said = await client.get(path, headers={"x-request-id": f"id-{path[1:]}"})
            assert status == 502, path
            assert f"id-{path[1:]}".encode() in said
        assert await client.get("/hello") == (200, b"hello, world\n")
    records = [r for r in caplog.records if r.name == "wasmplex.http"]
    logged = "\n".join(f"{vars(r)['request_id']}: {r.getMessage()}" for r in records)
    for cause in ("id-trap", "unreachable", "response-outparam", "lab says no", "before the end"):
        assert cause in logged


async def test_a_guest_that_breaks_off_cuts_the_connection(serve: Serve) -> None:
    async with serve() as client:
        raw = await client.raw("GET /short HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
        assert raw.startswith(b"HTTP/1.1 502 "), "nothing had left yet"
        raw = await client.raw("GET /half?n=70000 HTTP/1.1\r\nhost: a\r\n\r\n")
        assert raw.startswith(b"HTTP/1.1 200 ")
        assert not raw.endswith(b"0\r\n\r\n")


async def test_a_loop_ends_at_its_deadline_while_others_are_answered(serve: Serve) -> None:
    async with serve('limits = { timeout = "1s" }') as client:
        async with anyio.create_task_group() as tasks:
            statuses = []

            async def loop() -> None:
                statuses.append((await client.get("/loop"))[0])

            tasks.start_soon(loop)
            await anyio.sleep(0.05)
            answered = 0
            while not statuses:
                assert (await client.get("/hello"))[0] == 200
                answered += 1
        assert statuses == [504]
        assert answered > 5


async def test_deadline_in_the_answer_cuts_the_connection(serve: Serve) -> None:
    async with serve('limits = { timeout = "300ms" }') as client:
        raw = await client.raw("GET /endless HTTP/1.1\r\nhost: a\r\n\r\n")
    assert b"and so on" in raw
    assert not raw.endswith(b"0\r\n\r\n")


async def test_memory_above_the_limit_is_the_guests_to_deal_with(serve: Serve) -> None:
    async with serve('limits = { memory = "4MiB" }') as client:
        status, said = await client.get("/grow")
    assert status == 200
    assert int(re.findall(rb"pages=(\d+)", said)[0]) <= 64


async def test_full_is_503(serve: Serve) -> None:
    async with serve("instances = { max = 1, queue = 0 }") as client, anyio.create_task_group() as tasks:

        async def occupy() -> None:
            await client.get("/sleep?ms=700")

        tasks.start_soon(occupy)
        await anyio.sleep(0.2)
        async with client.session.get("/hello") as response:
            assert response.status == 503
            assert response.headers["retry-after"] == "1"
        tasks.cancel_scope.cancel()


async def test_body_over_the_limit_is_413(serve: Serve) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(4):
            yield bytes(1000)

    async with serve('limits = { max_body = "2kB" }') as client:
        assert (await client.get("/echo", "POST", data=bytes(2001)))[0] == 413
        with contextlib.suppress(aiohttp.ClientError):
            assert (await client.get("/count", "POST", data=pieces()))[0] == 413
        assert (await client.get("/hello"))[0] == 200


async def test_a_client_that_leaves_frees_the_instance(serve: Serve) -> None:
    async with serve("instances = { max = 1 }\nlimits = { timeout = 60 }") as client:
        _, writer = await asyncio.open_connection("127.0.0.1", client.port)
        writer.write(b"GET /sleep?ms=60000 HTTP/1.1\r\nhost: a\r\n\r\n")
        await anyio.sleep(0.2)
        writer.close()
        with anyio.fail_after(10):
            assert await client.get("/hello") == (200, b"hello, world\n")


async def test_answers_stream_and_work_after_the_answer_goes_on(serve: Serve) -> None:
    async with serve() as client:
        with anyio.fail_after(20):
            async with client.session.get("/endless") as response:
                assert await response.content.readline() == b"and so on\n"
            async with client.session.get("/after?ms=500") as response:
                assert await response.read() == b"answered\n"


async def test_instances_are_reused_or_fresh(serve: Serve) -> None:
    for reuse, expected in ((1, [b"1\n"] * 3), (2, [b"1\n", b"2\n", b"1\n"])):
        async with serve(f"instances = {{ max = 1, reuse = {reuse} }}") as client:
            assert [(await client.get("/instance"))[1] for _ in range(3)] == expected


async def test_many_at_once(serve: Serve) -> None:
    async with serve() as client, anyio.create_task_group() as tasks:

        async def one() -> None:
            assert (await client.get("/sleep?ms=100"))[1] == b"rested\n"

        for _ in range(60):
            tasks.start_soon(one)


async def test_what_a_guest_prints_is_logged(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with serve() as client:
        assert (await client.get("/print"))[1] == b"printed\n"
    assert "a line on stdout" in caplog.text
    assert "a line on stderr" in caplog.text


@pytest.mark.slow  # the first run compiles it
@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", [pytest.param("py-hello", marks=PYTHON), "qjs-hello", "js-hello"])
async def test_hello_of_every_toolchain(serve: Serve, name: str) -> None:
    async with serve(component=guests.compiled(name)) as client:
        for _ in range(3):
            assert await client.get("/") == (200, b"hello, world\n")


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.skipif(os.environ.get("WASMPLEX_TEST_OPTIMIZE") == "0", reason="no memory is kept then")
@pytest.mark.parametrize(
    ("name", "size"), [pytest.param("py-hello", 8 << 20, marks=PYTHON), ("qjs-hello", 1 << 20)]
)
async def test_fresh_instances_of_interpreters(serve: Serve, name: str, size: int) -> None:
    """Their memories are kept, and hold nothing of what was done in them."""
    component = guests.compiled(name)
    contents = {image.maximum: image for image in without_images(component.read_bytes())[1]}
    async with serve("instances = { reuse = 1 }", component=component) as client:
        for _ in range(3):
            async with anyio.create_task_group() as tasks:
                for _ in range(12):
                    tasks.start_soon(client.get, "/")
            assert await client.get("/") == (200, b"hello, world\n")
        for _ in range(3):  # what hosts before this one have left, and what that lets go of
            gc.collect()
        images = [found for found in gc.get_objects() if isinstance(found, Image)]
        if not possible():
            assert images == []
            pytest.skip("this system does not tell which pages were written to: no memory is kept")
        assert [image for image in images if image.size >= size]
        for image in images:
            expected = bytearray(image.size)
            for at, data in contents[image.maximum].segments:
                expected[at : at + len(data)] = data
            assert image.kept
            for base, _ in image._free:
                assert RAW[base : base + image.size] == expected


# ---------------------------------------------------------------- requests of the guest's own


@contextlib.asynccontextmanager
async def upstream(serve: Callable[..., Awaitable[None]]) -> AsyncIterator[str]:
    """Serve HTTP elsewhere on loopback; the value is ``host:port``."""

    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse()
        await serve(request, response)
        return response

    runner = web.ServerRunner(web.Server(handler), shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield site.name.removeprefix("http://")
    finally:
        await runner.cleanup()


async def echo(request: web.BaseRequest, response: web.StreamResponse) -> None:
    response.set_status(207)
    response.headers["x-seen"] = f"{request.method} {request.path_qs} {request.headers.get('x-mine')}"
    await response.prepare(request)
    async for piece in request.content.iter_any():
        await response.write(piece)
    await response.write_eof()


ANY = 'allowed_hosts = ["127.0.0.1"]'


async def test_a_guest_passes_a_request_on(serve: Serve) -> None:
    async with serve(ANY, "proxy") as client, upstream(echo) as to:
        url = f"/?to={to}&path=/there"
        async with client.session.put(url, data=b"body", headers={"x-mine": "1"}) as response:
            assert (response.status, await response.read()) == (207, b"body")
            assert response.headers["x-seen"] == "PUT /there 1"


async def test_bodies_stream_through_a_guest(serve: Serve) -> None:
    count, piece = 128, bytes(range(256)) * 256

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(count):
            yield piece

    async def swallow(request: web.BaseRequest, response: web.StreamResponse) -> None:
        checksum = 1
        async for got in request.content.iter_any():
            checksum = zlib.adler32(got, checksum)
        await response.prepare(request)
        await response.write(str(checksum).encode())

    expected = 1
    for _ in range(count):
        expected = zlib.adler32(piece, expected)
    async with serve(ANY + '\nlimits = { timeout = "40s" }', "proxy") as client, upstream(swallow) as to:
        said = await client.get(f"/?to={to}&path=/", "POST", data=pieces())
        assert said == (200, str(expected).encode())


async def test_a_guest_reaches_only_what_is_allowed(serve: Serve) -> None:
    async with upstream(echo) as to:
        for settings in ("", 'allowed_hosts = ["example.com", "*.test"]', 'allowed_hosts = ["127.0.0.1:1"]'):
            async with serve(settings, "proxy") as client:
                assert await client.get(f"/?to={to}&path=/") == (200, b"error=15\n"), settings


async def test_a_guest_is_told_what_went_wrong(serve: Serve) -> None:
    async def broken(request: web.BaseRequest, response: web.StreamResponse) -> None:
        assert request.transport is not None
        request.transport.abort()

    async with serve(ANY, "proxy") as client:
        async with upstream(broken) as to:
            assert await client.get(f"/?to={to}&path=/") == (200, b"error=7\n")
        assert await client.get(f"/?to={to}&path=/") == (200, b"error=6\n")


async def test_a_client_that_leaves_ends_the_guests_request(serve: Serve) -> None:
    begun, gone = anyio.Event(), anyio.Event()

    async def hanging(request: web.BaseRequest, response: web.StreamResponse) -> None:
        begun.set()
        while request.transport is not None and not request.transport.is_closing():  # noqa: ASYNC110
            await anyio.sleep(0.01)
        gone.set()

    async with serve(ANY + "\nlimits = { timeout = 60 }", "proxy") as client, upstream(hanging) as to:
        _, writer = await asyncio.open_connection("127.0.0.1", client.port)
        writer.write(f"GET /?to={to}&path=/ HTTP/1.1\r\nhost: a\r\n\r\n".encode())
        with anyio.fail_after(10):
            await begun.wait()
            writer.close()
            await gone.wait()
