"""Bytes that have come and are not parsed yet, searched once however they are cut. Pure."""

from __future__ import annotations

import re
from typing import Final

from wasmplex.triggers.http.fields import CONTROLS
from wasmplex.triggers.http.refusal import Refused

__all__ = ["CONTROL", "Incoming"]

CONTROL: Final = "there is a control character, or a line that does not end with CR and LF"

_NEVER: Final = re.compile(
    rb"[" + re.escape(bytes({*CONTROLS} - {0x0A, 0x0D})) + rb"]|(?<!\r)\n|\r(?!\n|\Z)",
)
"""What no line has in it, and CR and LF that are no end of a line; the last byte may be half of one."""


class Incoming:
    """A buffer in front of a parser.

    :ivar data: what has come; read only, and only valid until the next `add`
    :ivar position: where in it the parser is; the parser may move it forward
    """

    __slots__ = ("_searched", "data", "position")

    def __init__(self) -> None:
        self.data: bytes | bytearray = b""
        self.position = 0
        self._searched = 0

    def __len__(self) -> int:
        return len(self.data) - self.position

    @property
    def searched(self) -> bool:
        """Say whether the end of what comes next has been looked for, in vain."""
        return self._searched > self.position

    def add(self, data: bytes) -> None:
        """Take what has come."""
        if self.position == len(self.data):
            self.data = data
            self.position = self._searched = 0
            return
        if not isinstance(self.data, bytearray):
            self.data = bytearray(self.data)
        del self.data[: self.position]
        self._searched = max(0, self._searched - self.position)
        self.position = 0
        self.data += data

    def take(self, size: int) -> bytes:
        """Return up to `size` bytes."""
        data, start = self.data, self.position
        if not start and size >= len(data):
            self.position = len(data)
            return bytes(data)
        taken = bytes(data[start : start + size])
        self.position = start + len(taken)
        return taken

    def take_at_once(self, mark: bytes, limit: int) -> bytes | None:
        """As `take_until`, if it has all come and nothing has been looked for; None says nothing."""
        data, position = self.data, self.position
        if self._searched > position or (end := data.find(mark, position, position + limit)) < 0:
            return None
        self.position = end + len(mark)
        return bytes(data[position:end])

    def take_until(self, mark: bytes, limit: int, too_long: str, status: int) -> bytes | None:
        """Return what stands before `mark` and move behind that; None if it has not come yet.

        :param limit: bytes that this may have, the mark included
        :param too_long: what is said, with `status`, when it has more
        :raises Refused: then, and as soon as there is what cannot be part of a line
        """
        data, position = self.data, self.position
        start = max(position, self._searched)
        bound = position + limit
        end = data.find(mark, max(position, start - len(mark) + 1), bound)
        if end >= 0:
            self.position = end + len(mark)
            return bytes(data[position:end])
        size = min(len(data), bound)
        if _NEVER.search(data, max(position, start - 1), size) is not None:
            raise Refused(400, CONTROL)
        if size == bound:
            raise Refused(status, too_long)
        self._searched = size
        return None

    def skip_empty_lines(self) -> None:
        """Move behind empty lines; RFC 9112 2.2 has them ignored in front of a request."""
        data = self.data
        while data.startswith(b"\r\n", self.position):
            self.position += 2
