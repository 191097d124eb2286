"""Where things are in Redis.

===========  =====================================================  ==============================
layout       value                                                  version, while somebody asked for it
===========  =====================================================  ==============================
wasmplex     ``<namespace>:<bucket>:<key>``                         ``wasmplex:version:{<value's key>}``
plain        ``<bucket><key>``                                      none
===========  =====================================================  ==============================

Values are plain strings. Braces are encoded in the first layout: so a version is in the cluster slot of its
value, and never has the name of one.
"""

from __future__ import annotations

import re

__all__ = ["Places", "escape"]

_NAME = re.compile(rb"[^A-Za-z0-9._/@+~-]")
_KEY = re.compile(rb"[%{}]")
_ENCODED = re.compile(rb"%([0-9A-F]{2})")
_GLOB = re.compile(rb"[*?\[\]\\^]")
VERSIONS = b"wasmplex:version:{%b}"


def _percent(match: re.Match[bytes]) -> bytes:
    return b"%%%02X" % match[0][0]


def escape(literal: bytes) -> bytes:
    """Return a glob pattern that matches `literal` alone."""
    return _GLOB.sub(rb"\\\g<0>", literal)


class Places:
    """The keys of one bucket.

    :ivar stem: what the keys of all its values start with
    """

    __slots__ = ("plain", "stem")

    def __init__(self, namespace: str, bucket: str, *, plain: bool) -> None:
        self.plain = plain
        if plain:
            self.stem = bucket.encode()
        else:
            self.stem = b":".join(_NAME.sub(_percent, part.encode()) for part in (namespace, bucket)) + b":"

    def value(self, key: str) -> bytes:
        """Return where a key's value is."""
        return self.stem + self._encode(key)

    def both(self, key: str) -> tuple[bytes, ...]:
        """Return where a key's value is, and its version if the layout has one."""
        value = self.value(key)
        return (value,) if self.plain else (value, VERSIONS % value)

    def pattern(self, prefix: str) -> bytes:
        """Return the glob pattern of all values whose key starts with `prefix`."""
        return escape(self.stem + self._encode(prefix)) + b"*"

    def key(self, place: bytes) -> str | None:
        """Return the key of a value; None if it is none of ours, or not UTF-8."""
        if not place.startswith(self.stem):
            return None
        raw = place[len(self.stem) :]
        if not self.plain:
            raw = _ENCODED.sub(lambda match: bytes([int(match[1], 16)]), raw)
        try:
            return raw.decode()
        except UnicodeDecodeError:
            return None

    def _encode(self, key: str) -> bytes:
        raw = key.encode()
        return raw if self.plain else _KEY.sub(_percent, raw)
