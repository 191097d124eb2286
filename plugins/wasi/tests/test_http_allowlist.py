"""Which hosts requests may go to, however they are written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from host_plugin_wasi.http.allowlist import AllowedHosts
from host_plugin_wasi.http.authority import parse
from host_plugin_wasi.http.messages import OutgoingRequest
from host_plugin_wasi.http.outbound import outbound
from origins import recording
from outgoing import client, fetch, request
from wasmplex.errors import ConfigError
from wasmplex.plugin import Err, Variant

pytestmark = pytest.mark.anyio


def reaches(entry: str, authority: str) -> bool:
    """Say whether a request to an authority is allowed by an entry."""
    found = parse(authority, 443)
    return (found.name, found.port) in AllowedHosts([entry])


@pytest.mark.parametrize(
    ("entry", "authority", "allowed"),
    [
        ("example.com", "example.com", True),
        ("example.com", "EXAMPLE.com.:8443", True),
        ("Example.COM.", "example.com", True),
        ("example.com", "sub.example.com", False),
        ("example.com", "example.com.evil", False),
        ("example.com", "example-com", False),
        ("example.com:8443", "example.com:8443", True),
        ("example.com:8443", "example.com", False),
        ("example.com:443", "example.com:", True),
        ("*.example.com", "a.b.example.com:80", True),
        ("*.example.com", "a.example.com.", True),
        ("*.example.com", "example.com", False),
        ("*.example.com", "aexample.com", False),
        ("*.example.com:80", "a.example.com:81", False),
        ("*", "anything:1", True),
        ("*", "[::1]", True),
        ("*:443", "anything", True),
        ("*:443", "anything:80", False),
        ("[::1]:80", "[::1]:80", True),
        ("[::1]", "[0:0:0:0:0:0:0:1]", True),
        ("[0:0::1]", "[::0001]", True),
        ("[::1]", "[::2]", False),
        ("[2001:DB8::a]", "[2001:db8::A]", True),
        ("10.0.0.1", "10.0.0.1", True),
        ("10.0.0.1", "[::ffff:10.0.0.1]", False),
        ("[::ffff:10.0.0.1]", "10.0.0.1", False),
        ("*.com", "10.0.0.1", False),
    ],
)
def test_the_allow_list(entry: str, authority: str, allowed: bool) -> None:
    assert reaches(entry, authority) == allowed


def test_nothing_is_allowed_by_default() -> None:
    assert ("localhost", 80) not in AllowedHosts([])


def test_all_wrong_entries_are_reported() -> None:
    wrong = [
        "https://a", "a/b", "u@h", "a*b", "", "*.*.a", "*.", "a..b", "127.1", "0x7f.1", "010.0.0.1",
        "256.1.1.1", "[::g]", "[1.2.3.4]", "*.0.0.1", "*.[::1]", "a:0", "a:65536", "a:b", "a" * 64,
    ]  # fmt: skip
    with pytest.raises(ConfigError) as error:
        AllowedHosts(["ok.example", *wrong], "shop")
    assert len(error.value.diagnostics) == len(wrong)
    assert "'shop'" in str(error.value)


# ---------------------------------------------------------------- what an authority is


@pytest.mark.parametrize(
    "authority",
    [
        "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "127.0.0.1.", "1.2.3", "1.2.3.4.5", "256.0.0.1",
        "0x7f.1", "a.0x10", "a..b", ".a", "a..", ".", "-" * 64, "a" * 64, ".".join(["a" * 60] * 5), "a:0",
        "a:65536", "a:b", "[::1", "::1", "[::g]", "[1.2.3.4]", "[fe80::1%25eth0]", "[::1]a", "u@a", "u:p@a",
        "a b", "a/b", "a?b", "a#b", "a%2eb", "127.0.0.%31", "a,b", "é", "", "a\r\nb", "a\0",
    ],
)  # fmt: skip
def test_what_is_no_host_with_a_port_is_refused(authority: str) -> None:
    with pytest.raises(ValueError):
        parse(authority, 80)


@pytest.mark.parametrize(
    "authority", ["u@a", "u:p@a", "a:65536", "a:b", "a/b", "a b", "a\r\nx: y", "a\0", "é", "[a", ""]
)
def test_what_is_no_authority_cannot_be_set(authority: str) -> None:
    made = request(80)
    with pytest.raises(Err):
        made.set_authority(authority)


@pytest.mark.parametrize("authority", ["127.1", "a%2eb", "[::g]:80", "a..b", "a:0", "[:::]"])
def test_what_nobody_could_connect_to_is_not_tried(authority: str) -> None:
    made = request(80)
    try:
        made.set_authority(authority)
    except Err:
        return
    with pytest.raises(Exception, match="authority") as error:
        outbound(made)
    assert error.value.code == Variant("HTTP-request-URI-invalid")  # type: ignore[attr-defined]


def at(authority: str) -> Callable[[int], OutgoingRequest]:
    def make(port: int) -> OutgoingRequest:
        made = request(port)
        made.set_authority(authority.format(port=port))
        return made

    return make


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (at("127.0.0.1:{port}"), (200, b"ok")),
        (at("localhost:{port}"), Variant("HTTP-request-denied")),
        (at("127.1:{port}"), Variant("HTTP-request-URI-invalid")),
        (at("2130706433:{port}"), Variant("HTTP-request-URI-invalid")),
        (at("[::ffff:127.0.0.1]:{port}"), Variant("HTTP-request-denied")),
        (at("127.0.0.2:{port}"), Variant("HTTP-request-denied")),
    ],
)
async def test_an_address_has_no_second_spelling_that_passes(
    make: Callable[[int], OutgoingRequest], expected: Any
) -> None:
    async with recording() as origin, client("127.0.0.1") as handler:
        assert await fetch(handler, make(origin.port)) == expected
        assert len(origin.requests) == (expected == (200, b"ok"))
