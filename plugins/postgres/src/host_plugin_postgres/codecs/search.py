"""Bit strings, words of text search, snapshots of transactions."""

from __future__ import annotations

import struct
from collections import defaultdict
from typing import Any, Literal

from wasmplex.capabilities.postgres.values import Bits, Lexeme, OptionalBits, Snapshot

from host_plugin_postgres.codecs.model import Codec, Unfit, aliases, utf8

__all__ = ["bit", "snapshot", "tsvector", "varbit"]

_COUNT = struct.Struct(">i")
_WEIGHTS: tuple[Literal["D"], Literal["C"], Literal["B"], Literal["A"]] = ("D", "C", "B", "A")
_LAST_POSITION = 16383


# ---------------------------------------------------------------- bits


def bit() -> Codec:
    """``bit(n)``: how many bits, and the bits."""
    return Codec("bit", _decode_bits, aliases(_encode_bits, "bit", "varbit", "bit-varying"))


def varbit() -> Codec:
    """``varbit``: as ``bit``; without a number, all bits of the bytes."""
    return Codec("varbit", _decode_bits, aliases(_encode_bits, "varbit", "bit-varying", "bit"))


def _decode_bits(raw: bytes) -> Bits:
    return _COUNT.unpack_from(raw)[0], raw[4:]


def _encode_bits(value: OptionalBits) -> bytes:
    count, raw = value
    if count is None:
        count = 8 * len(raw)
    if len(raw) != -(-count // 8):
        raise Unfit(f"{count} bits are not {len(raw)} bytes")
    if count % 8 and raw[-1] & 0xFF >> count % 8:
        raise Unfit("a bit after the last one is set")
    return _COUNT.pack(count) + raw


# ---------------------------------------------------------------- text search


def tsvector() -> Codec:
    """``tsvector``: a lexeme for each position of a word."""
    return Codec("ts-vector", _decode_vector, {"ts-vector": _encode_vector})


def _decode_vector(raw: bytes) -> list[Lexeme]:
    (count,), at, lexemes = _COUNT.unpack_from(raw), 4, list[Lexeme]()
    for _ in range(count):
        end = raw.index(b"\0", at)
        word = raw[at:end].decode()
        (positions,) = struct.unpack_from(">H", raw, end + 1)
        at = end + 3 + 2 * positions
        if not positions:
            lexemes.append({"position": None, "weight": None, "data": word})
        for place in struct.unpack_from(f">{positions}H", raw, end + 3):
            lexemes.append({"position": place & 0x3FFF, "weight": _WEIGHTS[place >> 14], "data": word})
    return lexemes


def _encode_vector(lexemes: list[Lexeme]) -> bytes:
    words: defaultdict[bytes, dict[int, int]] = defaultdict(dict)
    for lexeme in lexemes:
        word, position = words[_word(lexeme["data"])], lexeme["position"]
        if position is None:
            if lexeme["weight"] is not None:
                raise Unfit("a lexeme has a weight and no position")
            continue
        if not 1 <= position <= _LAST_POSITION:
            raise Unfit(f"a position is not in the range 1 to {_LAST_POSITION}")
        weight = _WEIGHTS.index(lexeme["weight"] or "D")
        word[position] = max(weight, word.get(position, 0))
    parts = [_COUNT.pack(len(words))]
    for word_bytes in sorted(words, key=lambda one: (len(one), one)):
        places = [position | weight << 14 for position, weight in sorted(words[word_bytes].items())]
        if len(places) > 255:
            raise Unfit("a word has more than 255 positions")
        parts.append(word_bytes + b"\0" + struct.pack(f">H{len(places)}H", len(places), *places))
    return b"".join(parts)


def _word(data: str) -> bytes:
    word = utf8(data)
    if len(word) >= 2048:
        raise Unfit("a word has 2 KiB or more")
    return word


# ---------------------------------------------------------------- snapshots


def snapshot() -> Codec:
    """``pg_snapshot``, and ``txid_snapshot``, its older name."""
    return Codec("pg-snapshot", _decode_snapshot, {"pg-snapshot": _encode_snapshot})


def _decode_snapshot(raw: bytes) -> Snapshot:
    (count,) = _COUNT.unpack_from(raw)
    xmin, xmax, *between = struct.unpack_from(f">{count + 2}q", raw, 4)
    return xmin, xmax, between


def _encode_snapshot(value: tuple[int, int, list[int]]) -> bytes:
    xmin, xmax, between = value
    inside: list[Any] = sorted(set(between))
    if not 0 < xmin <= xmax or (inside and not xmin <= inside[0] <= inside[-1] < xmax):
        raise Unfit("the numbers of the snapshot are out of order")
    return struct.pack(f">i{len(inside) + 2}q", len(inside), xmin, xmax, *inside)
