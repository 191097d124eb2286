"""Blob stores on every backend by `wasmplex run`: two labels on two of them, hosts and clients that end."""

import os
import signal
import socket
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from urllib.parse import urlsplit

import guests
import pytest
from serving import running, serving
from test_run_blobs import ask
from wasmplex.testing.servers import NatsServer, S3Server

HTTP = """
[http]
listen = "127.0.0.1:0"
"""
WORKLOAD = """
[workload.{name}]
component = "{component}"
trigger.http = {{ path = "/", host = "{name}" }}
import.first = {{ {first} }}
import.second = {{ {second} }}
"""
S3 = """
backend = "s3", bucket = "blobs", part_size = "5MiB", endpoint = { env = "S3_URL" }, \
access_key_id = { env = "S3_KEY" }, secret_access_key = { env = "S3_SECRET" }
""".strip()
BINDINGS = {
    "filesystem": 'backend = "filesystem", path = "blobs"',
    "nats": 'backend = "nats", url = { env = "NATS_URL" }',
    "s3": S3,
}
"""Each workload has its own under ``first`` and the next one under ``second``."""
NAMES = list(BINDINGS)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("blobs")
    text = HTTP
    for name, following in zip(NAMES, NAMES[1:] + NAMES[:1], strict=True):
        component = guests.path("blobhttp")
        text += WORKLOAD.format(
            name=name, component=component, first=BINDINGS[name], second=BINDINGS[following]
        )
    (folder / "host.toml").write_text(text)
    return folder


@pytest.fixture(scope="module")
def servers() -> Iterator[dict[str, str]]:
    with NatsServer("n4ts") as nats, S3Server() as s3:
        keys = {"S3_KEY": s3.access_key, "S3_SECRET": s3.secret_key}
        yield {"NATS_URL": nats.url, "S3_URL": s3.url, **keys}


@pytest.fixture(scope="module")
def url(folder: Path, servers: dict[str, str]) -> Iterator[str]:
    with serving(folder / "host.toml", **servers) as url:
        yield url


@pytest.mark.parametrize("backend", NAMES)
def test_a_backend(url: str, backend: str) -> None:
    data = os.urandom(11_000_001)  # parts, chunks and pieces of it
    assert ask(url, "PUT", "/first/photos/a", data, backend) == (200, b"ok\n")
    assert ask(url, "GET", "/first/photos/a", host=backend) == (200, data)
    part = "/first/photos/a?start=7000000&end=8000000"
    assert ask(url, "GET", part, host=backend) == (200, data[7_000_000:8_000_001])
    assert ask(url, "POST", "/first/photos/a?copy=b", host=backend) == (200, b"ok\n")
    assert ask(url, "POST", "/first/photos/a?move=c", host=backend) == (200, b"ok\n")
    assert ask(url, "GET", "/first/photos/", host=backend) == (200, b"b\nc\n")
    assert ask(url, "GET", "/first/photos/a", host=backend)[0] == 404
    assert ask(url, "GET", "/first/photos/b", host=backend) == (200, data)
    assert ask(url, "DELETE", "/first/photos/c", host=backend) == (200, b"ok\n")
    assert ask(url, "GET", "/first/photos/", host=backend) == (200, b"b\n")


@pytest.mark.parametrize("backend", NAMES)
def test_two_labels_are_two_backends(url: str, backend: str) -> None:
    for label in ("first", "second"):
        assert ask(url, "PUT", f"/{label}/labels/k", label.encode(), backend) == (200, b"ok\n")
    for label in ("first", "second"):
        assert ask(url, "GET", f"/{label}/labels/k", host=backend) == (200, label.encode())


def begin(url: str, backend: str, sent: int) -> socket.socket:
    """Begin to send an object of 6 MB, and stop after so many bytes."""
    place = urlsplit(url)
    connection = socket.create_connection((place.hostname, place.port or 80), timeout=60)
    head = f"PUT /first/aborts/k HTTP/1.1\r\nHost: {backend}\r\nContent-Length: 6000000\r\n\r\n"
    connection.sendall(head.encode() + b"n" * sent)
    return connection


@pytest.mark.parametrize("sent", [0, 1, 3_000_000, 5_999_999])
@pytest.mark.parametrize("backend", NAMES)
def test_a_client_that_goes_away_leaves_the_old_object(url: str, backend: str, sent: int) -> None:
    assert ask(url, "PUT", "/first/aborts/k", b"old", backend) == (200, b"ok\n")
    begin(url, backend, sent).close()
    for _ in range(3):
        assert ask(url, "GET", "/first/aborts/k", host=backend) == (200, b"old")
    assert ask(url, "GET", "/first/aborts/", host=backend) == (200, b"k\n")


def _write_and_be_killed(stack: ExitStack, config: Path, servers: dict[str, str]) -> None:
    """Kill a host in the midst of an upload to each backend."""
    killed = False
    with suppress(AssertionError), running(config, **servers) as host:  # it does not end well
        url = host.url
        for backend in NAMES:
            assert ask(url, "PUT", "/first/kills/k", b"old", backend) == (200, b"ok\n")
            stack.enter_context(begin(url, backend, 5_500_000))
        host.process.send_signal(signal.SIGKILL)
        host.process.wait()
        killed = True
    assert killed


def test_a_host_that_is_killed_leaves_the_old_objects(
    folder: Path, servers: dict[str, str], tmp_path: Path
) -> None:
    config = tmp_path / "host.toml"
    config.write_text((folder / "host.toml").read_text())
    with ExitStack() as stack:
        _write_and_be_killed(stack, config, servers)
        with serving(config, **servers) as url:
            for backend in NAMES:
                assert ask(url, "GET", "/first/kills/k", host=backend) == (200, b"old")
                assert ask(url, "GET", "/first/kills/", host=backend) == (200, b"k\n")
            assert [path for path in (tmp_path / "blobs/.staging").rglob("*") if path.is_file()] == []
            for backend in NAMES:
                assert ask(url, "PUT", "/first/kills/k", b"new", backend) == (200, b"ok\n")
                assert ask(url, "GET", "/first/kills/k", host=backend) == (200, b"new")
