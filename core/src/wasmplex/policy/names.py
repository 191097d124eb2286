"""How long the names may be that guests give: buckets, keys, containers, objects."""

from __future__ import annotations

__all__ = ["MAX_NAME", "too_long"]

MAX_NAME = 1024
"""Bytes of UTF-8 in a name."""


def too_long(name: str) -> bool:
    """Return whether a name has more than `MAX_NAME` bytes; most are told by their characters alone."""
    return len(name) > MAX_NAME // 4 and len(name.encode()) > MAX_NAME
