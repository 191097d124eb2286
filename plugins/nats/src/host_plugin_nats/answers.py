"""What JetStream answers, field by field.

Whoever has rights on the account can answer in its place, with anything: so nobody reads an answer as if it
were known what is in it.
"""

from __future__ import annotations

import json
import re
from base64 import b64decode
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from wasmplex.capabilities.errors import CapabilityError, ErrorCases

__all__ = ["Said", "loaded", "number_in", "strange"]

_MOST_DIGITS: Final = 20
"""Digits of the largest number of 64 bits."""
_NAME: Final = re.compile(r"[^\s.*>\x00-\x1f\x7f]+")
_LONGEST: Final = 255
"""Bytes of the longest name that the server takes; it ends the connection for a subject of a few thousand."""
_LONE: Final = re.compile("[\ud800-\udfff]")
"""Halves of characters, which JSON can say, and which can be sent nowhere."""


def strange(cases: ErrorCases) -> CapabilityError:
    """Return the error for an answer that is none of JetStream's."""
    return cases.unavailable("somebody else answers where JetStream should")


def loaded(text: bytes) -> Any:
    """Return what a text of JSON says, which anybody may have written; None if it is none."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def number_in(text: str | None) -> int | None:
    """Return the number that a text is, without a sign; None for what is no number of 64 bits."""
    if not text or len(text) > _MOST_DIGITS or not (text.isascii() and text.isdigit()):
        return None
    return int(text)


class Said:
    """An object of an answer. A field that is not as it should be is the error of `strange`.

    :ivar all: the whole of it, to be sent back or shown; what is in it nobody has checked
    """

    __slots__ = ("_cases", "all")

    def __init__(self, all_: Mapping[str, Any], cases: ErrorCases) -> None:
        self.all = all_
        self._cases = cases

    def part(self, key: str) -> Said:
        """Return an object in it; one that is missing or null has no fields."""
        found = self.all.get(key)
        if found is None:
            found = {}
        elif not isinstance(found, dict):
            raise strange(self._cases)
        return Said(found, self._cases)

    def the(self, key: str) -> Said:
        """Return an object in it, which must be there."""
        if not isinstance(self.all.get(key), dict):
            raise strange(self._cases)
        return self.part(key)

    def number(self, key: str, default: int | None = None) -> int:
        """Return a number that is not negative.

        :param default: what is returned if it is missing; None if it must not be
        """
        found = self.all.get(key, default)
        if type(found) is not int or not 0 <= found < 2**64:
            raise strange(self._cases)
        return found

    def text(self, key: str) -> str:
        """Return a text."""
        found = self.all.get(key)
        if not _is_text(found):
            raise strange(self._cases)
        return str(found)

    def texts(self, key: str) -> Sequence[str]:
        """Return a list of texts; an empty one if it is missing or null."""
        found = self.all.get(key)
        if found is None:
            return []
        if not isinstance(found, list) or not all(map(_is_text, found)):
            raise strange(self._cases)
        return found

    def names(self, key: str) -> Sequence[str]:
        """Return a list of names, each of which may stand between two points of a subject."""
        found = self.texts(key)
        if not all(_NAME.fullmatch(name) and len(name.encode()) <= _LONGEST for name in found):
            raise strange(self._cases)
        return found

    def data(self, key: str) -> bytes:
        """Return the bytes that base64 stands for; none if it is missing."""
        try:
            return b64decode(self.all.get(key) or b"", validate=True)
        except (TypeError, ValueError) as error:
            raise strange(self._cases) from error

    def nanoseconds(self, key: str) -> int:
        """Return a moment in Unix nanoseconds, exact to the microsecond."""
        try:
            moment = datetime.fromisoformat(self.text(key)).astimezone()
            return round(moment.timestamp() * 1_000_000) * 1000
        except (ValueError, OverflowError, OSError) as error:
            raise strange(self._cases) from error


def _is_text(found: object) -> bool:
    return isinstance(found, str) and _LONE.search(found) is None
