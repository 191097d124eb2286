"""Cursors of listings as guests see them: with a tag that says what they belong to."""

from __future__ import annotations

from base64 import b64decode, urlsafe_b64encode

__all__ = ["seal", "unseal"]


def seal(tag: bytes, cursor: str) -> str:
    """Return the cursor as guests see it."""
    return urlsafe_b64encode(tag + cursor.encode()).decode("ascii")


def unseal(tag: bytes, sealed: str) -> str | None:
    """Return the backend's cursor; None for one that is malformed or belongs to something else."""
    try:
        raw = b64decode(sealed, altchars=b"-_", validate=True)
        cursor = raw[len(tag) :].decode()
    except ValueError:
        return None
    return cursor if seal(tag, cursor) == sealed else None
