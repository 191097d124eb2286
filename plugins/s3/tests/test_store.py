"""What only S3 does: parts, what killed hosts leave, credentials, what is wrong with an endpoint."""

from __future__ import annotations

import asyncio
import secrets
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from host_plugin_s3 import S3Provider, S3Settings
from host_plugin_s3.failures import failed
from host_plugin_s3.keys import Keys
from host_plugin_s3.leases import Lease, is_dead
from host_plugin_s3.store import Prefix, S3Backend
from hypothesis import given
from hypothesis import strategies as st
from obstore.exceptions import GenericError
from wasmplex.capabilities.blobstore import (
    PIECE,
    AccessDenied,
    NoSuchContainer,
    NoSuchObject,
    QuotaExceeded,
    Reader,
    StoreUnavailable,
)
from wasmplex.plugin import BackendError, OpenContext
from wasmplex.testing.servers import S3Server, TcpProxy
from wasmplex.testing.servers.proxy import in_sockets

pytestmark = pytest.mark.anyio

texts = st.text(st.characters(codec="utf-8"), max_size=400)


@given(texts, texts, texts)
def test_a_key_is_one_that_servers_take(namespace: str, container: str, name: str) -> None:
    keys = Keys("p" * 200, namespace, container)
    key = keys.of(name)
    assert len(key.encode()) <= 1024
    assert all(0 < len(part) <= 255 and part not in (".", "..") for part in key.split("/"))
    assert key > keys.marker
    if keys.metadata(name) is None:
        assert keys.name(key) == name


@given(st.tuples(texts, texts, texts), st.tuples(texts, texts, texts))
def test_no_two_objects_share_a_key(one: tuple[str, str, str], other: tuple[str, str, str]) -> None:
    keys = [Keys("", *names[:2]).of(names[2]) for names in (one, other)]
    assert (keys[0] == keys[1]) is (one == other)


# ---------------------------------------------------------------- a store


def given_(server: S3Server, **other: Any) -> dict[str, Any]:
    settings = {
        "endpoint": server.url,
        "bucket": server.bucket,
        "access_key_id": server.access_key,
        "secret_access_key": server.secret_key,
    }
    return {key: value for key, value in {**settings, **other}.items() if value is not None}


@asynccontextmanager
async def opened(server: S3Server, **other: Any) -> AsyncIterator[S3Backend]:
    settings = S3Settings(**given_(server, **other))
    backend = await S3Provider().open(settings, OpenContext(base=Path()))
    try:
        yield backend
    finally:
        await backend.close()


@pytest.fixture
def prefix() -> str:
    return secrets.token_hex(6)


async def put(container: Prefix, name: str, *pieces: bytes) -> None:
    writer = await container.write_object(name)
    try:
        for piece in pieces:
            await writer.write(piece)
        await writer.commit()
    finally:
        await writer.close()


async def get(container: Prefix, name: str) -> bytes:
    reader = await container.read_object(name, 0, None)
    try:
        data = b""
        while piece := await reader.read():
            assert len(piece) <= PIECE
            data += piece
        return data
    finally:
        await reader.close()


def uploads(server: S3Server, prefix: str) -> int:
    status, body = server.ask("GET", f"/{server.bucket}", query={"uploads": "", "prefix": f"{prefix}/"})
    assert status == 200
    return body.count(b"<UploadId>")


PIECES = [bytes([n]) * PIECE for n in range(45)]
"""More than two parts of 5 MiB."""


@pytest.mark.parametrize("virtual_host", [False])
async def test_parts(server: S3Server, prefix: str, virtual_host: bool) -> None:
    async with opened(server, prefix=prefix, part_size=5 << 20, virtual_host=virtual_host) as store:
        container = await store.create_container("ns", "c")
        await put(container, "a", *PIECES)
        assert await get(container, "a") == b"".join(PIECES)
        assert uploads(server, prefix) == 0


async def test_an_upload_that_is_given_up_is_aborted(server: S3Server, prefix: str) -> None:
    async with opened(server, prefix=prefix, part_size=5 << 20) as store:
        container = await store.create_container("ns", "c")
        await put(container, "a", b"old")
        writer = await container.write_object("a")
        for piece in PIECES:
            await writer.write(piece)
        assert uploads(server, prefix) == 1
        await writer.close()
        assert uploads(server, prefix) == 0
        assert await get(container, "a") == b"old"


# ---------------------------------------------------------------- what killed hosts leave


async def _abandon(store: S3Backend) -> None:
    """Leave an upload as a killed host does."""
    container = await store.get_container("ns", "c")
    writer = await container.write_object("a")
    for piece in PIECES:
        await writer.write(piece)
    assert writer._upload is not None
    writer._upload.cancel()
    await asyncio.wait([writer._upload])
    await writer.close()


async def test_what_a_killed_host_leaves_is_aborted(server: S3Server, prefix: str) -> None:
    async with opened(server, prefix=prefix, part_size=5 << 20) as killed:
        await killed.create_container("ns", "c")
        await _abandon(killed)
        async with opened(server, prefix=prefix) as while_it_lives:
            assert while_it_lives._aborting is None
        assert uploads(server, prefix) == 1
        async with opened(server, prefix=f"{prefix}-other") as elsewhere:
            assert elsewhere._aborting is None
    async with opened(server, prefix=prefix) as after:
        assert after._aborting is not None
        await after._aborting
        assert uploads(server, prefix) == 0
        with pytest.raises(NoSuchObject):
            await (await after.get_container("ns", "c")).object_info("a")


def test_who_is_dead() -> None:
    now = datetime.now(UTC)
    own = Lease("").name
    machine, _, begun, word = own.split("-")
    assert not is_dead(own, now, now)
    assert is_dead(own, now - timedelta(minutes=5), now)
    assert is_dead(f"{machine}-1-{begun}-{word}", now, now)  # another process has its number
    assert is_dead(f"{machine}-999999999-{begun}-{word}", now, now)
    assert not is_dead(f"another-999999999-{begun}-{word}", now, now)
    assert not is_dead("something else", now, now)


# ---------------------------------------------------------------- what goes wrong


async def refused(server: S3Server, **other: Any) -> str:
    with pytest.raises(BackendError) as caught:
        async with opened(server, **{"timeout": 1, **other}):
            pass
    text = str(caught.value.diagnostic) if hasattr(caught.value, "diagnostic") else str(caught.value)
    assert server.secret_key not in text
    return text


async def test_a_missing_bucket(server: S3Server) -> None:
    text = await refused(server, bucket="nonesuch")
    assert "the bucket does not exist" in text
    assert "aws s3 mb s3://nonesuch --endpoint-url http://127.0.0.1" in text


async def test_wrong_credentials(server: S3Server) -> None:
    assert "the secret key is wrong" in await refused(server, secret_access_key="wrong")
    assert "does not know the access key" in await refused(server, access_key_id="NOBODY")


async def test_nobody_is_there(server: S3Server) -> None:
    assert "no connection to the server" in await refused(server, endpoint="http://127.0.0.1:1")


class _Other(BaseHTTPRequestHandler):
    """Any web server."""

    def do_GET(self) -> None:
        body = b"<html>hello</html>"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_HEAD = do_GET  # noqa: N815  as the base class names it

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def other() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Other) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


async def test_what_is_no_s3(server: S3Server, other: str) -> None:
    assert "no S3 server" in await refused(server, endpoint=other)


async def test_the_environment_is_not_looked_at(server: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "AWS_ACCESS_KEY_ID": "other",
        "AWS_SECRET_ACCESS_KEY": "other",
        "AWS_SESSION_TOKEN": "other",
        "AWS_ENDPOINT_URL": "http://127.0.0.1:1",
        "AWS_REGION": "nowhere-1",
        "AWS_SKIP_SIGNATURE": "true",
    }.items():
        monkeypatch.setenv(name, value)
    async with opened(server) as store:
        await store.probe()


async def test_the_environment_where_it_is_asked_for(
    server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", server.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", server.secret_key)
    settings = {"access_key_id": None, "secret_access_key": None, "credentials": "environment"}
    async with opened(server, **settings) as store:
        await store.probe()


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"access_key_id": None}, "access_key_id is missing"),
        ({"credentials": "environment"}, "yet keys are given"),
        ({"endpoint": "ftp://x"}, "must be https://"),
        ({"endpoint": "http://x", "tls_ca_file": "ca.pem"}, "the endpoint has no TLS"),
        ({"endpoint": "http://u:p@x"}, "holds no credentials"),
        ({"endpoint": "http://x/path"}, "must be https://"),
        ({"prefix": "a/../b"}, "prefix"),
        ({"part_size": 1}, "part_size"),
        ({"bucket": "a/b"}, "bucket"),
    ],
)
def test_settings_that_are_wrong(server: S3Server, wrong: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        S3Settings(**given_(server, **wrong))


async def test_a_server_that_goes_away(server: S3Server, prefix: str) -> None:
    async with TcpProxy("127.0.0.1", server.port) as proxy:
        where = f"http://127.0.0.1:{proxy.port}"
        async with opened(server, prefix=prefix, endpoint=where, timeout=1, part_size=5 << 20) as store:
            container = await store.create_container("ns", "c")
            await put(container, "a", *PIECES)
            reader = await container.read_object("a", 0, None)
            await reader.read()
            other = await container.read_object("a", 0, None)
            await other.read()
            writer = await container.write_object("a")
            await writer.write(b"new")
            proxy.accepting = False
            proxy.reset()
            with pytest.raises(StoreUnavailable):
                await _rest(reader)
            await reader.close()
            with pytest.raises(StoreUnavailable):
                await _rest_at_hand(other)
            await other.close()
            with pytest.raises(StoreUnavailable):
                await writer.commit()
            await writer.close()
            proxy.accepting = True
            assert await get(container, "a") == b"".join(PIECES)


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="the system does not tell what is in sockets")
async def test_who_stops_reading_stops_the_transfer(server: S3Server, prefix: str) -> None:
    async with (
        TcpProxy("127.0.0.1", server.port) as proxy,
        opened(server, prefix=prefix, endpoint=f"http://127.0.0.1:{proxy.port}") as store,
    ):
        container = await store.create_container("ns", "c")
        await put(container, "a", *(bytes(PIECE) for _ in range(80)))
        before = proxy.answered
        reader = await container.read_object("a", 0, None)
        read = sum([len(await reader.read()) for _ in range(4)])
        read += reader.readinto_nowait(memoryview(bytearray(1 << 20)))
        taken, last = 0, -1
        while taken != last:
            last = taken
            await asyncio.sleep(0.3)
            taken = proxy.answered - before - in_sockets(proxy.port)
        await reader.close()
        # Two reads of the library, which are of up to 408 KiB, and seldom of twice as much.
        assert read <= taken <= read + (3 << 19)


async def _rest(reader: Reader) -> None:
    while await reader.read():
        pass


async def _rest_at_hand(reader: Reader) -> None:
    buffer = memoryview(bytearray(PIECE))
    while True:
        if reader.readinto_nowait(buffer):
            continue
        if (coming := reader.next_at_hand()) is not None:
            await asyncio.wait([coming])
        elif not await reader.read():
            return


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("non-2xx status code: 503 Slow: <Code>SlowDown</Code>", QuotaExceeded),
        ("non-2xx status code: 507 Full", QuotaExceeded),
        ("non-2xx status code: 403 Forbidden: <Code>RequestTimeTooSkewed</Code>", AccessDenied),
        ("non-2xx status code: 500 Oops", StoreUnavailable),
        ("HTTP error: error sending request", StoreUnavailable),
    ],
)
def test_what_errors_mean(text: str, error: type[Exception]) -> None:
    assert type(failed(GenericError(text))) is error


async def test_a_bucket_that_is_deleted(server: S3Server, prefix: str) -> None:
    bucket = f"gone-{prefix}"
    assert server.ask("PUT", f"/{bucket}")[0] == 200
    async with opened(server, bucket=bucket, prefix=prefix) as store:
        container = await store.create_container("ns", "c")
        await put(container, "a", b"1")
        writer = await container.write_object("b")
        await writer.write(b"2")
        assert server.ask("DELETE", f"/{bucket}")[0] == 204
        with pytest.raises(NoSuchContainer):
            await writer.commit()
        await writer.close()
        with pytest.raises(NoSuchContainer):
            await store.get_container("ns", "c")
