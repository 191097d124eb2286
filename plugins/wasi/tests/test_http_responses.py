"""What is a response, whole and nothing else, in whatever pieces it comes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import pytest
from host_plugin_wasi.http.errors import HttpError
from host_plugin_wasi.http.responses import ResponseParser
from host_plugin_wasi.http_settings import OutgoingSettings
from hypothesis import example, given
from hypothesis import strategies as st

LINE = b"HTTP/1.1 200 OK\r\n"
CHUNKED = LINE + b"transfer-encoding: chunked\r\n\r\n"


@dataclass(frozen=True)
class Got:
    """What a parser made of the bytes of a connection that was then closed."""

    status: int = 200
    body: bytes = b""
    headers: tuple[tuple[bytes, bytes], ...] = ()
    trailers: tuple[tuple[bytes, bytes], ...] = ()
    reusable: bool = False


def parse(
    pieces: Iterable[bytes], *, to_head: bool = False, settings: OutgoingSettings | None = None
) -> object:
    """Return what was got, or the case of ``error-code``."""
    parser = ResponseParser(settings or OutgoingSettings(), to_head=to_head)
    head, body = None, b""
    try:
        for piece in pieces:
            rest = piece
            if head is None:
                if (found := parser.feed_head(piece)) is None:
                    continue
                head, rest = found
            body += parser.feed(rest)
        if head is None:
            return "nothing"
        reusable = parser.done and parser.keep_alive and not parser.excess
        parser.end()
    except HttpError as error:
        return error.code.tag
    return Got(head.status, body, tuple(head.headers), tuple(parser.trailers), reusable)


def splits(data: bytes) -> list[list[bytes]]:
    """Return the data whole, byte by byte, and in two pieces cut anywhere."""
    return [[data], [data[i : i + 1] for i in range(len(data))]] + [
        [data[:i], data[i:]] for i in range(1, len(data))
    ]


TAKEN = {
    "length": (LINE + b"content-length: 5\r\n\r\nhello", Got(body=b"hello", reusable=True)),
    "nothing": (LINE + b"Content-Length: 0\r\n\r\n", Got(reusable=True)),
    "chunks": (
        CHUNKED + b"5;a=b\r\nhello\r\n006\r\n world\r\n0\r\n\r\n", Got(body=b"hello world", reusable=True)
    ),
    "chunks, in any case": (
        LINE + b"Transfer-Encoding: CHUNKED\r\n\r\n1\r\na\r\n0\r\n\r\n", Got(body=b"a", reusable=True)
    ),
    "spaces behind the size": (CHUNKED + b"1  \r\na\r\n0\r\n\r\n", Got(body=b"a", reusable=True)),
    "trailers": (
        CHUNKED + b"1\r\na\r\n0\r\nX-Sum: 1\r\nx-sum:  2 \r\n\r\n",
        Got(body=b"a", trailers=((b"X-Sum", b"1"), (b"x-sum", b"2")), reusable=True),
    ),
    "until it closes": (LINE + b"\r\nhello", Got(body=b"hello")),
    "closes": (LINE + b"connection: Close\r\ncontent-length: 1\r\n\r\na", Got(body=b"a")),
    "closes, among others": (LINE + b"connection: x, close\r\ncontent-length: 1\r\n\r\na", Got(body=b"a")),
    "HTTP/1.0": (b"HTTP/1.0 200 OK\r\ncontent-length: 1\r\n\r\na", Got(body=b"a")),
    "no content": (b"HTTP/1.1 204 No Content\r\n\r\n", Got(status=204, reusable=True)),
    "not modified": (b"HTTP/1.1 304 x\r\ncontent-length: 9\r\n\r\n", Got(status=304, reusable=True)),
    "not modified, in chunks": (
        b"HTTP/1.1 304 x\r\ntransfer-encoding: chunked\r\n\r\n", Got(status=304, reusable=True)
    ),
    "any status": (b"HTTP/1.1 799 x\r\ncontent-length: 0\r\n\r\n", Got(status=799, reusable=True)),
    "no reason": (b"HTTP/1.1 200\r\ncontent-length: 0\r\n\r\n", Got(reusable=True)),
    "informational": (
        b"HTTP/1.1 103 Early Hints\r\nlink: <a>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n" + LINE
        + b"content-length: 1\r\n\r\na",
        Got(body=b"a", reusable=True),
    ),
    "lines that end in LF": (
        b"HTTP/1.1 200 OK\nx-a: b\ncontent-length: 1\n\na", Got(body=b"a", reusable=True)
    ),
    "a folded line": (LINE + b"content-length: 0\r\nx-a: b\r\n \t c\r\n\r\n", Got(reusable=True)),
    "bytes beyond ASCII": (LINE + b"content-length: 0\r\nx-a: \xc3\xa9\xff\r\n\r\n", Got(reusable=True)),
    "more than it said": (LINE + b"content-length: 1\r\n\r\nabc", Got(body=b"a")),
    "a second response": (LINE + b"content-length: 1\r\n\r\na" + LINE, Got(body=b"a")),
    "something behind chunks": (CHUNKED + b"1\r\na\r\n0\r\n\r\nHTTP/1.1 200", Got(body=b"a")),
    "nonsense behind chunks": (CHUNKED + b"1\r\na\r\n0\r\n\r\n\0", Got(body=b"a")),
    "a body of a 204": (b"HTTP/1.1 204 x\r\n\r\na", Got(status=204)),
}  # fmt: skip


@pytest.mark.parametrize("name", TAKEN)
def test_a_response_is_taken_in_any_pieces(name: str) -> None:
    data, expected = TAKEN[name]
    for pieces in splits(data):
        got = parse(pieces)
        assert isinstance(got, Got), pieces
        assert Got(got.status, got.body, (), got.trailers, got.reusable) == expected, pieces


PROTOCOL, CODING, INCOMPLETE = (
    "HTTP-protocol-error",
    "HTTP-response-transfer-coding",
    "HTTP-response-incomplete",
)
REFUSED = {
    "a length twice": (LINE + b"content-length: 1\r\ncontent-length: 1\r\n\r\na", PROTOCOL),
    "two lengths": (LINE + b"content-length: 1\r\ncontent-length: 2\r\n\r\na", PROTOCOL),
    "a list of lengths": (LINE + b"content-length: 1, 1\r\n\r\na", PROTOCOL),
    "a length with a sign": (LINE + b"content-length: +1\r\n\r\na", PROTOCOL),
    "a length with _": (LINE + b"content-length: 1_0\r\n\r\n0123456789", PROTOCOL),
    "no length": (LINE + b"content-length: \r\n\r\na", PROTOCOL),
    "a length beyond 64 bits": (LINE + b"content-length: 18446744073709551617\r\n\r\na", PROTOCOL),
    "chunks and a length": (
        LINE + b"transfer-encoding: chunked\r\ncontent-length: 1\r\n\r\n0\r\n\r\n", PROTOCOL
    ),
    "a length and chunks": (
        LINE + b"content-length: 1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", PROTOCOL
    ),
    "another coding": (LINE + b"transfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n", CODING),
    "another coding alone": (LINE + b"transfer-encoding: gzip\r\n\r\na", CODING),
    "chunks twice": (
        LINE + b"transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", CODING
    ),
    "what is not quite chunked": (LINE + b"transfer-encoding: xchunked\r\n\r\n0\r\n\r\n", CODING),
    "chunks in HTTP/1.0": (b"HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", PROTOCOL),
    "a chunk without a size": (CHUNKED + b"\r\na\r\n0\r\n\r\n", CODING),
    "a chunk with a sign": (CHUNKED + b"-1\r\na\r\n0\r\n\r\n", CODING),
    "a chunk with 0x": (CHUNKED + b"0x1\r\na\r\n0\r\n\r\n", CODING),
    "a chunk beyond 64 bits": (CHUNKED + b"10000000000000001\r\na\r\n0\r\n\r\n", CODING),
    "a chunk that goes on": (CHUNKED + b"1\r\nab\r\n0\r\n\r\n", CODING),
    "a size that ends in LF": (CHUNKED + b"1\na\r\n0\r\n\r\n", CODING),
    "a length among the trailers": (CHUNKED + b"0\r\ncontent-length: 1\r\n\r\n", CODING),
    "a trailer without a name": (CHUNKED + b"0\r\n: 1\r\n\r\n", CODING),
    "HTTP/2": (b"HTTP/2.0 200 OK\r\ncontent-length: 0\r\n\r\n", PROTOCOL),
    "HTTP/0.9": (b"HTTP/0.9 200 OK\r\ncontent-length: 0\r\n\r\n", PROTOCOL),
    "another protocol": (b"ICY 200 OK\r\n\r\n", PROTOCOL),
    "RTSP": (b"RTSP/1.0 200 OK\r\ncontent-length: 0\r\n\r\n", PROTOCOL),
    "ICE": (b"ICE/1.0 200 OK\r\ncontent-length: 0\r\n\r\n", PROTOCOL),
    "HTTP/1.2": (b"HTTP/1.2 200 OK\r\ncontent-length: 0\r\n\r\n", PROTOCOL),
    "an empty line first": (b"\r\n" + LINE + b"content-length: 0\r\n\r\n", PROTOCOL),
    "two spaces": (b"HTTP/1.1  200 OK\r\ncontent-length: 0\r\n\r\n", PROTOCOL),
    "a tab": (b"HTTP/1.1\t200 OK\r\ncontent-length: 0\r\n\r\n", PROTOCOL),
    "no space behind the status": (b"HTTP/1.1 200OK\r\ncontent-length: 0\r\n\r\n", PROTOCOL),
    "a control character in the reason": (b"HTTP/1.1 200 O\0K\r\ncontent-length: 0\r\n\r\n", PROTOCOL),
    "two digits": (b"HTTP/1.1 20 OK\r\n\r\n", PROTOCOL),
    "four digits": (b"HTTP/1.1 2000 OK\r\n\r\n", PROTOCOL),
    "a status below 100": (b"HTTP/1.1 099 OK\r\n\r\n", PROTOCOL),
    "another protocol, unasked": (b"HTTP/1.1 101 x\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n", PROTOCOL),
    "a space before the colon": (LINE + b"x-a : b\r\n\r\n", PROTOCOL),
    "a space in a name": (LINE + b"x a: b\r\n\r\n", PROTOCOL),
    "no colon": (LINE + b"x-a\r\n\r\n", PROTOCOL),
    "no name": (LINE + b": b\r\n\r\n", PROTOCOL),
    "NUL in a value": (LINE + b"x-a: b\0\r\n\r\n", PROTOCOL),
    "CR in a value": (LINE + b"x-a: b\rc\r\n\r\n", PROTOCOL),
    "a control character": (LINE + b"x-a: b\x01\r\n\r\n", PROTOCOL),
    "less than it said": (LINE + b"content-length: 2\r\n\r\na", INCOMPLETE),
    "no last chunk": (CHUNKED + b"1\r\na\r\n", INCOMPLETE),
    "no end behind the last chunk": (CHUNKED + b"1\r\na\r\n0\r\n", INCOMPLETE),
    "half a trailer": (CHUNKED + b"0\r\nx-a", INCOMPLETE),
    "no head": (LINE + b"x-a: b\r\n", "nothing"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_a_response_is_refused_in_any_pieces(name: str) -> None:
    data, expected = REFUSED[name]
    for pieces in splits(data):
        assert parse(pieces) == expected, pieces


def test_values_are_bytes_without_the_white_space_around_them() -> None:
    got = parse([LINE + b"X-A: \t \xc3\xa9 \t\r\nx-a:\r\nX-B: a\r\n\tb\r\ncontent-length: 0\r\n\r\n"])
    assert isinstance(got, Got)
    assert got.headers[:3] == ((b"X-A", b"\xc3\xa9"), (b"x-a", b""), (b"X-B", b"a b"))


@pytest.mark.parametrize("framing", [b"content-length: 5", b"transfer-encoding: chunked", b"x-a: b"])
def test_the_answer_to_a_head_has_no_body(framing: bytes) -> None:
    for pieces in splits(LINE + framing + b"\r\n\r\n"):
        got = parse(pieces, to_head=True)
        assert isinstance(got, Got)
        assert (got.body, got.reusable) == (b"", True)
    for pieces in splits(LINE + framing + b"\r\n\r\nhello"):
        got = parse(pieces, to_head=True)
        assert isinstance(got, Got)
        assert (got.body, got.reusable) == (b"", False)


# ---------------------------------------------------------------- limits

HEAD = LINE + b"content-length: 0\r\nx-a: " + b"v" * 40_000 + b"\r\n\r\n"


def test_a_head_of_the_limit_is_taken_and_one_byte_more_is_not() -> None:
    at = len(HEAD)
    for pieces in ([HEAD], [HEAD[:30_000], HEAD[30_000:]], [HEAD[:-1], HEAD[-1:]]):
        assert isinstance(parse(pieces, settings=OutgoingSettings(max_head=at)), Got)
        assert (
            parse(pieces, settings=OutgoingSettings(max_head=at - 1)) == "HTTP-response-header-section-size"
        )


def test_an_endless_head_is_refused_at_the_limit() -> None:
    settings = OutgoingSettings(max_head=1000)
    parser, taken = ResponseParser(settings, to_head=False), 0
    with pytest.raises(HttpError) as error:  # noqa: PT012  how soon it is refused is what is tested
        for _ in range(10):
            taken += 200
            assert parser.feed_head(b"a" * 200) is None
    assert (error.value.code.tag, taken) == ("HTTP-response-header-section-size", 1200)


@pytest.mark.parametrize("more", [b"", b" folded\r\n"])
def test_the_number_of_headers_has_a_limit(more: bytes) -> None:
    lines = b"".join(b"x-%d: 1\r\n" % n for n in range(9)) + more
    settings = OutgoingSettings(max_headers=10)
    expected = "HTTP-response-header-section-size" if more else 200
    got = parse([LINE + b"content-length: 0\r\n" + lines + b"\r\n"], settings=settings)
    assert (got.status if isinstance(got, Got) else got) == expected


def test_the_number_of_informational_responses_has_a_limit() -> None:
    early = b"HTTP/1.1 103 x\r\n\r\n"
    end = LINE + b"content-length: 0\r\n\r\n"
    settings = OutgoingSettings(max_informational=2)
    for pieces in splits(early * 2 + end):
        assert isinstance(parse(pieces, settings=settings), Got)
    for pieces in splits(early * 3 + end):
        assert parse(pieces, settings=settings) == PROTOCOL


@pytest.mark.parametrize("trailers", [b"x-a: " + b"v" * 91 + b"\r\n", b"x-a: 1234\r\n" * 9])
def test_trailers_have_a_limit(trailers: bytes) -> None:
    settings = OutgoingSettings(max_trailers=100)
    end = b"0\r\n" + trailers + b"\r\n"
    assert len(trailers) <= 100
    for pieces in splits(CHUNKED + end):
        assert isinstance(parse(pieces, settings=settings), Got)
    for pieces in splits(CHUNKED + b"0\r\nxx: \r\n" + trailers + b"\r\n"):
        assert parse(pieces, settings=settings) == "HTTP-response-trailer-section-size"


@pytest.mark.parametrize("endless", [b"x-a: ", b"x-a: 1\r\n", b""])
def test_endless_trailers_and_extensions_are_refused_at_the_limit(endless: bytes) -> None:
    parser = ResponseParser(OutgoingSettings(max_trailers=1000), to_head=False)
    assert parser.feed_head(CHUNKED)
    parser.feed(b"1\r\na\r\n" + (b"0\r\n" + endless if endless else b"1;x="))
    with pytest.raises(HttpError, match="max_trailers"):  # noqa: PT012  one of the pieces is too much
        for _ in range(20):
            parser.feed(endless * 10 if endless.endswith(b"\n") else b"a" * 100)


# ---------------------------------------------------------------- anything at all


@given(st.data(), st.sampled_from(sorted(TAKEN) + sorted(REFUSED)))
def test_pieces_do_not_matter(data: st.DataObject, name: str) -> None:
    whole = (TAKEN | REFUSED)[name][0]
    cuts = sorted(data.draw(st.sets(st.integers(1, max(1, len(whole) - 1)), max_size=6)))
    pieces = [whole[a:b] for a, b in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
    assert parse(pieces) == parse([whole])


@given(
    st.lists(st.binary(min_size=1, max_size=50), max_size=6),
    st.lists(
        st.tuples(st.sampled_from([b"x-a", b"X-B"]), st.from_regex(rb"[!-~]{0,9}", fullmatch=True)),
        max_size=3,
    ),
    st.integers(1, 40),
)
def test_what_is_sent_in_chunks_comes_back(
    chunks: list[bytes], trailers: list[tuple[bytes, bytes]], step: int
) -> None:
    body = b"".join(b"%X\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)
    end = b"0\r\n" + b"".join(b"%b:%b\r\n" % trailer for trailer in trailers) + b"\r\n"
    data = CHUNKED + body + end
    got = parse(data[i : i + step] for i in range(0, len(data), step))
    assert isinstance(got, Got)
    assert (got.body, got.trailers, got.reusable) == (b"".join(chunks), tuple(trailers), True)


MUTATIONS = st.lists(
    st.one_of(
        st.binary(max_size=20),
        st.sampled_from(
            [b"\r\n", b"\n", b"\r", b"\0", b": ", b"chunked", b"content-length: 1\r\n", b"0\r\n\r\n", LINE]
        ),
    ),
    max_size=8,
).map(b"".join)


@given(
    st.sampled_from([d for d, _ in (TAKEN | REFUSED).values()]),
    MUTATIONS,
    st.integers(0, 80),
    st.integers(1, 9),
)
@example(CHUNKED + b"0\r\n\r\n", b"HTTP/1.1 101 x\r\n\r\n", 80, 9)
def test_nothing_but_typed_errors_comes_of_anything(data: bytes, junk: bytes, at: int, step: int) -> None:
    mutated = data[:at] + junk + data[at:]
    whole = parse([mutated])
    pieces = parse(mutated[i : i + step] for i in range(0, len(mutated), step))
    if isinstance(whole, Got) or isinstance(pieces, Got):
        assert whole == pieces
