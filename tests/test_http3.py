"""WASI 0.3 over HTTP, by the installed command: a guest in Python that serves well and badly.

What is expected is in types.wit and worlds.wit of wasi:http 0.3 (here T and W), or was found out in wasmtime
and WebAssembly/wasi-testsuite: issues (wt) and tests (ts) are named where they are what says so.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

import guests
import pytest
from serving import Running, running

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(300),
]  # the first run compiles the guest, then the component


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    config = tmp_path_factory.mktemp("http3") / "host.toml"
    folder = tmp_path_factory.mktemp("data")
    component = guests.compiled("py-wasi3")
    config.write_text(f"""
[http]
listen = "127.0.0.1:0"
[workload.lab]
component = "{component}"
allowed_hosts = ["127.0.0.1"]
instances = {{ max = 2, concurrency = 200 }}
dirs = {{ "/data" = "{folder}" }}
network = "allow"
limits = {{ timeout = "5s" }}
trigger.http = {{ path = "/" }}
[workload.hasty]
component = "{component}"
limits = {{ timeout = "1s" }}
trigger.http = {{ host = "hasty.example" }}
""")
    with running(config) as host:
        assert host.url
        yield host


def request(
    host: Running,
    path: str,
    body: bytes | None = None,
    method: str = "GET",
    name: str = "lab.example",
    **headers: str,
) -> tuple[int, bytes]:
    at = urlsplit(host.url)
    connection = http.client.HTTPConnection(at.hostname or "", at.port, timeout=30)
    with contextlib.closing(connection):
        connection.request(method, path, body, {"host": name, **headers})
        answer = connection.getresponse()
        return answer.status, answer.read()


def said(host: Running, path: str) -> Any:
    status, body = request(host, path)
    assert status == 200
    return json.loads(body)


def raw(host: Running, data: bytes) -> bytes:
    """Return all that is answered, to the end of the connection."""
    at = urlsplit(host.url)
    with socket.create_connection((at.hostname or "", at.port or 0), timeout=30) as connection:
        connection.sendall(data)
        received = b""
        while piece := connection.recv(1 << 16):
            received += piece
    return received


def logged(host: Running, text: str) -> str:
    """Wait until something is in the log; return the part from there on."""
    until = time.monotonic() + 20
    while time.monotonic() < until:
        if (at := host.log().find(text)) >= 0:
            return host.log()[at:]
        time.sleep(0.02)
    raise AssertionError(host.log())


def test_an_answer_that_a_task_writes_after_handle_has_returned(host: Running) -> None:
    assert request(host, "/hello") == (200, b"hello, p3\n")  # 16: wt#11703


def test_what_a_request_says_of_itself(host: Running) -> None:
    method, scheme, authority, path, headers = said(host, "/info?a=b")
    assert (method, scheme, authority, path) == (
        "Method_Get",
        "Scheme_Http",
        "lab.example",
        "/info?a=b",
    )  # 18: ts
    assert headers == [
        "accept-encoding"
    ]  # 4: `host` and what belongs to the connection is not there, wt#13801


def test_a_query_is_kept_though_it_is_empty(host: Running, upstream: str) -> None:
    assert said(host, "/info?")[3] == "/info?"
    assert request(host, f"/send?{upstream}/x?") == (200, f"GET /x? {upstream} ".encode())
    assert request(host, f"/send?{upstream}/caf%C3%A9%2f/..?a") == (
        200,
        f"GET /caf%C3%A9%2f/..?a {upstream} ".encode(),
    )


def test_fields(host: Running) -> None:
    assert said(host, "/fields") == [
        "HeaderError_Immutable", "None",  # 1: those of a message; a clone may be changed (T)
        "[]", "False", "HeaderError_InvalidSyntax",  # 2: names that are none, ts http-fields
        "HeaderError_Forbidden",  # 4
        "[('X-One', b'1'), ('X-One', b'2')]", "[]",  # 3 the first spelling is kept; 2 no values are deletion
        "HeaderError_SizeExceeded",  # 5: wt#12788
        "[b'2']", "False", "HeaderError_Forbidden",
    ]  # fmt: skip


def test_requests(host: Running) -> None:
    assert said(host, "/requests") == [
        "Method_Get", "NoneType",  # 22: `other("GET")` is `get`, ts http-request; "a b" is no method
        "RequestOptionsError_Immutable", "HeaderError_Immutable",  # 1
        "NoneType", "None",  # 20: ports are numbers, IPv6 literals have brackets, wt#13739
        "NoneType", "None",  # 22: statuses are 100 to 599
        "Err",  # 9: what was never sent did not go well, wt#14112
    ]  # fmt: skip


def test_clocks_and_randomness(host: Running) -> None:
    assert said(host, "/clocks") == [True, True]


def test_pieces_and_trailers_pass_as_they_come(host: Running) -> None:
    at = urlsplit(host.url)
    with socket.create_connection((at.hostname or "", at.port or 0), timeout=30) as connection:
        connection.sendall(
            b"POST /echo HTTP/1.1\r\nHost: lab.example\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"
        )
        received = b""
        while not received.endswith(b"3\r\nabc\r\n"):
            received += connection.recv(1 << 16)
        connection.sendall(b"3\r\ndef\r\n0\r\nx-sum: 6\r\n\r\n")
        received = b""
        while not received.endswith(b"\r\n\r\n"):
            received += connection.recv(1 << 16)
    assert received == b"3\r\ndef\r\n0\r\nx-sum: 6\r\n\r\n"  # 12, 15: ts http-client-trailers


def test_a_large_body_comes_back_whole(host: Running) -> None:
    body = bytes(range(256)) * (1 << 13)
    assert request(host, "/echo", body, "POST") == (200, body)


def test_many_calls_are_in_one_instance(host: Running) -> None:
    with ThreadPoolExecutor(20) as pool:
        answers = [*pool.map(lambda _: request(host, "/wait?300"), range(20))]
    assert answers == [(200, b"waited")] * 20
    assert int(request(host, "/together")[1].split()[0]) == 20  # W: handle may be called concurrently


def test_what_a_guest_logs_never_has_the_id_of_another_request(host: Running) -> None:
    def send(name: str) -> None:
        headers = f"host: lab.example\r\nconnection: close\r\nx-request-id: id-{name}\r\n"
        answer = raw(host, f"GET /log?{name} HTTP/1.1\r\n{headers}\r\n".encode())
        assert answer.startswith(b"HTTP/1.1 200 ")

    def lines() -> list[str]:
        return [line for line in host.log().splitlines() if re.search(r"(begins|ends) said\d+", line)]

    with ThreadPoolExecutor(2) as pool:
        [*pool.map(send, ("said0", "said1"))]
    until, number = time.monotonic() + 20, 2
    while not any("id-" in line for line in lines()):  # those before it may not be over yet
        assert time.monotonic() < until
        send(f"said{number}")
        number += 1
    assert len(lines()) == 2 * number
    for line in lines():
        own = re.search(r"(?:begins|ends) (\w+)", line)
        assert own is not None
        assert set(re.findall(r"id-\w+", line)) <= {f"id-{own[1]}"}


def test_an_error_and_a_trap_of_the_guest(host: Running) -> None:
    status, body = request(host, "/fail")
    assert status == 500  # 23: wasmtime answers so for an error-code
    assert b"request id" in body
    status, body = request(host, "/trap")
    assert status == 502
    assert b"request id" in body
    assert request(host, "/hello")[0] == 200


@pytest.mark.parametrize(
    "path", ["/answer-then-trap", "/broken-off", "/too-short", "/too-long", "/forbidden-trailers"]
)
def test_an_answer_that_is_not_whole_does_not_look_so(host: Running, path: str) -> None:
    # 14: T, ts http-client-trailer-error; 7
    head = b"GET %s HTTP/1.1\r\nHost: lab.example\r\nConnection: close\r\n\r\n" % path.encode()
    answer = raw(host, head)
    head, _, body = answer.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 502 "):
        assert not body.endswith(b"0\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head)
        assert length is None or int(length[1]) > len(body)


@pytest.mark.parametrize(
    ("said", "first", "length"),
    [
        ("200,3", 200, b"3"), ("200,3,3", 502, None), ("200,3,4", 502, None), ("200,+3", 502, None),
        ("204,3", 204, None), ("205", 205, b"0"), ("304,3", 304, b"3"), ("304,3,4", 502, None),
        ("101", 502, None),
    ],
)  # fmt: skip
def test_the_length_of_an_answer_is_one_number_or_none(
    host: Running, said: str, first: int, length: bytes | None
) -> None:
    for method in ("GET", "HEAD"):
        head = f"{method} /lengths?{said} HTTP/1.1\r\nHost: lab.example\r\nConnection: close\r\n\r\n"
        answer = raw(host, head.encode()).partition(b"\r\n\r\n")[0].lower()
        lengths = re.findall(rb"\r\ncontent-length: (.*?)(?=\r|$)", answer)
        assert len(lengths) <= 1
        if method == "GET":
            assert answer.startswith(b"http/1.1 %d " % first)
        if answer.startswith(b"http/1.1 %d " % first) and first != 502:
            assert lengths == ([] if length is None else [length])


@pytest.mark.parametrize(("code", "logged_as"), [(0, None), (3, "the guest exited with code 3")])
def test_a_whole_answer_stays_whole_though_the_guest_exits(
    host: Running, code: int, logged_as: str | None
) -> None:
    before = len(host.log())
    assert request(host, f"/leave?{code}") == (200, b"all")
    if logged_as is not None:
        logged(host, logged_as)
    assert any(_is_served(host) for _ in range(3))
    told = [line for line in host.log()[before:].splitlines() if "exited" in line and "/hello" not in line]
    assert code or not told


def _is_served(host: Running) -> bool:
    """The guest exits when it hears that its answer was taken: the next request may be in that instance."""
    with contextlib.suppress(http.client.HTTPException):
        return request(host, "/hello")[0] == 200
    return False


def test_bodies_that_nobody_reads_and_fates_that_nobody_asks_for_hold_up_nobody(host: Running) -> None:
    with ThreadPoolExecutor(16) as pool:
        sent = [pool.submit(request, host, "/litter?20", b"x" * 100_000, "POST") for _ in range(16)]
        assert {one.result() for one in sent} == {(200, b"left")}
    assert request(host, "/hello")[0] == 200


@pytest.mark.parametrize(
    ("path", "outcome"),
    [
        ("/too-long", "Err(value=ErrorCode_HttpResponseBodySize(value=6))"),  # 7
        ("/too-short", "Err(value=ErrorCode_HttpResponseBodySize(value=2))"),
        ("/whole-answer", "Ok(value=None)"),  # 10: wt#13345
    ],
)
def test_the_guest_is_told_what_became_of_its_answer(host: Running, path: str, outcome: str) -> None:
    with contextlib.suppress(http.client.IncompleteRead):
        request(host, path)
    logged(host, f"outcome {outcome}")


def test_the_guest_goes_on_after_its_answer(host: Running) -> None:
    assert request(host, "/after") == (200, b"before")
    logged(host, "after the answer")  # 16


def test_a_task_that_never_ends_is_ended_by_the_deadline(host: Running) -> None:
    assert request(host, "/forever", name="hasty.example") == (200, b"answered")
    logged(host, "workload hasty: an instance is ended")
    assert request(host, "/hello", name="hasty.example")[0] == 200


def test_a_client_that_goes_away_ends_its_own_call(host: Running) -> None:
    at = urlsplit(host.url)
    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(request, host, "/wait?500")
        connection = socket.create_connection((at.hostname or "", at.port or 0), timeout=30)
        connection.sendall(b"GET /slow?100 HTTP/1.1\r\nHost: lab.example\r\n\r\n")
        assert connection.recv(100)
        connection.close()
        assert other.result() == (200, b"waited")


# ---------------------------------------------------------------- requests that go out


class Upstream(BaseHTTPRequestHandler):
    """Answers with what it was sent."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = b""
        if self.headers.get("transfer-encoding"):
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            while (line := self.rfile.readline()) != b"\r\n":
                body += b"[" + line.strip() + b"]"
        else:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
        told = f"{self.command} {self.path} {self.headers['host']} ".encode() + body
        self.send_response(200)
        self.send_header("content-length", str(len(told)))
        self.end_headers()
        self.wfile.write(told)

    do_GET = do_POST  # noqa: N815  the name is the library's

    def log_message(self, *args: object) -> None:
        """Be quiet."""


@pytest.fixture(scope="module")
def upstream() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Upstream) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_request_goes_out_while_its_body_comes_in(host: Running, upstream: str) -> None:
    body = bytes(1 << 20)
    answer = request(host, f"/send?{upstream}/up", body, "POST")  # 8: wt#13408
    assert answer == (200, f"POST /up {upstream} ".encode() + body)


def test_a_request_without_a_path_asks_for_the_root(host: Running, upstream: str) -> None:
    assert request(host, f"/send?{upstream}") == (200, f"GET / {upstream} ".encode())  # 19: WASI#949


def test_trailers_go_out(host: Running, upstream: str) -> None:
    answer = raw(
        host,
        b"POST /send?%s/t HTTP/1.1\r\nHost: lab.example\r\nConnection: close\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nx-sum: 6\r\n\r\n" % upstream.encode(),
    )
    assert b"abc[x-sum: 6]" in answer


def test_hosts_that_are_not_allowed_are_denied(host: Running) -> None:
    assert request(host, "/send?example.com/") == (418, b"ErrorCode_HttpRequestDenied")


def test_a_request_whose_body_is_not_as_long_as_it_says(host: Running, upstream: str) -> None:
    status, body = request(host, f"/wrong-length?{upstream}")
    assert (status, body, body.count(b"ErrorCode_HttpRequestBodySize(value=6)")) == (200, body, 2)  # 7
