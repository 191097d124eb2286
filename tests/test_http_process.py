"""HTTP as `wasmplex run` speaks it: rows of docs/internals/http.md, on sockets, and real guests."""

from __future__ import annotations

import contextlib
import importlib.util
import re
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import guests
import pytest
from serving import Running, running

ROOT = Path(__file__).resolve().parents[1]
TABLES = ("First line", "Version", "Target", "Host", "Fields", "Length of a body", "Chunks")


def table() -> ModuleType:
    """Return the package of the rows, which the tests of core play as well."""
    folder = ROOT / "core/tests/triggers/table"
    spec = importlib.util.spec_from_file_location(
        "http_table", folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["http_table"] = module
    spec.loader.exec_module(module)
    return module


CASES = table()


ROWS = [(table, row) for table in TABLES for row in CASES.REQUESTS[table]]
REFUSED = [(table, row) for table, row in ROWS if row.now[0] in "45"]
SERVED = [
    (table, row) for table, row in ROWS if row.tell == "w" and row.now[0] == "2" and b" / HTTP" in row.raw
]
LAST = b"GET /hello HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n\r\n"


def named(row: Any) -> str:
    return f"{row[0]}: {row[1].case}"


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    config = tmp_path_factory.mktemp("http") / "host.toml"
    config.write_text(f"""
[http]
listen = "127.0.0.1:0"
max_head = "{CASES.MAX_HEAD}B"
[workload.shop]
component = "{guests.path("lab")}"
trigger.http = {{ path = "/", host = "shop.example" }}
[workload.other]
component = "{guests.path("hello")}"
trigger.http = {{ path = "/" }}
""")
    with running(config) as started:
        assert started.url
        yield started
        assert "Traceback" not in started.log()


def talk(host: Running, sent: bytes) -> bytes:
    """Return what comes back until the host closes, which it has to."""
    address, received = ("127.0.0.1", int(host.url.rpartition(":")[2])), b""
    with socket.create_connection(address, timeout=10) as sock, contextlib.suppress(ConnectionError):
        sock.sendall(sent)
        while piece := sock.recv(65_536):
            received += piece
    return received


def statuses(received: bytes) -> list[bytes]:
    return re.findall(rb"HTTP/1\.1 ([0-9]{3}) ", received)


@pytest.mark.parametrize("row", REFUSED, ids=named)
def test_what_is_refused(host: Running, row: Any) -> None:
    received = talk(host, row[1].raw.replace(b"POST /", b"POST /count"))
    assert statuses(received) == [row[1].now.encode()]


@pytest.mark.parametrize("row", SERVED, ids=named)
def test_whom_a_request_reaches(host: Running, row: Any) -> None:
    raw = re.sub(rb"/(?= HTTP)|(?<=GET )/(?=\r)", b"/request", row[1].raw, count=1)
    received = talk(host, raw + LAST)
    assert received.startswith(b"HTTP/1.1 200 ")
    assert (b"authority: " in received) == (row[1].now == "200: shop")


def test_answers_to_requests_before_a_bad_one_are_sent_first(host: Running) -> None:
    good = LAST.replace(b"Connection: close\r\n", b"")
    bad = b"GET * HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"
    assert statuses(talk(host, good * 3 + bad)) == [b"200", b"200", b"200", b"400"]


def test_a_trailer_without_end_is_refused_and_costs_others_nothing(host: Running) -> None:
    head = b"POST /count HTTP/1.1\r\nHost: shop.example\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nx: "
    received = talk(host, head + b"y" * 4_000_000)
    assert received.startswith(b"HTTP/1.1 431 ")
    assert talk(host, LAST).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
@pytest.mark.parametrize("query", [b"?n=0", b"?n=1", b"?n=2", b"?n=0&ms=20", b"?n=1&ms=20", b"?n=2&ms=20"])
def test_a_whole_answer_stays_whole(host: Running, query: bytes, version: bytes) -> None:
    request = LAST.replace(b"/hello", b"/whole" + query).replace(b"HTTP/1.1", b"HTTP/" + version)
    head, _, body = talk(host, request).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ")
    assert body == (b"6\r\nwhole\n\r\n0\r\n\r\n" if b"chunked" in head else b"whole\n")


def test_an_exit_after_an_answer_is_no_error_and_a_trap_is(host: Running) -> None:
    for how in (b"0", b"2"):
        talk(host, LAST.replace(b"/hello", b"/whole?n=" + how))
    said = host.log()  # all of it: what repeats is counted, and not said again
    assert "exited with code 0" not in said
    assert re.search(r"GET /whole \(after its answer\): .*trapped", said)


def test_a_streamed_answer_over_http_1_0(host: Running) -> None:
    before = host.log()
    request = b"GET /big?n=200000&ms=5 HTTP/1.0\r\nHost: shop.example\r\n\r\n"
    head, _, body = talk(host, request).partition(b"\r\n\r\n")
    assert b"transfer-encoding" not in head
    assert len(body) == 200_000
    assert "/big" not in host.log().removeprefix(before)
