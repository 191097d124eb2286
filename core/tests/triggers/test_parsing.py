"""The request parser: what it finds, what it refuses, and that the cuts between its bytes do not matter."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wasmplex.triggers.http.parsing import Refused, RequestParser


class Found(NamedTuple):
    """A request, as far as it was parsed."""

    method: str
    raw_path: bytes
    query: bytes
    version: str
    headers: list[tuple[bytes, bytes]]
    keep_alive: bool
    expects_continue: bool
    body: bytes = b""
    trailers: list[tuple[bytes, bytes]] | None = None


class Sink:
    def __init__(self) -> None:
        self.found: list[Found] = []

    def on_head(self, *args: Any, **flags: Any) -> None:
        self.found.append(Found(*args, **flags))

    def on_piece(self, body: bytes) -> None:
        self.found[-1] = self.found[-1]._replace(body=self.found[-1].body + body)

    def on_end(self, trailers: list[tuple[bytes, bytes]]) -> None:
        self.found[-1] = self.found[-1]._replace(trailers=trailers)


def parse(*pieces: bytes, max_head: int = 4096) -> list[Found]:
    sink = Sink()
    parser = RequestParser(sink, max_head)
    for piece in pieces:
        parser.feed(piece)
    return sink.found


REQUESTS = [
    b"GET / HTTP/1.1\r\nhost: a\r\n\r\n",
    b"GET /a%20b/../c?x=%2F&y HTTP/1.1\r\nHost: a:1\r\nX-A: 1\r\nx-a: 2\r\n\r\n",
    b"POST /p HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello",
    b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n5;e\r\nabcde\r\n0\r\nX-T: 1\r\n\r\n",
    b"POST /u HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: h2c\r\ncontent-length: 2\r\n\r\nok",
    b"OPTIONS * HTTP/1.1\r\nhost: a\r\n\r\n",
    b"GET http://u@other:8/p?q HTTP/1.1\r\nhost: a\r\n\r\n",
    b"PATCH / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n",
]


@given(st.lists(st.sampled_from(REQUESTS), min_size=1, max_size=4), st.data())
def test_cuts_between_the_bytes_do_not_matter(requests: list[bytes], data: st.DataObject) -> None:
    raw = b"".join(requests)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(raw)), max_size=12)))
    pieces = [raw[a:b] for a, b in zip([0, *cuts], [*cuts, len(raw)], strict=True)]
    found = parse(*pieces)
    assert found == parse(raw)
    assert len(found) == len(requests)
    assert all(request.trailers is not None for request in found)


def test_heads_are_as_they_were_sent() -> None:
    [request] = parse(REQUESTS[1])
    headers = [(b"host", b"a:1"), (b"x-a", b"1"), (b"x-a", b"2")]
    assert request == Found(
        "GET",
        b"/a%20b/../c",
        b"x=%2F&y",
        "1.1",
        headers,
        keep_alive=True,
        expects_continue=False,
        trailers=[],
    )


def test_trailers_are_no_headers() -> None:
    [request] = parse(REQUESTS[3])
    assert b"x-t" not in dict(request.headers)
    assert (request.body, request.trailers) == (b"abcde", [(b"x-t", b"1")])


def test_a_wish_to_upgrade_is_ignored_and_the_body_kept() -> None:
    [request, after] = parse(REQUESTS[4] + REQUESTS[0])
    assert (request.raw_path, request.body) == (b"/u", b"ok")
    assert b"upgrade" not in dict(request.headers)
    assert after.raw_path == b"/"


def test_the_host_in_an_absolute_target_counts() -> None:
    [head] = parse(REQUESTS[6])
    assert (head.raw_path, head.query) == (b"/p", b"q")
    assert [v for n, v in head.headers if n == b"host"] == [b"other:8"]


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [(b"http://h", b"/", b""), (b"http://h?q", b"/", b"q"), (b"HTTPS://h/", b"/", b"")],
)
def test_absolute_targets_without_a_path(target: bytes, path: bytes, query: bytes) -> None:
    [head] = parse(b"GET %s HTTP/1.1\r\nhost: a\r\n\r\n" % target)
    assert (head.raw_path, head.query) == (path, query)


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00", 400),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n", 400),
        (b"GET /#f HTTP/1.1\r\nhost: a\r\n\r\n", 400),
        (b"GET ftp://h/ HTTP/1.1\r\nhost: a\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nhost: a\r\nx y: 1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nhost: a\r\nx : 1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nhost: a\r\nx: a\rb\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: -1\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", 400),
        (b"CONNECT a:1 HTTP/1.1\r\nhost: a\r\n\r\n", 501),
        (b"GET /" + b"x" * 5000 + b" HTTP/1.1\r\nhost: a\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\nhost: a\r\nx: " + b"y" * 5000 + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\nhost: a\r\n" + b"x: y\r\n" * 1000 + b"\r\n", 431),
    ],
)
def test_what_is_no_request_is_refused(raw: bytes, status: int) -> None:
    with pytest.raises(Refused) as whole:
        parse(raw)
    with pytest.raises(Refused) as bytewise:
        parse(*(raw[i : i + 1] for i in range(len(raw))))
    assert (whole.value.status, bytewise.value.status) == (status, status)


@pytest.mark.parametrize("head", [b"GET / HTTP/1.1\r\nhost: a\r\nx: ", b"GET / HTTP/1.1\r\nhost: a\r\n"])
def test_a_head_that_never_ends_is_refused_before_it_fills_the_memory(head: bytes) -> None:
    with pytest.raises(Refused) as refused:
        parse(head, *([b"y" * 1000] * 100))
    assert refused.value.status == 431


def test_trailers_have_the_same_limit() -> None:
    raw = b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\n" + b"x: y\r\n" * 1000
    with pytest.raises(Refused) as refused:
        parse(raw)
    assert refused.value.status == 431


@pytest.mark.parametrize(
    "raw",
    [
        b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
        b"GET / HTTP/1.0\r\n\r\n",
        b"GET / HTTP/1.0\r\nconnection: keep-alive\r\n\r\n",
    ],
)
def test_what_follows_the_last_request_is_ignored(raw: bytes) -> None:
    [head] = parse(raw + b"GET /more HTTP/1.1\r\nhost: a\r\n\r\n", b"\x00garbage")
    assert not head.keep_alive


def test_the_body_of_the_last_request_is_not() -> None:
    raw = b"POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 4\r\n\r\n"
    [request] = parse(raw, b"bo", b"dy", b"GET /")
    assert (request.body, request.trailers) == (b"body", [])


@given(st.binary(max_size=300), st.data())
def test_no_bytes_break_it(raw: bytes, data: st.DataObject) -> None:
    start = data.draw(st.sampled_from([b"", *REQUESTS, *(r[:-4] for r in REQUESTS)]))
    status = 400
    try:
        parse(start + raw)
    except Refused as refused:
        status = refused.status
    assert 400 <= status <= 501
