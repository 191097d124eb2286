"""Requests over TLS: who is trusted, how it ends, and what a guest learns when it does not work."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from host_plugin_wasi.http.client import OutgoingHandler
from host_plugin_wasi.http.failures import failure
from host_plugin_wasi.http_settings import OutgoingSettings
from origins import OK, Origin, Serve, answering, listening
from outgoing import client, fetch, request
from pydantic import ValidationError
from wasmplex.plugin import Variant
from wasmplex.testing.servers import ServerMissing
from wasmplex.testing.servers.certificates import self_signed

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return a certificate for localhost and 127.0.0.1, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    try:
        self_signed(folder)
    except ServerMissing as error:
        pytest.skip(str(error))
    return folder / "cert.pem", folder / "key.pem"


@pytest.fixture
def served(files: tuple[Path, Path]) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*files)
    return context


@pytest.fixture
def ca(files: tuple[Path, Path]) -> str:
    return files[0].read_text()


def secure(port: int, path: str = "/", host: str = "localhost", **rest: Any) -> Any:
    made = request(port, path, **rest)
    made.set_scheme(Variant("HTTPS"))
    made.set_authority(f"{host}:{port}")
    return made


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST", "127.0.0.1"])
async def test_a_server_whose_certificate_is_trusted(served: ssl.SSLContext, ca: str, host: str) -> None:
    origin = Origin()
    async with listening(origin.serve, served) as port, client(ca=ca) as handler:
        for _ in range(3):
            assert await fetch(handler, secure(port, host=host)) == (200, b"ok")
    assert len(origin.connections) == 1


async def test_a_server_whose_certificate_is_not_trusted(served: ssl.SSLContext) -> None:
    async with listening(answering(OK), served) as port, client() as handler:
        assert await fetch(handler, secure(port)) == Variant("TLS-certificate-error")


async def test_a_server_with_the_certificate_of_another(served: ssl.SSLContext, ca: str) -> None:
    async with listening(answering(OK), served, "127.0.0.2") as port, client(ca=ca) as handler:
        assert await fetch(handler, secure(port, host="127.0.0.2")) == Variant("TLS-certificate-error")


async def test_what_is_for_tls_never_goes_over_a_connection_without(served: ssl.SSLContext, ca: str) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(65536):
            writer.write(OK)

    async with listening(serve) as port, client(ca=ca) as handler:
        plain = request(port)
        plain.set_authority(f"localhost:{port}")
        assert await fetch(handler, plain) == (200, b"ok")
        assert await fetch(handler, secure(port)) == Variant("TLS-protocol-error")


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("SSLV3_ALERT_HANDSHAKE_FAILURE", 40),
        ("TLSV1_ALERT_PROTOCOL_VERSION", 70),
        ("TLSV1_ALERT_UNKNOWN_CA", 48),
        ("TLSV13_ALERT_CERTIFICATE_REQUIRED", 116),
        ("TLSV1_UNRECOGNIZED_NAME", 112),
        ("SSLV3_ALERT_CERTIFICATE_UNKNOWN", 46),
        ("WRONG_VERSION_NUMBER", None),
        ("UNSUPPORTED_PROTOCOL", None),
        ("CERTIFICATE_VERIFY_FAILED", None),
    ],
)
def test_alerts_are_told_from_what_else_may_go_wrong(reason: str, expected: int | None) -> None:
    error = ssl.SSLError(1, reason)
    error.reason = reason
    code = failure(error).code
    assert (code.value["alert-id"] if code.tag == "TLS-alert-received" else None) == expected


async def test_a_server_that_leaves_in_the_handshake() -> None:
    async def serve(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read(1)

    async with listening(serve) as port, client() as handler:
        got = await fetch(handler, secure(port))
    assert got.tag in ("connection-terminated", "TLS-protocol-error")


async def test_a_handshake_takes_no_longer_than_connecting_may() -> None:
    async with listening(lambda r, _: r.read(-1)) as port, client(connect_timeout=0.1) as handler:
        with anyio.fail_after(10):
            assert await fetch(handler, secure(port)) == Variant("connection-timeout")


@asynccontextmanager
async def ending(served: ssl.SSLContext, answer: bytes, *, properly: bool) -> AsyncIterator[int]:
    """Serve one connection in a thread, where the end of TLS can be left out."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        raw = listener.accept()[0]
        with socket.socket(fileno=os.dup(raw.fileno())) as plain:
            try:
                with served.wrap_socket(raw, server_side=True) as sock:
                    sock.recv(65536)
                    sock.sendall(answer)
                    if properly:
                        sock.unwrap()
            except (
                ssl.SSLError
            ):  # what was said of it has to arrive before what the client has sent is refused
                plain.shutdown(socket.SHUT_WR)
                while plain.recv(65536):
                    pass

    thread = asyncio.get_running_loop().run_in_executor(None, serve)
    try:
        yield listener.getsockname()[1]
        await asyncio.wait_for(thread, 10)
    finally:
        listener.close()


async def test_an_alert_of_the_server_is_handed_on(served: ssl.SSLContext, ca: str) -> None:
    """With TLS 1.3 it comes when the handshake is over for this side."""
    served.minimum_version = ssl.TLSVersion.TLSv1_3
    served.verify_mode = ssl.CERT_REQUIRED
    served.load_verify_locations(cadata=ca)
    async with ending(served, OK, properly=True) as port, client(ca=ca) as handler:
        got = await fetch(handler, secure(port, method="post"))
    payload = {"alert-id": 116, "alert-message": "certificate_required"}
    assert got == Variant("TLS-alert-received", payload)


@pytest.mark.parametrize("properly", [True, False])
async def test_a_body_that_ends_with_the_connection_has_to_end_in_tls_too(
    served: ssl.SSLContext, ca: str, properly: bool
) -> None:
    """RFC 9112 section 9.8: without, anybody on the way may have cut it."""
    async with (
        ending(served, b"HTTP/1.1 200 OK\r\n\r\nhello", properly=properly) as port,
        client(ca=ca) as handler,
    ):
        got = await fetch(handler, secure(port))
    assert got == ((200, b"hello") if properly else Variant("connection-terminated"))


async def test_a_body_with_a_length_needs_no_end_of_tls(served: ssl.SSLContext, ca: str) -> None:
    async with ending(served, OK, properly=False) as port, client(ca=ca) as handler:
        assert await fetch(handler, secure(port)) == (200, b"ok")


async def test_large_bodies_go_both_ways(served: ssl.SSLContext, ca: str) -> None:
    body = bytes(range(256)) * 8192

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body))
        writer.write(body)
        await writer.drain()

    async with listening(serve, served) as port, client(ca=ca) as handler:
        assert await fetch(handler, secure(port)) == (200, body)


def test_what_is_no_certificate_is_refused() -> None:
    with pytest.raises(ValidationError, match="PEM"):
        OutgoingSettings(ca="secret")


async def test_connections_of_tls_are_closed_with_the_workload(served: ssl.SSLContext, ca: str) -> None:
    ended = anyio.Event()

    def watched(serve: Serve) -> Serve:
        async def until_the_end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                await serve(reader, writer)
            finally:
                ended.set()

        return until_the_end

    async with listening(watched(answering(OK)), served) as port:
        handler: OutgoingHandler
        async with client(ca=ca) as handler:
            assert await fetch(handler, secure(port)) == (200, b"ok")
        with anyio.fail_after(10):
            await ended.wait()
