"""What a case of the table is made of, and how requests are written down."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["FIVE", "MAX_HEAD", "SHOP", "TE", "Row", "chunks", "get", "line", "post", "to"]

MAX_HEAD = 2048
"""`http.max_head` of the host that the rows are played against."""


class Row(NamedTuple):
    """One case.

    :ivar section: of RFC 9110, 9112 or 3986
    :ivar raw: what the client sends
    :ivar tell: what of the last request the guest tells: ``w`` the workload (shop has host shop.example),
        ``target``, ``authority``, ``method``, ``body``, ``trailers``, ``connection`` whether it is kept, or a
        header
    :ivar before: what came back in 0.1.0
    :ivar now: what comes back: the statuses, and what was told
    """

    case: str
    section: str
    raw: bytes
    tell: str
    before: str
    now: str


def get(*lines: bytes, first: bytes = b"GET / HTTP/1.1", host: bytes | None = b"Host: shop.example") -> bytes:
    return b"\r\n".join((first, *([] if host is None else [host]), *lines, b"", b""))


def post(body: bytes, *lines: bytes, first: bytes = b"POST / HTTP/1.1") -> bytes:
    return get(*lines, first=first) + body


def chunks(body: bytes) -> bytes:
    return post(body, b"Transfer-Encoding: chunked")


def to(host: bytes) -> bytes:
    return get(host=b"Host: " + host)


def line(first: bytes) -> bytes:
    return get(first=first)


SHOP, FIVE, TE = b"Host: shop.example", b"Content-Length: 5", b"Transfer-Encoding: "
