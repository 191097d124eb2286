"""The head of a message as bytes: bounded, and in the one form that a strict parser takes. Pure."""

from __future__ import annotations

import re

from wasmplex.plugin import Variant

from host_plugin_wasi.http.errors import HttpError

__all__ = ["HeadBuffer"]

_BLANK_LINE = re.compile(rb"\n\r?\n")
_FOLD = re.compile(rb"\r?\n[ \t]+")


class HeadBuffer:
    """Collects the bytes of one head, up to and with its blank line.

    A line may end in LF alone, which RFC 9112 section 2.2 permits to take for its end; a folded one is
    unfolded (section 5.2).

    :param max_bytes: of the status line and the headers
    :param max_fields: lines that the headers may have
    """

    __slots__ = ("_data", "_max_bytes", "_max_fields")

    def __init__(self, max_bytes: int, max_fields: int) -> None:
        self._data = bytearray()
        self._max_bytes = max_bytes
        self._max_fields = max_fields

    def feed(self, data: bytes) -> tuple[bytes, bytes] | None:
        """Take what has come; return the head and what comes after it, or None while more has to come.

        :raises HttpError: if it is too large or has too many fields
        """
        start = max(0, len(self._data) - 2)
        self._data += data
        end = _BLANK_LINE.search(self._data, start)
        if (end.end() if end else len(self._data)) > self._max_bytes:
            raise HttpError(
                Variant("HTTP-response-header-section-size", self._max_bytes),
                f"the head of the response has more than max_head, {self._max_bytes} bytes",
            )
        if end is None:
            return None
        head, rest, self._data = bytes(self._data[: end.end()]), bytes(self._data[end.end() :]), bytearray()
        lines = head.count(b"\n")
        if lines - 2 > self._max_fields:
            raise HttpError(
                Variant("HTTP-response-header-section-size", len(head)),
                f"the response has more than max_headers, {self._max_fields} headers",
            )
        if lines != head.count(b"\r\n"):
            head = head.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
        return _FOLD.sub(b" ", head), rest
