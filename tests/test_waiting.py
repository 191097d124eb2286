"""Calls that wait or yield in the guest, by the installed command: many in one instance, or one each."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import guests
import pytest
from serving import Running, running

WAIT = 0.1
"""Seconds that the guest waits before it answers."""


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    config = tmp_path_factory.mktemp("waiting") / "host.toml"
    config.write_text(f"""
[http]
listen = "127.0.0.1:0"
[workload.together]
component = "{guests.path("waiting3")}"
instances = {{ max = 1, concurrency = 200 }}
trigger.http = {{ path = "/together" }}
[workload.alone]
component = "{guests.path("waiting3")}"
instances = {{ max = 2, concurrency = 1 }}
trigger.http = {{ path = "/alone" }}
[workload.yielding]
component = "{guests.path("yielding3")}"
trigger.http = {{ path = "/yielding" }}
""")
    with running(config) as host:
        yield host


def took(host: Running, path: str, count: int) -> float:
    """Send requests at once, each over a connection of its own; return the seconds until all are answered."""
    address = urlsplit(host.url)
    begun = time.monotonic()
    clients = [socket.create_connection((address.hostname, address.port), timeout=60) for _ in range(count)]
    for client in clients:
        client.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
    for client in clients:
        with client, client.makefile("rb") as answer:
            assert answer.read().endswith(b"\r\n\r\nhello, world\n")
    return time.monotonic() - begun


def test_two_hundred_calls_wait_in_one_instance(host: Running) -> None:
    assert took(host, "/together", 200) < 200 * WAIT  # what they take one after the other


def test_an_instance_is_in_one_call_where_concurrency_is_one(host: Running) -> None:
    assert took(host, "/alone", 8) >= 8 / 2 * WAIT


def test_a_guest_that_yields_goes_on_though_the_host_has_nothing_for_it(host: Running) -> None:
    took(host, "/yielding", 3)
