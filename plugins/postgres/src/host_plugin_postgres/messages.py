"""The messages that are sent, and those that tell of a statement (PostgreSQL, "Message Formats")."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

__all__ = [
    "BEGIN", "SYNC", "bind", "close", "column_types", "execute", "head_of", "parameter_types", "prepare",
    "simple", "tail_of",
]  # fmt: skip

_SHORT: Final = struct.Struct(">H")
_LENGTH: Final = struct.Struct(">i")
_FIELD: Final = struct.Struct(">IhIhih")
"""Of a column: its table and its number there, its type, that one's size and modifier, its format."""
_NULL: Final = _LENGTH.pack(-1)


def _message(kind: bytes, body: bytes) -> bytes:
    return kind + _LENGTH.pack(len(body) + 4) + body


SYNC: Final = _message(b"S", b"")
"""Has the server answer, and ends a transaction that was not begun."""


def simple(sql: str) -> bytes:
    """Return the message that executes statements without parameters."""
    return _message(b"Q", sql.encode() + b"\0")


def prepare(name: str, sql: str) -> bytes:
    """Return the messages that prepare a statement, and ask what goes into it and comes out."""
    named = name.encode() + b"\0"
    return _message(b"P", named + sql.encode() + b"\0\0\0") + _message(b"D", b"S" + named) + SYNC


def close(name: str) -> bytes:
    """Return the message that has a prepared statement forgotten; it is no error if there is none."""
    return _message(b"C", b"S" + name.encode() + b"\0")


def bind(head: bytes, parameters: Sequence[bytes | None], tail: bytes) -> bytes:
    """Return the message that gives a statement its parameters.

    :param head: what `head_of` has made of the statement's name and the formats of its parameters
    :param parameters: None for NULL
    :param tail: what `tail_of` has made of the formats of its columns
    """
    parts = [head]
    for raw in parameters:
        parts += (_NULL,) if raw is None else (_LENGTH.pack(len(raw)), raw)
    parts.append(tail)
    return _message(b"B", b"".join(parts))


def head_of(name: str, texts: Sequence[bool]) -> bytes:
    """Return the beginning of all messages that `bind` makes for a statement, in the unnamed portal.

    :param texts: by parameter, whether it is sent as text instead of in binary format
    """
    formats = b"".join(_SHORT.pack(not text) for text in texts)
    count = _SHORT.pack(len(texts))
    return b"\0" + name.encode() + b"\0" + count + formats + count


def tail_of(texts: Sequence[bool]) -> bytes:
    """Return the end of all messages that `bind` makes for a statement.

    :param texts: by column, whether it is asked for as text instead of in binary format
    """
    return _SHORT.pack(len(texts)) + b"".join(_SHORT.pack(not text) for text in texts)


@lru_cache(64)
def execute(limit: int) -> bytes:
    """Return the message that fetches so many rows of what was bound last, 0 for all."""
    return _message(b"E", b"\0" + _LENGTH.pack(limit))


BEGIN: Final = _message(b"P", b"\0BEGIN\0\0\0") + bind(head_of("", ()), (), tail_of(())) + execute(0)
"""Begins a transaction in the message that is sent with it: what follows is not over with the next `SYNC`."""


def parameter_types(body: bytes) -> tuple[int, ...]:
    """Return the types, by oid, that ParameterDescription names."""
    (count,) = _SHORT.unpack_from(body)
    return struct.unpack_from(f">{count}I", body, 2)


def column_types(body: bytes) -> list[tuple[str, int]]:
    """Return the names and types, by oid, that RowDescription tells."""
    (count,), at, columns = _SHORT.unpack_from(body), 2, list[tuple[str, int]]()
    for _ in range(count):
        end = body.index(0, at)
        columns.append((body[at:end].decode(), _FIELD.unpack_from(body, end + 1)[2]))
        at = end + 1 + _FIELD.size
    return columns
