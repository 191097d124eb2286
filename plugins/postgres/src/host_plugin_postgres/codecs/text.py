"""Texts and bytes: text, varchar, char, name, json, xml, uuid, bytea, hstore, tsquery."""

from __future__ import annotations

import re
import struct
import uuid as uuids

from host_plugin_postgres.codecs.model import Codec, Encode, Unfit, aliases, utf8

__all__ = [
    "bpchar",
    "bytea",
    "char",
    "hstore",
    "json_text",
    "jsonb",
    "labels",
    "name",
    "text",
    "tsquery",
    "uuid",
    "varchar",
    "xml",
]

MAX_NAME = 63
"""Bytes of a ``name``."""


def _text_cases(text: Encode) -> dict[str, Encode]:
    """Return encoders for all cases that are text, where a text is wanted."""

    def counted(value: tuple[int | None, bytes]) -> bytes:
        return text(_characters(value))

    return {**aliases(text, "text", "name"), **aliases(counted, "varchar", "char")}


def _characters(value: tuple[int | None, bytes]) -> str:
    limit, raw = value
    try:
        characters = raw.decode()
    except UnicodeDecodeError:
        raise Unfit("the bytes are not UTF-8") from None
    if limit is not None and len(characters) > limit:
        raise Unfit(
            f"the text has {len(characters)} characters, more than the {limit} that it is said to have"
        )
    return characters


def _plain(case: str, cases: dict[str, Encode]) -> Codec:
    return Codec(case, bytes.decode, cases, form="text")


def text() -> Codec:
    """``text``, and ``citext`` and enums, whose values are texts."""
    return _plain("text", _text_cases(utf8))


labels = text


def name() -> Codec:
    """``name``: an identifier; a longer one would be cut off."""

    def encode(value: str) -> bytes:
        raw = utf8(value)
        if len(raw) > MAX_NAME:
            raise Unfit(f"a name has at most {MAX_NAME} bytes")
        return raw

    return _plain("name", _text_cases(encode))


def varchar() -> Codec:
    """``varchar``: its bytes; how long it may be is the column's business."""
    return Codec("varchar", lambda raw: (None, raw), _text_cases(utf8), form="characters")


def bpchar() -> Codec:
    """``char(n)``: how many characters, and their bytes with the blanks that fill it."""
    return Codec("char", lambda raw: (len(raw.decode()), raw), _text_cases(utf8))


def char() -> Codec:
    """``"char"``, the type of one byte in PostgreSQL's own tables."""

    def encode(value: tuple[int, bytes]) -> bytes:
        length, raw = value
        if len(raw) > 1 or length > 1:
            raise Unfit('"char" has one byte')
        return raw or b"\0"

    def one(value: str) -> bytes:
        return encode((len(value), value.encode()))

    return Codec("char", lambda raw: (0, b"") if raw == b"\0" else (1, raw), {"char": encode, "text": one})


def bytea() -> Codec:
    """``bytea``."""
    return Codec("bytea", bytes, {"bytea": bytes}, form="octets")


def json_text() -> Codec:
    """``json``: byte for byte."""
    return _plain("json", {"json": _json})


def jsonb() -> Codec:
    """``jsonb``: as the server writes it."""
    return Codec(
        "jsonb", lambda raw: raw[1:].decode(), aliases(lambda value: b"\1" + _json(value), "jsonb", "json")
    )


def _json(value: str) -> bytes:
    """Return the bytes of JSON. Whether it is some is for the server to say, which words it better."""
    return utf8(value)


def xml() -> Codec:
    """``xml``."""
    return _plain("xml", {"xml": utf8})


def tsquery() -> Codec:
    """``tsquery``: its text. On the wire it is asked for and sent as text, for its binary form is a tree."""
    return _plain("ts-query", {"ts-query": utf8})


def uuid() -> Codec:
    """``uuid``: in lower case, with hyphens."""

    def encode(value: str) -> bytes:
        if not re.fullmatch(r"[0-9a-fA-F]{8}-?(?:[0-9a-fA-F]{4}-?){3}[0-9a-fA-F]{12}", value):
            raise Unfit("the text is not a UUID")
        return uuids.UUID(value).bytes

    return Codec("uuid", lambda raw: str(uuids.UUID(bytes=raw)), {"uuid": encode})


# ---------------------------------------------------------------- hstore

_LENGTH = struct.Struct(">i")


def hstore() -> Codec:
    """``hstore``: keys and values, sorted as the server keeps them."""
    return Codec("hstore", _decode_hstore, {"hstore": _encode_hstore})


def _decode_hstore(raw: bytes) -> list[tuple[str, str | None]]:
    (count,), at, pairs = _LENGTH.unpack_from(raw), 4, []

    def read() -> str | None:
        nonlocal at
        (size,) = _LENGTH.unpack_from(raw, at)
        at += 4 + max(size, 0)
        return None if size < 0 else raw[at - size : at].decode()

    for _ in range(count):
        key = read() or ""
        pairs.append((key, read()))
    return pairs


def _encode_hstore(pairs: list[tuple[str, str | None]]) -> bytes:
    if len({key for key, _ in pairs}) != len(pairs):
        raise Unfit("a key of the hstore is there twice")
    parts = [_LENGTH.pack(len(pairs))]
    for one in (part for pair in pairs for part in pair):
        raw = None if one is None else utf8(one)
        parts.append(_LENGTH.pack(-1) if raw is None else _LENGTH.pack(len(raw)) + raw)
    return b"".join(parts)
