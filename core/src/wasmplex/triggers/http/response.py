"""What of a response may be sent, whatever its maker says. Pure.

https://www.rfc-editor.org/rfc/rfc9110#section-8.6 and https://www.rfc-editor.org/rfc/rfc9112#section-6
"""

from __future__ import annotations

from typing import Final

from wasmplex.capabilities.http import Headers, HttpFailure
from wasmplex.triggers.http.fields import CONTROLS, FRAMING, content_length, field_name

__all__ = ["check_fields", "checked_head", "has_content"]

_NO_CONTENT: Final = 204
_RESET_CONTENT: Final = 205
_WITHOUT_CONTENT: Final = frozenset({_NO_CONTENT, _RESET_CONTENT, 304})


def has_content(method: str, status: int) -> bool:
    """Say whether the response has content: RFC 9110 6.4.1 and 15.3.6."""
    return status not in _WITHOUT_CONTENT and method != "HEAD"


def checked_head(status: int, headers: Headers) -> tuple[list[tuple[bytes, bytes]], int | None]:
    """Return the headers that are sent, and what ``content-length`` among them says.

    There is one of those at most, none with 204, and 0 with 205. How the body is transferred is for the
    wire to say.

    :raises HttpFailure: if the status or a header is not valid
    """
    if not 200 <= status <= 599:
        why = "it has to be 200 to 599"
        raise HttpFailure(f"{status} is not a status that a response can have", why=why)
    check_fields(headers)
    framing = [header for header in headers if header[0] in FRAMING]
    if not framing and status != _RESET_CONTENT:
        return [*headers], None
    try:
        length = content_length([value for name, value in framing if name == b"content-length"])
    except (ValueError, OverflowError) as error:
        raise HttpFailure("the response cannot be sent", why=str(error)) from None
    others = [header for header in headers if header[0] not in FRAMING]
    if status == _RESET_CONTENT:
        length = 0
    if length is None or status == _NO_CONTENT:
        return others, None
    return [*others, (b"content-length", b"%d" % length)], length


def check_fields(fields: Headers) -> None:
    """Look at names and values of headers, or trailers.

    :raises HttpFailure: if one is not valid; its value is not told
    """
    for name, value in fields:
        if field_name(name) is None:
            raise HttpFailure("the response cannot be sent", why=f"{name!r} is not the name of a header")
        if len(value.translate(None, CONTROLS)) != len(value):
            why = f"header {name.decode()!r} has a control character in it"
            raise HttpFailure("the response cannot be sent", why=why)
