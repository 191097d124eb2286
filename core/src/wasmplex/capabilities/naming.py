"""Any name in an alphabet that every store takes: letters, digits, ``-``, ``_``, ``.`` and ``%``.

Letters, digits, ``-`` and ``_`` stand for themselves, and so does a dot between two others; other bytes of
the UTF-8 are ``%XX``, the empty name is ``%``. So ``photo-1.jpg`` stays ``photo-1.jpg``, and no name is ``.``
or ``..``, hidden, or ends in a dot. Where this makes a name longer than base64 would, it is ``%%`` and its
base64.

`components` is for stores that bound the length of a part: a long name becomes several, all but the last one
ending in ``%+`` and the last one in ``%=``, which no other part does.
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence

__all__ = ["COMPONENT", "components", "decode", "encode", "joined"]

COMPONENT = 240
"""Bytes of a component at most; file systems take 255."""

_UNSAFE = re.compile(rb"[^A-Za-z0-9._-]|^\.|\.$|\.(?=\.)")
_ENCODED = re.compile(rb"%([0-9A-F]{2})")
_MORE, _LAST = "%+", "%="


def encode(name: str) -> str:
    """Return a text of the alphabet for any name; no two names have the same.

    A name of 1 KiB becomes at most 1,368 bytes.
    """
    raw = name.encode()
    text = _UNSAFE.sub(lambda match: b"%%%02X" % match[0][0], raw) or b"%"
    if len(text) > 2 + (len(raw) * 4 + 2) // 3:
        text = b"%%" + urlsafe_b64encode(raw).rstrip(b"=")
    return text.decode("ascii")


def decode(text: str) -> str:
    """Return the name that `encode` made `text` of.

    :raises ValueError: if it cannot have made it
    """
    try:
        name = _decoded(text)
    except ValueError:
        name = None
    if name is None or encode(name) != text:
        raise ValueError("not an encoded name")
    return name


def _decoded(text: str) -> str:
    if text == "%":
        return ""
    if text.startswith("%%"):
        return urlsafe_b64decode(text[2:] + "=" * (-len(text[2:]) % 4)).decode()
    return _ENCODED.sub(lambda match: bytes([int(match[1], 16)]), text.encode("ascii")).decode()


def components(name: str, longest: int = COMPONENT) -> list[str]:
    """Return the encoded name in parts of at most `longest` bytes: one for most names."""
    text = encode(name)
    if len(text) <= longest:
        return [text]
    size = longest - len(_MORE)
    parts = [text[start : start + size] for start in range(0, len(text), size)]
    return [*(part + _MORE for part in parts[:-1]), parts[-1] + _LAST]


def joined(parts: Sequence[str], longest: int = COMPONENT) -> str:
    """Return the name that `components` made the parts of.

    :raises ValueError: if it cannot have made them
    """
    text = parts[0]
    if len(parts) > 1:
        text = "".join(part[:-2] for part in parts)
    name = decode(text)
    if components(name, longest) != list(parts):
        raise ValueError("not the components of a name")
    return name
