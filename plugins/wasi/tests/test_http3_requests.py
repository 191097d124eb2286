"""Requests of wasi:http 0.3: more can be written into one than can be sent (wasi-testsuite, http-request)."""

from __future__ import annotations

import asyncio
from collections.abc import Generator

import pytest
from host_plugin_wasi.http.errors import HttpError
from host_plugin_wasi.http.outbound import outbound
from host_plugin_wasi.p3.bodies import GuestBody, Outcome
from host_plugin_wasi.p3.client import _Feed
from host_plugin_wasi.p3.fields import Fields3
from host_plugin_wasi.p3.messages import RequestLine
from wasmplex.plugin import Err, Variant


def line(path: str | None = None, authority: str = "a.example") -> RequestLine:
    made = RequestLine(Fields3())
    made.set_path_with_query(path)
    made.set_authority(authority)
    return made


@pytest.mark.parametrize("path", ["/", "/a/../../b", "/?x", "?x", "a/b/c", "../..", "/\xe4\u20ac", "/100%"])
def test_paths_are_kept_as_they_were_set(path: str) -> None:
    assert line(path).path_with_query() == path


def test_an_empty_path_is_that_of_the_root() -> None:
    assert line("").path_with_query() == "/"


@pytest.mark.parametrize("path", ["/ ", "/\n", "/#x", "/\x7f", "a b", "/<", "/>", "/`"])
def test_what_is_no_path_is_refused(path: str) -> None:
    with pytest.raises(Err):
        line(path)


@pytest.mark.parametrize(
    "authority", ["user@a.example:80", "user:pass%20@localhost", "[::1]:80", "a.example"]
)
def test_authorities_may_name_a_user(authority: str) -> None:
    assert line("/", authority).authority() == authority


@pytest.mark.parametrize(
    "authority", ["::", ":@", "@@", "@:", " ", "", "#", "localhost:what", "a:99999", "a@b@c", "u@[::1"]
)
def test_what_is_no_authority_is_refused(authority: str) -> None:
    with pytest.raises(Err):
        line("/", authority)


def test_a_path_that_is_no_ascii_is_sent_in_percent_encoding() -> None:
    assert outbound(line("/\xe4?\u20ac=%41|")).target == b"/%C3%A4?%E2%82%AC=%41|"


@pytest.mark.parametrize(
    ("path", "authority"),
    [("a/b", "a.example"), ("../..", "a.example"), ("/", "allowed.example@evil.example")],
)
def test_what_cannot_be_sent_is_not_sent(path: str, authority: str) -> None:
    with pytest.raises(HttpError) as error:
        outbound(line(path, authority))
    assert error.value.code.tag == "HTTP-request-URI-invalid"


class Trailers:
    """What follows the body of a guest that has not written it yet."""

    closed = False

    def __await__(self) -> Generator[None, None, None]:
        raise AssertionError("nobody takes the body")

    def close(self) -> None:
        self.closed = True


@pytest.mark.anyio
async def test_a_body_that_nobody_begins_to_take_is_let_go_of() -> None:
    trailers = Trailers()
    feed = _Feed(outbound(line("/")), GuestBody(None, trailers), Outcome())
    task = feed.begin()
    feed.fail(HttpError(Variant("connection-terminated")))
    await asyncio.wait([task])
    await asyncio.sleep(0)
    assert trailers.closed
    assert feed.ready.is_set()
    with pytest.raises(HttpError):
        feed.upload.take()
