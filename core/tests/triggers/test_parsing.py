"""The request parser: what it finds, and that the cuts between the bytes do not matter."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wasmplex.triggers.http.fields import MOST_FIELDS
from wasmplex.triggers.http.http1.chunks import ChunkedDecoder
from wasmplex.triggers.http.http1.head import Head
from wasmplex.triggers.http.http1.incoming import Incoming
from wasmplex.triggers.http.http1.parsing import End, RequestParser
from wasmplex.triggers.http.refusal import Refused

from .table import MAX_HEAD, REQUESTS

RAW = {f"{table}: {row.case}": row.raw for table, rows in REQUESTS.items() for row in rows}


def events(*pieces: bytes, max_head: int = MAX_HEAD) -> list[Any]:
    """Return heads, bodies whole, and ends; the status that it is refused with, if it is."""
    parser = RequestParser(max_head)
    found: list[Any] = []
    try:
        for piece in pieces:
            parser.feed(piece)
            assert len(parser._incoming.data) <= max(max_head, 4096) + len(piece), "the buffer has a bound"
            while (event := parser.next_event()) is not None:
                if isinstance(event, bytes) and isinstance(found[-1], bytes):
                    found[-1] += event
                else:
                    found.append(event)
                if isinstance(event, End) or (isinstance(event, Head) and not event.length):
                    parser.begin()
    except Refused as refused:
        found.append(refused.status)
    return found


def cut(raw: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({0, len(raw), *(place % (len(raw) + 1) for place in cuts)})
    return [raw[start:end] for start, end in pairwise(places)]


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """Requests, with some of their bytes changed."""
    raw = bytearray(b"".join(draw(st.lists(st.sampled_from([*RAW.values()]), min_size=1, max_size=3))))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, max(0, min(len(raw), 300) - 1)))
        raw[at : at + draw(st.integers(0, 3))] = draw(
            st.one_of(st.binary(max_size=3), st.sampled_from([b"\r\n", b"\r", b"\n", b" ", b":", b"0", b";"]))
        )
    return bytes(raw)


@given(mutated(), st.lists(st.integers(0, 10_000), max_size=12))
def test_cuts_between_the_bytes_do_not_matter(raw: bytes, cuts: list[int]) -> None:
    assert events(*cut(raw, cuts)) == events(raw)


@pytest.mark.parametrize("raw", RAW.values(), ids=RAW.keys())
def test_requests_may_come_byte_by_byte(raw: bytes) -> None:
    assert events(*(raw[i : i + 1] for i in range(len(raw)))) == events(raw)


@given(st.binary(max_size=300), st.sampled_from([b"", *RAW.values(), *(raw[:-4] for raw in RAW.values())]))
def test_no_bytes_break_it(raw: bytes, start: bytes) -> None:
    found = events(start + raw)
    assert all(400 <= status <= 505 for status in found if isinstance(status, int))


def test_a_head() -> None:
    [head] = events(b"GET /a%20b?x HTTP/1.1\r\nHost: a:1\r\nX-A: 1\r\nx-a: \t2 \r\n\r\n")
    assert head[:3] == ("GET", "/a%20b?x", "1.1")
    assert head.authority == ("a:1", "a")
    assert head.headers == [(b"host", b"a:1"), (b"x-a", b"1"), (b"x-a", b"2")]
    assert (head.keep_alive, head.expects_continue, head.length) == (True, False, 0)


def test_the_host_in_an_absolute_target_counts() -> None:
    [head] = events(b"GET http://Other:8/p HTTP/1.1\r\nx: y\r\nhost: a\r\n\r\n")
    assert head.authority == ("Other:8", "other")
    assert head.headers == [(b"host", b"Other:8"), (b"x", b"y")]


@pytest.mark.parametrize(("digits", "served"), [(b"1" * 5000, False), (b"0" * 5000 + b"80", True)])
@pytest.mark.parametrize(
    "head", [b"GET http://a:%b/ HTTP/1.1\r\nHost: a\r\n\r\n", b"GET / HTTP/1.1\r\nHost: a:%b\r\n\r\n"]
)
def test_a_port_of_thousands_of_digits(head: bytes, digits: bytes, served: bool) -> None:
    """More than Python makes a number of."""
    (found,) = events(head % digits, max_head=1 << 16)
    assert isinstance(found, Head) if served else found == 400


def test_nothing_is_found_behind_a_request_before_it_is_dealt_with() -> None:
    parser = RequestParser(MAX_HEAD)
    parser.feed(b"GET /1 HTTP/1.1\r\nhost: a\r\n\r\n\r\n")
    assert isinstance(parser.next_event(), Head)
    assert not parser.waiting, "an empty line is nothing"
    parser.feed(b"\0")
    assert parser.waiting
    assert parser.next_event() is None
    parser.begin()
    with pytest.raises(Refused):
        parser.next_event()


@pytest.mark.parametrize(("sent", "in_head"), [
    (b"", False), (b"\r\n", False), (b"\r", True), (b"G", True), (b"GET / HTTP/1.1\r\n", True),
    (b"GET / HTTP/1.1\r\nhost: a\r\n\r\n", False),
    (b"GET / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\n\r\n", False),
])  # fmt: skip
def test_whether_a_head_has_begun(sent: bytes, in_head: bool) -> None:
    parser = RequestParser(MAX_HEAD)
    parser.feed(sent)
    parser.next_event()
    assert parser.in_head == in_head


@pytest.mark.parametrize("size", [1, 4, 5, 65_536, 1_000_000])
def test_large_bodies_in_chunks_of_any_size(size: int) -> None:
    body = bytes(range(256)) * (80 if size < 10 else 4000)
    sent = b"".join(b"%x\r\n%s\r\n" % (len(p), p) for p in cut(body, [*range(0, len(body), size)]))
    head = b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n"
    raw = head + sent + b"0\r\n\r\n"
    parser, found = RequestParser(MAX_HEAD), b""
    for start in range(0, len(raw), 65_536):
        parser.feed(raw[start : start + 65_536])
        while (event := parser.next_event()) is not None:
            found += event if isinstance(event, bytes) else b""
    assert found == body


@pytest.mark.parametrize(("more", "found"), [(0, Head), (1, int)])
def test_the_number_of_fields_has_a_limit(more: int, found: type) -> None:
    lines = b"a:\r\n" * (MOST_FIELDS - 1 + more)
    assert isinstance(events(b"GET / HTTP/1.1\r\nhost: a\r\n%s\r\n" % lines, max_head=65_536)[0], found)
    raw = b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\na:\r\n%s\r\n" % lines
    assert isinstance(events(raw, max_head=65_536)[1], End if found is Head else int)


def test_a_head_that_comes_again_is_not_parsed_again() -> None:
    get = b"GET /a HTTP/1.1\r\nhost: a\r\n\r\n"
    post = b"POST /b HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\n"
    found = events(get + get + post + b"cd" + post + b"ef" + get)
    assert found[0] is found[1]
    assert found[2] is found[5]
    assert found[:2] + found[2:5] == events(get) * 2 + events(post, b"cd")
    assert found[5:] == events(post, b"ef") + events(get)


@pytest.mark.parametrize("fields", [b"x: %s\r\n" % (b"y" * 4000), b"x:y\r\n" * 40], ids=["large", "many"])
def test_what_is_kept_for_each_connection_has_a_bound(fields: bytes) -> None:
    large = b"GET / HTTP/1.1\r\nhost: a\r\n%s\r\n" % fields
    found = events(large, large, max_head=8192)
    assert found[0] == found[1]
    assert found[0] is not found[1]


@pytest.mark.parametrize("limit", [40, 60, 100])
def test_the_limit_of_a_head_is_exact(limit: int) -> None:
    line = b"GET / HTTP/1.1\r\nhost: a\r\nx: "
    fits = line + b"y" * (limit - len(line) - 4) + b"\r\n\r\n"
    assert len(fits) == limit
    assert isinstance(events(fits, max_head=limit)[0], Head)
    assert events(fits[:-4] + b"y\r\n\r\n", max_head=limit) == [431]


@pytest.mark.parametrize("first", [b"", b"1\r\na", b"1\r\n", b"1", b"1;e=f\r\na\r\n"])
def test_small_chunks_are_looked_at_a_few_at_a_time_however_they_are_cut(first: bytes) -> None:
    decoder, incoming, count = ChunkedDecoder(1000), Incoming(), 5000
    whole = b"1\r\na\r\n" * count
    body = b""
    for part in (first, whole.removeprefix(first)):
        incoming.add(part)
        body += decoder.decode(incoming)
        assert len(body) <= 1024
    rounds = 1
    while decoder.behind:
        piece = decoder.decode(incoming)
        assert len(piece) <= 1024
        body += piece
        rounds += 1
    assert set(body) == {*b"a"}
    assert count <= len(body) <= count + 1
    assert rounds >= count // 1024
