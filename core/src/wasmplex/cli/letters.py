"""What is told of a dead letter: in a row of a table for people, in a record of JSON for programs."""

from __future__ import annotations

from base64 import b64encode
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wasmplex.capabilities.messaging import Kept

__all__ = ["record_of", "row_of"]

_SHOWN = 40
"""Characters of a body that a table has."""


def row_of(letter: Kept, kept_under: str) -> dict[str, Any]:
    """Return what a table has of a letter."""
    return {**_said(letter, kept_under), "body": _shown(letter.message.body)}


def record_of(letter: Kept, kept_under: str) -> dict[str, Any]:
    """Return all of a letter; what its headers are to say and do not is None."""
    from wasmplex.triggers.messaging.outcomes import size_left_out

    said, message = _said(letter, kept_under), letter.message
    left_out = size_left_out(message)
    body, encoding = _encoded(message.body) if left_out is None else (None, None)
    return {
        "id": letter.token,
        "kept_in": kept_under,
        **said,
        "seen": _time(said["seen"]),
        "tries": _number(said["tries"]),
        "size": len(message.body) if left_out is None else _number(left_out),
        "encoding": encoding,
        "body": body,
        "headers": dict(message.headers or {}),
    }


def _said(letter: Kept, kept_under: str) -> dict[str, str | None]:
    from wasmplex.triggers.messaging.outcomes import HEADER

    headers = letter.message.headers or {}
    names = {"workload": "Workload", "seen": "First-Seen", "subject": "Subject", "reason": "Reason"}
    names |= {"tries": "Tries", "error": "Error"}
    said = {key: headers.get(HEADER + name) for key, name in names.items()}
    return {**said, "subject": said["subject"] or kept_under}


def _shown(body: bytes) -> str:
    """Return the beginning of a body, with a sign if there is more of it."""
    text, encoding = _encoded(body)
    if encoding == "base64":
        text = f"{len(body)} bytes: {body[:_SHOWN].hex(' ')}"
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"


def _encoded(body: bytes) -> tuple[str, str]:
    """Return a body as text, and how it has become one."""
    try:
        return body.decode(), "utf-8"
    except UnicodeDecodeError:
        return b64encode(body).decode(), "base64"


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isascii() and text.isdecimal() and len(text) < 20 else None


def _time(text: str | None) -> str | None:
    """Return a time if it is one: whoever may publish to where letters are kept can have made them."""
    try:
        datetime.fromisoformat(text or "")
    except ValueError:
        return None
    return text
