"""Blob stores by `wasmplex run` and `wasmplex invoke`: labels, streams, grants, clients that go away."""

import http.client
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import guests
import pytest
from serving import COMMAND, serving

CONFIG = """
[http]
listen = "127.0.0.1:0"

[workload.blobs]
component = "{component}"
trigger.http = {{ path = "/" }}
import.first = {{ backend = "memory" }}
import.second = {{ backend = "memory", containers = ["in"], max_object = "1MiB" }}

[workload.reader]
component = "{component}"
trigger.http = {{ path = "/", host = "reader" }}
import.first = {{ backend = "memory", namespace = "blobs/first", read_only = true }}
import.second = {{ backend = "memory" }}
"""
INVOKED = """
[workload.blobs]
component = "{component}"
import.kit = {{ backend = "memory", namespace = "shared" }}
import.other = {{ backend = "memory", namespace = "shared" }}
"""


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    config = tmp_path_factory.mktemp("blobs") / "host.toml"
    config.write_text(CONFIG.format(component=guests.path("blobhttp")))
    with serving(config) as url:
        yield url


def ask(url: str, method: str, path: str, body: bytes | None = None, host: str = "x") -> tuple[int, bytes]:
    with closing(http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)) as connection:
        connection.request(method, path, body, {"Host": host})
        response = connection.getresponse()
        return response.status, response.read()


def test_content_is_streamed_in_and_out(url: str) -> None:
    data = os.urandom(3_000_001)
    assert ask(url, "PUT", "/first/photos/a", data) == (200, b"ok\n")
    assert ask(url, "GET", "/first/photos/a") == (200, data)
    assert ask(url, "GET", "/first/photos/a?start=70000&end=2000000") == (200, data[70_000:2_000_001])
    assert ask(url, "POST", "/first/photos/a?copy=b") == (200, b"ok\n")
    assert ask(url, "POST", "/first/photos/a?move=c") == (200, b"ok\n")
    assert ask(url, "GET", "/first/photos/") == (200, b"b\nc\n")
    assert ask(url, "GET", "/first/photos/a") == (404, b"no such object: get-data\n")
    assert ask(url, "GET", "/first/photos/c") == (200, data)
    assert ask(url, "DELETE", "/first/photos/c") == (200, b"ok\n")
    assert ask(url, "GET", "/first/photos/") == (200, b"b\n")


def test_labels_grants_and_limits(url: str) -> None:
    assert ask(url, "PUT", "/first/in/k", b"first") == (200, b"ok\n")
    assert ask(url, "PUT", "/second/in/k", b"second") == (200, b"ok\n")
    assert ask(url, "GET", "/first/in/k") == (200, b"first")
    assert ask(url, "GET", "/second/in/k") == (200, b"second")
    status, text = ask(url, "PUT", "/second/photos/k", b"x")
    assert (status, text) == (
        503,
        b"access denied: create-container: the configuration does not grant this container\n",
    )
    status, text = ask(url, "PUT", "/second/in/k", b"x" * (2**20 + 1))
    assert status == 503
    assert text.startswith(b"quota exceeded: write-data: ")
    assert ask(url, "GET", "/second/in/k") == (200, b"second")
    assert ask(url, "GET", "/first/in/k", host="reader") == (200, b"first")
    status, text = ask(url, "PUT", "/first/in/k", b"theirs", host="reader")
    assert (status, text) == (503, b"access denied: write-data: the configuration grants reading only\n")


@pytest.mark.parametrize("sent", [0, 1, 100_000, 199_999])
def test_a_client_that_goes_away_leaves_the_old_object(url: str, sent: int) -> None:
    assert ask(url, "PUT", f"/first/aborts/{sent}", b"old") == (200, b"ok\n")
    place = urlsplit(url)
    with socket.create_connection((place.hostname, place.port), timeout=30) as connection:
        head = f"PUT /first/aborts/{sent} HTTP/1.1\r\nHost: x\r\nContent-Length: 200000\r\n\r\n"
        connection.sendall(head.encode() + b"n" * sent)
        time.sleep(0.05)  # it has arrived
    for _ in range(20):
        assert ask(url, "GET", f"/first/aborts/{sent}") == (200, b"old")
        time.sleep(0.01)
    assert ask(url, "GET", "/first/aborts/")[1].split().count(str(sent).encode()) == 1


def invoke(folder: Path, function: str, *args: str) -> str:
    (folder / "host.toml").write_text(INVOKED.format(component=guests.path("blobs-labelled")))
    command: list[str] = [str(COMMAND), "invoke", "host.toml", "blobs", f"tests:guests/{function}", *args]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)
    return str(done.stdout + done.stderr).strip()


def test_an_asynchronous_guest(tmp_path: Path) -> None:
    assert invoke(tmp_path, "blobs#there", '"photos"') == "ok(false)"
    assert "no-such-container" in invoke(tmp_path, "masses#fill", '"photos"', '"a"', "100", "none")
    assert invoke(tmp_path, "blobs#create", '"photos"') == "ok"
