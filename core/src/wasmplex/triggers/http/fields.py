"""Field lines: names, values, and those that frame a message. Pure; for both directions.

https://www.rfc-editor.org/rfc/rfc9110#section-5 and https://www.rfc-editor.org/rfc/rfc9112#section-5
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final

from wasmplex.triggers.http.refusal import Refused

__all__ = [
    "CONTROLS", "FRAMING", "MOST_FIELDS", "TOKEN", "content_length", "field_name", "is_token", "parse_fields",
    "trailers_of",
]  # fmt: skip

Field = tuple[bytes, bytes]

TOKEN: Final = b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
"""The characters of names and methods; RFC 9110 5.6.2."""
CONTROLS: Final = bytes({*range(0x20), 0x7F} - {0x09})
"""What no line may have in it, CR and LF included; RFC 9110 5.5."""

MOST_FIELDS: Final = 2000
"""Each costs more memory than its bytes: this many at most, whatever the bytes allow."""

_KNOWN: Final = {
    spelling: name
    for name in (
        b"accept", b"accept-encoding", b"accept-language", b"authorization", b"cache-control", b"connection",
        b"content-encoding", b"content-length", b"content-type", b"cookie", b"date", b"etag", b"expect",
        b"forwarded", b"host", b"if-modified-since", b"if-none-match", b"last-modified", b"location",
        b"origin", b"range", b"referer", b"server", b"set-cookie", b"te", b"traceparent",
        b"transfer-encoding", b"upgrade", b"user-agent", b"vary", b"via", b"x-forwarded-for",
        b"x-forwarded-host", b"x-forwarded-proto", b"x-real-ip", b"x-request-id",
    )
    for spelling in (name, name.title())
}  # fmt: skip
"""Names that need no check, in lower case; most of a request's are among them."""

FRAMING: Final = frozenset({b"content-length", b"transfer-encoding"})
"""What says where a message ends."""
_NOT_IN_TRAILERS: Final = FRAMING | {
    b"authorization", b"cache-control", b"connection", b"content-encoding", b"content-range",
    b"content-type", b"expect", b"host", b"keep-alive", b"max-forwards", b"pragma", b"proxy-authenticate",
    b"proxy-authorization", b"proxy-connection", b"range", b"set-cookie", b"te", b"trailer", b"upgrade",
    b"www-authenticate",
}  # fmt: skip
"""Framing, routing, request modifiers, authentication and how to read the content; RFC 9110 6.5.1."""

_LENGTH: Final = re.compile(rb"[0-9]+")
_LENGTH_DIGITS: Final = 18
"""More than that is no length that anybody has, and no number that every recipient can hold."""


def is_token(text: bytes) -> bool:
    """Say whether `text` is a token; RFC 9110 5.6.2."""
    return bool(text) and not text.translate(None, TOKEN)


def field_name(name: bytes) -> bytes | None:
    """Return a field's name in lower case, None if it is not one."""
    return _KNOWN.get(name) or (name.lower() if is_token(name) else None)


def parse_fields(lines: Sequence[bytes]) -> list[Field]:
    """Return names, in lower case, and values of field lines that have no `CONTROLS` in them.

    White space around a value is no part of it. White space in front of the colon, a line that goes on
    with the one before (obs-fold), and a line without a name are refused, as RFC 9112 5 says or allows.

    :raises Refused: then, or if there are more than `MOST_FIELDS`
    """
    if len(lines) > MOST_FIELDS:
        raise Refused(431, f"a request has at most {MOST_FIELDS} headers")
    known = _KNOWN.get
    fields = []
    for line in lines:
        name, colon, value = line.partition(b":")
        lower = known(name) or field_name(name)
        if lower is None or not colon:
            raise Refused(400, "a header line has no valid name and colon")
        fields.append((lower, value.strip(b" \t")))
    return fields


def content_length(values: Iterable[bytes]) -> int | None:
    """Return what the values of ``content-length`` say together, None if there are none.

    The same number twice is a matter of taste, RFC 9110 8.6, and left to the caller.

    :raises ValueError: if that is not one number
    :raises OverflowError: if it is larger than anything
    """
    unique = {*values}
    if not unique:
        return None
    if len(unique) > 1 or _LENGTH.fullmatch(text := unique.pop()) is None:
        raise ValueError("content-length has to be one number")
    digits = text.lstrip(b"0")
    if len(digits) > _LENGTH_DIGITS:
        raise OverflowError("content-length is larger than anything")
    return int(digits or b"0")


def trailers_of(fields: Iterable[Field]) -> list[Field]:
    """Return the fields that may stand after a body; the others are thrown away, RFC 9110 6.5.1."""
    return [field for field in fields if field[0] not in _NOT_IN_TRAILERS]
