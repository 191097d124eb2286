"""The id that ties a client's report to a line in the log."""

from __future__ import annotations

import re
from secrets import token_hex

from wasmplex.capabilities.http import Headers

__all__ = ["request_id"]

_SANE = re.compile(rb"[A-Za-z0-9_.:/+=@-]{1,128}")


def request_id(headers: Headers) -> str:
    """Return what the client sent as ``x-request-id``, if it is fit for a log line, else a new one."""
    for name, value in headers:
        if name == b"x-request-id" and _SANE.fullmatch(value):
            return value.decode("ascii")
    return token_hex(8)
