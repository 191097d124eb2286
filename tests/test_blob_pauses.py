"""A client that stops reading stops the transfer: by `wasmplex run`, a host takes no more from its server."""

import http.client
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import anyio.to_thread
import guests
import pytest
from serving import serving
from test_run_blobs import ask
from wasmplex.testing.servers import NatsServer, S3Server, TcpProxy
from wasmplex.testing.servers.proxy import in_sockets

CONFIG = """
[http]
listen = "127.0.0.1:0"

[workload.blobs]
component = "{component}"
trigger.http = {{ path = "/" }}
import.first = {{ {binding} }}
import.second = {{ backend = "memory" }}
"""
S3 = """
backend = "s3", bucket = "blobs", endpoint = "http://127.0.0.1:{port}", \
access_key_id = {{ env = "S3_KEY" }}, secret_access_key = {{ env = "S3_SECRET" }}
""".strip()
NATS = 'backend = "nats", url = "nats://127.0.0.1:{port}"'
SIZE = 32 << 20
READ = 1 << 20
HELD = 3 << 19
"""Bytes that may be in the host, on their way from server to client; 0.7 to 0.9 MB are usual."""

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.slow,
    pytest.mark.skipif(
        not Path("/proc/net/tcp").exists(), reason="the system does not tell what is in sockets"
    ),
]


@pytest.fixture(params=["s3", "nats"])
def server(request: pytest.FixtureRequest) -> Iterator[NatsServer | S3Server]:
    with S3Server() if request.param == "s3" else NatsServer(sync=None) as server:
        yield server


async def test_a_client_that_stops_reading_stops_the_transfer(
    server: NatsServer | S3Server, tmp_path: Path
) -> None:
    config = tmp_path / "host.toml"
    binding = S3 if isinstance(server, S3Server) else NATS
    keys = {"S3_KEY": S3Server.access_key, "S3_SECRET": S3Server.secret_key}

    def serve_and_stop_reading() -> None:
        with serving(config, **keys) as url:
            assert ask(url, "PUT", "/first/c/a", bytes(SIZE)) == (200, b"ok\n")
            stop_reading(url, proxy)

    async with TcpProxy("127.0.0.1", server.port) as proxy:
        bound = binding.format(port=proxy.port)
        config.write_text(CONFIG.format(component=guests.path("blobhttp"), binding=bound))
        await anyio.to_thread.run_sync(serve_and_stop_reading)


def stop_reading(url: str, proxy: TcpProxy) -> None:
    """Read a part of an answer, and look what the host has then in its own memory."""
    place = urlsplit(url)
    before = proxy.answered
    with closing(http.client.HTTPConnection(place.netloc, timeout=60)) as connection:
        connection.request("GET", "/first/c/a")
        response = connection.getresponse()
        read = len(response.read(READ))
        taken = settled(lambda: proxy.answered - before - in_sockets(proxy.port))
        handed_out = read + in_sockets(place.port or 80)
        assert taken < handed_out + HELD
        assert read + len(response.read()) == SIZE


def settled(count: Callable[[], int]) -> int:
    """Return a number when it does not change any more."""
    found = -1
    while (now := count()) != found:
        found = now
        time.sleep(0.4)
    return found
