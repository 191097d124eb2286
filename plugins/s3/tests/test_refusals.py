"""What an operator can mend: another region, a clock that is wrong, a certificate that nobody can verify."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from host_plugin_s3 import S3Provider, S3Settings
from wasmplex.capabilities.blobstore import AccessDenied, BlobStoreError, Other
from wasmplex.plugin import BackendError, OpenContext
from wasmplex.testing.servers import ServerMissing
from wasmplex.testing.servers.certificates import self_signed

pytestmark = pytest.mark.anyio

ANSWERS = {
    "skewed": (403, "<Code>RequestTimeTooSkewed</Code><Message>The difference is too large.</Message>"),
    "region": (400, "<Code>AuthorizationHeaderMalformed</Code><Region>eu-central-1</Region>"),
    "moved": (301, "<Code>PermanentRedirect</Code>"),
    "fine": (200, ""),
}
LISTING = '<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><IsTruncated>false</IsTruncated>'
LISTING += "<KeyCount>0</KeyCount><MaxKeys>1</MaxKeys><Name>b</Name><Prefix></Prefix></ListBucketResult>"


class _Server(ThreadingHTTPServer):
    """Answers all requests as it is told to."""

    answer = "fine"


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        status, text = ANSWERS[self.server.answer]
        body = f"<Error>{text}</Error>" if text else LISTING
        if (not text and self.path.endswith(("PUT", "HEAD"))) or (not text and "none-" in self.path):
            status, body = 404, "<Error><Code>NoSuchKey</Code></Error>"
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body.encode())

    do_HEAD = do_PUT = do_GET  # noqa: N815  as the base class names them

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def serving(tls: ssl.SSLContext | None = None) -> Iterator[_Server]:
    with _Server(("127.0.0.1", 0), _Handler) as server:
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def settings(server: _Server, scheme: str = "http", **other: Any) -> S3Settings:
    given: dict[str, Any] = {
        "endpoint": f"{scheme}://localhost:{server.server_port}",
        "bucket": "blobs",
        "access_key_id": "AKIA",
        "secret_access_key": "hush-hush",
        "timeout": 20,
    }
    return S3Settings(**{**given, **other})


async def refused(wrong: S3Settings, base: Path = Path()) -> str:
    with pytest.raises(BackendError) as caught:
        await S3Provider().open(wrong, OpenContext(base=base))
    text = str(caught.value.diagnostic) if hasattr(caught.value, "diagnostic") else str(caught.value)
    assert "hush-hush" not in text
    return text


@pytest.mark.parametrize(
    ("answer", "why", "fix"),
    [
        ("skewed", "the clock of this machine is wrong", "timedatectl"),
        ("region", "the bucket is in another region", 'region = "eu-central-1"'),
        ("moved", "the bucket is in another region", "region = "),
    ],
)
async def test_the_operator_is_told_at_once(answer: str, why: str, fix: str) -> None:
    with serving() as server:
        server.answer = answer
        text = await refused(settings(server))
    assert why in text
    assert fix in text


@pytest.mark.parametrize(("answer", "error"), [("skewed", AccessDenied), ("region", Other), ("moved", Other)])
async def test_a_guest_gets_a_typed_error_when_it_comes_later(
    answer: str, error: type[BlobStoreError]
) -> None:
    with serving() as server:
        store = await S3Provider().open(settings(server), OpenContext(base=Path()))
        try:
            server.answer = answer
            with pytest.raises(BlobStoreError) as caught:
                await store.create_container("ns", "c")
        finally:
            await store.close()
    assert type(caught.value) is error
    assert "hush-hush" not in str(caught.value)
    assert "localhost" not in str(caught.value)


@pytest.fixture
def certificate(tmp_path: Path) -> ssl.SSLContext:
    """Write a certificate that signs itself."""
    try:
        self_signed(tmp_path, names="DNS:localhost", authority=False)
    except ServerMissing as error:
        pytest.skip(str(error))
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    return tls


async def test_a_certificate_that_nobody_can_verify(certificate: ssl.SSLContext, tmp_path: Path) -> None:
    with serving(certificate) as server:
        text = await refused(settings(server, "https"))
        assert "the server's certificate cannot be verified" in text
        assert 'tls_ca_file = "..."' in text
        for trusting in ({"tls_ca_file": "cert.pem"}, {"tls_verify": False}):
            store = await S3Provider().open(settings(server, "https", **trusting), OpenContext(base=tmp_path))
            await store.close()


@pytest.mark.parametrize("text", [None, b"no certificate"])
async def test_certificates_that_cannot_be_used(tmp_path: Path, text: bytes | None) -> None:
    if text is not None:
        (tmp_path / "ca.pem").write_bytes(text)
    table = {"endpoint": "https://127.0.0.1:1", "credentials": "anonymous", "tls_ca_file": "ca.pem"}
    settings = S3Settings.model_validate({"bucket": "shop", **table})
    with pytest.raises(BackendError, match="tls_ca_file of the S3 bucket cannot be used"):
        await S3Provider().open(settings, OpenContext(tmp_path, "s3"))
