"""The one way in which foreign text gets into a log line, a message or a terminal.

Foreign is all that a client, a guest, a component, a configuration, the environment or a server chose. What
is escaped here can neither begin a line of its own nor move a cursor, change the order in which characters
are shown, or hide in the text.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

__all__ = ["Escaped", "as_json", "escape"]

_UNSAFE: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f"  # C0, DEL, C1: line breaks, escape sequences
    "\u2028\u2029"  # line breaks of Unicode
    "\ud800-\udfff"  # lone surrogates, which no output can encode
    # Format characters (category Cf) but for the joiners U+200C and U+200D, which scripts and emoji need:
    # bidi controls, which reorder what is shown, and what is not shown at all.
    "\xad\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f"
    "\ufeff\ufff9-\ufffb\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3"
    "\U0001d173-\U0001d17a\U000e0000-\U000e007f]"
)
_REMEMBERED: Final = 0x3000
"""The first character that is looked at anew each time."""
_NAMED: Final = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


class Escaped(str):
    """Text that has been escaped by whoever made it, or is the host's own: it goes into a log as it is."""

    __slots__ = ()


def escape(text: str, *, keep: str = "") -> str:
    r"""Return `text` with everything written as ``\n``, ``\x1b`` or ``\u202e`` that is no visible character.

    :param keep: characters that stay as they are
    """
    if text.isascii() and text.isprintable():
        return text
    return text.translate(_table(keep))


class _Table(dict[int, str]):
    """What each character becomes, found out when it first occurs: a fifth of the time of a pattern."""

    def __init__(self, keep: str) -> None:
        super().__init__()
        self._keep = keep

    def __missing__(self, code: int) -> str:
        character = chr(code)
        unsafe = character not in self._keep and _UNSAFE.match(character)
        text = _escaped(character) if unsafe else character
        if code < _REMEMBERED:
            self[code] = text
        return text


@lru_cache(maxsize=8)
def _table(keep: str) -> _Table:
    return _Table(keep)


def as_json(text: str) -> str:
    """Return a JSON text, made without escaping more than JSON asks for, that is safe to print.

    What it escapes can only stand in strings there, and means the same: line breaks between tokens stay.
    """
    if text.isascii() and text.isprintable():
        return text
    return _UNSAFE.sub(lambda found: found[0] if found[0] == "\n" else _units(found[0]), text)


def _escaped(character: str) -> str:
    if named := _NAMED.get(character):
        return named
    number = ord(character)
    return (
        f"\\x{number:02x}"
        if number < 0x100
        else f"\\u{number:04x}"
        if number < 0x10000
        else f"\\U{number:08x}"
    )


def _units(character: str) -> str:
    """Return a character as JSON escapes it: by its UTF-16 code units."""
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))
