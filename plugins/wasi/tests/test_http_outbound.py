"""What leaves for a request, byte for byte, and what does not leave at all."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import anyio
import pytest
from host_plugin_wasi.http.errors import HttpError
from host_plugin_wasi.http.fields import Fields
from host_plugin_wasi.http.messages import OutgoingRequest
from host_plugin_wasi.http.outbound import outbound
from host_plugin_wasi.http.outgoing import OutgoingBody
from hypothesis import given
from hypothesis import strategies as st
from origins import recording
from outgoing import client, fetch, request, response, write
from wasmplex.plugin import Err, Variant

pytestmark = pytest.mark.anyio


async def sent(make: Callable[[int], OutgoingRequest]) -> bytes:
    """Return everything that came over the connection of a request."""
    async with recording() as origin, client() as handler:
        assert (await fetch(handler, make(origin.port)))[0] == 200
        head = bytes(origin.connections[0])
        return head.replace(b"127.0.0.1:%d" % origin.port, b"HOST")


# ---------------------------------------------------------------- the request line


@pytest.mark.parametrize(
    "method", ["get", "GET", "options", "delete", "PURGE", "pUrGe", "M-SEARCH", "!#$%&'*+-.^_`|~9"]
)
async def test_a_method_leaves_in_its_case(method: str) -> None:
    known = method.islower() and method != "get"
    made = await sent(lambda port: request(port, "/a", method=method))
    assert made.split(b" ")[0] == (method.upper() if known or method == "get" else method).encode()


async def test_another_method_of_that_name_is_not_the_known_one() -> None:
    def make(port: int) -> OutgoingRequest:
        made = request(port, "/a")
        made.set_method(Variant("other", "get"))
        return made

    assert (await sent(make)).startswith(b"get /a HTTP/1.1\r\n")


@pytest.mark.parametrize(
    "path",
    [
        "/", "/?", "/a?", "/a??", "/a?b=c&d", "/a%2fb%2F%41", "//a", "/a//b/../c/./d", "/;a=b,c",
        "/a|b^c`d{}[]\\\"<>", "/a?%zz", "/%", "/~!$&'()*+,;=:@", "/" + "a" * 65535,
    ],
)  # fmt: skip
async def test_a_path_leaves_as_it_is(path: str) -> None:
    made = await sent(lambda port: request(port, path))
    assert made.split(b"\r\n")[0] == f"GET {path} HTTP/1.1".encode()


@pytest.mark.parametrize("path", [None, ""])
async def test_no_path_is_the_root(path: str | None) -> None:
    assert (await sent(lambda port: request(port, path))).startswith(b"GET / HTTP/1.1\r\n")


async def test_a_query_without_a_path_is_one_of_the_root() -> None:
    assert (await sent(lambda port: request(port, "?a"))).startswith(b"GET /?a HTTP/1.1\r\n")


async def test_options_may_be_of_the_whole_server() -> None:
    assert (await sent(lambda port: request(port, "*", method="options"))).startswith(
        b"OPTIONS * HTTP/1.1\r\n"
    )


@pytest.mark.parametrize(
    "path",
    ["a", "http://a/", "/a b", "/a\r\nx: y", "/a\n", "/a\0", "/a#b", "/\x7f", "/é", "**", "*?", "/\u2028"],
)
def test_what_is_no_path_cannot_be_set(path: str) -> None:
    made = request(80)
    with pytest.raises(Err):
        made.set_path_with_query(path)
    assert made.path_with_query() == "/"


@pytest.mark.parametrize("method", ["", "a b", "get\r\nx: y", "a\0", "é", "a:", "a/b"])
def test_what_is_no_method_cannot_be_set(method: str) -> None:
    made = request(80)
    with pytest.raises(Err):
        made.set_method(Variant("other", method))
    assert made.method() == Variant("get")


# ---------------------------------------------------------------- headers


async def test_headers_leave_in_their_case_order_and_number_and_nothing_is_added() -> None:
    headers = [("X-b", b"1"), ("x-A", b"2"), ("X-B", b"3"), ("x-b", b""), ("ACCEPT", b"*/*")]
    made = await sent(lambda port: request(port, "/", *headers))
    assert (
        made == b"GET / HTTP/1.1\r\nHost: HOST\r\nX-b: 1\r\nx-A: 2\r\nX-B: 3\r\nx-b: \r\nACCEPT: */*\r\n\r\n"
    )


@pytest.mark.parametrize(
    "value", ["é".encode(), b"\xe9", b"\xff\x80", bytes(range(0xA0, 0x100)), b"a\tb", b" \ta ", b'"\\"']
)
async def test_the_bytes_of_a_value_leave_as_they_are(value: bytes) -> None:
    assert b"\r\nx-a: " + value + b"\r\n" in await sent(lambda port: request(port, "/", ("x-a", value)))


@pytest.mark.parametrize("value", [b"a\r\nx: y", b"a\nx: y", b"a\r", b"\0", b"a\x01", b"\x7f"])
def test_what_is_no_value_cannot_be_set(value: bytes) -> None:
    with pytest.raises(Err) as error:
        Fields.from_list([("x-a", value)])
    assert error.value.value == Variant("invalid-syntax")


@pytest.mark.parametrize(
    "name", ["Transfer-Encoding", "connection", "HOST", "upgrade", "Keep-Alive", "Proxy-Connection"]
)
def test_what_belongs_to_the_connection_cannot_be_set(name: str) -> None:
    with pytest.raises(Err) as error:
        Fields.from_list([(name, b"a")])
    assert error.value.value == Variant("forbidden")


async def test_te_says_that_it_is_for_this_connection() -> None:
    made = await sent(lambda port: request(port, "/", ("TE", b"trailers")))
    assert made.endswith(b"\r\nTE: trailers\r\nConnection: TE\r\n\r\n")


async def test_the_host_is_the_authority_as_it_was_set() -> None:
    def make(port: int) -> OutgoingRequest:
        made = request(port)
        made.set_authority(f"LocalHost:{port}")
        return made

    async with recording() as origin, client("localhost") as handler:
        assert await fetch(handler, make(origin.port)) == (200, b"ok")
        assert origin.requests[0][0] == f"GET / HTTP/1.1\r\nHost: LocalHost:{origin.port}\r\n\r\n".encode()


# ---------------------------------------------------------------- the length of the body


async def with_body(
    method: str, *headers: tuple[str, bytes], pieces: tuple[bytes, ...] = (), before: bool = True
) -> bytes:
    """Return what came of a request with a body, written whole before the request is sent off, or after."""
    async with recording() as origin, client() as handler:
        made = request(origin.port, "/", *headers, method=method)
        body = made.body()
        if before:
            await write(body, *pieces)
            OutgoingBody.finish(body, None)
        future = handler.handle(made, None)
        if not before:
            await handler_is_waiting(origin.connections)
            await write(body, *pieces)
            OutgoingBody.finish(body, None)
        assert (await response(future)).status() == 200
        return bytes(origin.connections[0]).replace(b"127.0.0.1:%d" % origin.port, b"HOST")


async def handler_is_waiting(connections: list[bytearray]) -> None:
    with anyio.fail_after(10):
        while not (connections and connections[0]):  # noqa: ASYNC110  there is no event for what a server sees
            await anyio.sleep(0.001)


LINES = b" / HTTP/1.1\r\nHost: HOST\r\n"


@pytest.mark.parametrize("method", ["get", "head", "delete", "options", "REPORT"])
async def test_no_body_has_no_length(method: str) -> None:
    assert await sent(lambda port: request(port, method=method)) == method.upper().encode() + LINES + b"\r\n"


@pytest.mark.parametrize("method", ["post", "put", "patch"])
async def test_no_body_where_there_should_be_one_has_the_length_0(method: str) -> None:
    expected = method.upper().encode() + LINES + b"Content-Length: 0\r\n\r\n"
    assert await sent(lambda port: request(port, method=method)) == expected
    assert await with_body(method) == expected


async def test_a_body_that_is_there_leaves_with_its_length() -> None:
    assert await with_body("post", pieces=(b"a", b"bc")) == b"POST" + LINES + b"Content-Length: 3\r\n\r\nabc"
    assert await with_body("get", pieces=(b"a",)) == b"GET" + LINES + b"Content-Length: 1\r\n\r\na"


async def test_a_body_that_comes_later_leaves_in_chunks() -> None:
    made = await with_body("post", pieces=(b"a", b"b" * 17), before=False)
    assert made.startswith(b"POST" + LINES + b"Transfer-Encoding: chunked\r\n\r\n")
    assert made.endswith(b"\r\n0\r\n\r\n")


@pytest.mark.parametrize("before", [True, False])
async def test_the_length_that_the_guest_says_leaves(before: bool) -> None:
    made = await with_body("post", ("Content-length", b"003"), pieces=(b"a", b"bc"), before=before)
    assert made == b"POST" + LINES + b"Content-length: 003\r\n\r\nabc"


@pytest.mark.parametrize("value", [b"5_0", b"+5", b"-5", b"5, 5", b"", b"0x5", b"9" * 30])
async def test_what_is_no_length_does_not_leave(value: bytes) -> None:
    async with recording() as origin, client() as handler:
        made = request(origin.port, "/", ("content-length", value))
        assert await fetch(handler, made) == Variant("HTTP-protocol-error")
        with pytest.raises(Err):
            made.body()
        assert origin.connections == []


@pytest.mark.parametrize("second", [b"0", b"1"])
async def test_two_lengths_do_not_leave(second: bytes) -> None:
    async with recording() as origin, client() as handler:
        made = request(origin.port, "/", ("content-length", b"0"), ("Content-Length", second))
        assert await fetch(handler, made) == Variant("HTTP-protocol-error")
        assert origin.connections == []


@pytest.mark.parametrize("method", ["post", "get"])
async def test_a_length_without_a_body_does_not_leave(method: str) -> None:
    """The next request on the connection would be taken for the body of this one."""
    async with recording() as origin, client() as handler:
        made = request(origin.port, "/first", ("content-length", b"60"), method=method)
        assert await fetch(handler, made) == Variant("HTTP-request-body-size", 0)
        assert await fetch(handler, request(origin.port, "/second")) == (200, b"ok")
        assert [head.split(b" ")[1] for head, _ in origin.requests] == [b"/second"]


async def test_a_length_of_0_without_a_body_leaves() -> None:
    made = await sent(lambda port: request(port, "/", ("content-length", b"0")))
    assert made == b"GET" + LINES + b"content-length: 0\r\n\r\n"


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize(("length", "pieces"), [(b"5", (b"abc",)), (b"2", (b"abc",)), (b"1", (b"a", b"b"))])
async def test_a_body_of_another_length_is_no_request(
    length: bytes, pieces: tuple[bytes, ...], before: bool
) -> None:
    """Whatever of it has left, the server sees no whole request, and the connection is not used again."""
    async with recording() as origin, client() as handler:
        made = request(origin.port, "/", ("content-length", length), method="post")
        body = made.body()
        future = None if before else handler.handle(made, None)
        if not before:
            await handler_is_waiting(origin.connections)
        with pytest.raises(Err):  # noqa: PT012  too much fails when it is written, too little at the end
            await write(body, *pieces)
            OutgoingBody.finish(body, None)
        if future is None:
            future = handler.handle(made, None)
        assert (await response(future)).tag == "HTTP-request-body-size"
        assert await fetch(handler, request(origin.port, "/second")) == (200, b"ok")
        assert [head.split(b" ")[1] for head, _ in origin.requests] == [b"/second"]
        assert len(origin.connections) in (1, 2)
        assert bytes(origin.connections[-1]).startswith(b"GET /second ")


# ---------------------------------------------------------------- trailers


async def trailing(
    *trailers: tuple[str, bytes], before: bool, headers: tuple[tuple[str, bytes], ...] = ()
) -> Any:
    async with recording() as origin, client() as handler:
        made = request(origin.port, "/", *headers, method="post")
        body = made.body()
        await write(body, b"a")
        if before:
            OutgoingBody.finish(body, Fields.from_list(trailers))
        try:
            future = handler.handle(made, None)
            if not before:
                OutgoingBody.finish(body, Fields.from_list(trailers))
        except Err as error:
            return error.value
        got = await response(future)
        return origin.requests[0][1] if got.__class__.__name__ == "IncomingResponse" else got


@pytest.mark.parametrize("before", [True, False])
async def test_trailers_leave_as_they_are(before: bool) -> None:
    body = await trailing(("X-Sum", b"\xe9 "), ("x-sum", b"2"), before=before)
    assert body == b"1\r\na\r\n0\r\nX-Sum: \xe9 \r\nx-sum: 2\r\n\r\n"


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize(
    "name", ["content-length", "Authorization", "TE", "trailer", "Content-Type", "expect"]
)
async def test_what_frames_a_message_is_no_trailer(name: str, before: bool) -> None:
    assert await trailing((name, b"1"), before=before) == Variant("HTTP-protocol-error")


@pytest.mark.parametrize("before", [True, False])
async def test_there_is_no_room_for_trailers_behind_a_length(before: bool) -> None:
    got = await trailing(("x-a", b"1"), before=before, headers=(("content-length", b"1"),))
    assert got == Variant("HTTP-protocol-error")


async def test_no_trailers_are_none() -> None:
    assert await trailing(before=True) == b"a"


# ---------------------------------------------------------------- what does not leave


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda made: made.set_method(Variant("connect")), "HTTP-request-method-invalid"),
        (lambda made: made.set_method(Variant("other", "CONNECT")), "HTTP-request-method-invalid"),
        (lambda made: made.set_path_with_query("*"), "HTTP-request-URI-invalid"),
        (lambda made: made.set_path_with_query("/" * 65537), "HTTP-request-URI-too-long"),
        (lambda made: made.set_scheme(Variant("other", "ftp")), "HTTP-protocol-error"),
        (lambda made: made.set_authority(None), "HTTP-request-URI-invalid"),
        (lambda made: (made.set_method(Variant("trace")), made.body()), "HTTP-request-method-invalid"),
    ],
)
async def test_what_is_no_request_does_not_leave(
    change: Callable[[OutgoingRequest], object], expected: str
) -> None:
    async with recording() as origin, client() as handler:
        made = request(origin.port)
        change(made)
        assert (await fetch(handler, made)).tag == expected
        assert origin.connections == []


TOKENS = st.from_regex(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,12}", fullmatch=True)
ANY = st.one_of(
    st.binary(max_size=20), st.sampled_from([b"\r\n", b"a\r\nb: c", b"\0", b"\r\n\r\nGET / HTTP/1.1\r\n"])
)


@given(
    st.one_of(TOKENS, st.text(max_size=10)),
    st.one_of(st.just("/"), st.text(max_size=20), st.text(max_size=20).map("/".__add__)),
    st.lists(st.tuples(st.one_of(TOKENS, st.text(max_size=8)), ANY), max_size=4),
)
def test_whatever_a_guest_sets_is_one_request_or_none(
    method: str, path: str, headers: list[tuple[str, bytes]]
) -> None:
    """No line of a head is anybody's but the one who set it."""
    made = OutgoingRequest(Fields())
    accepted = []
    for header in headers:
        try:
            made.fields.append(*header)
            accepted.append(header)
        except Err:
            continue
    with contextlib.suppress(Err):
        made.set_method(Variant("other", method))
    with contextlib.suppress(Err):
        made.set_path_with_query(path)
    made.set_authority("a")
    try:
        head = outbound(made).head(0)
    except HttpError:
        return
    lines = head.split(b"\r\n")
    assert lines[-2:] == [b"", b""]
    assert b"\n" not in head.replace(b"\r\n", b"")
    names = [line.partition(b":")[0].decode() for line in lines[1:-2]]
    framing = {"Host", "Content-Length", "Connection"}
    assert [name for name in names if name not in framing] == [n for n, _ in accepted if n not in framing]
    assert len(lines[0].split(b" ")) == 3
