"""Values as guests see them: one Python type for each case of ``pg-value``.

A value is a pair of the case's name and its payload, a `wasmplex.values.Variant` or a plain tuple:
``("int4", 5)``, ``("null", None)``. The payload has the shape of its WIT type, so that nothing is turned
over on the way to a guest. `PAYLOADS` has the Python type of each.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from types import GenericAlias
from typing import Any, Literal, TypeAlias, TypedDict

from wasmplex.values import Variant

__all__ = [
    "NULL", "PAYLOADS", "Bits", "Characters", "Date", "HashableFloat", "Interval", "Lexeme", "MacAddress",
    "OptionalBits", "OptionalCharacters", "PgValue", "Point", "Row", "Segment", "Snapshot", "Time", "TimeTz",
    "Timestamp", "TimestampTz", "parts_of", "whole",
]  # fmt: skip

PgValue: TypeAlias = tuple[str, Any]
"""A case and its payload; see `PAYLOADS`."""
Row: TypeAlias = list[PgValue]
NULL: PgValue = Variant("null")

HashableFloat: TypeAlias = tuple[int, int, int]
"""Mantissa, exponent and sign: ``sign * mantissa * 2**exponent``; see `parts_of`."""
Point: TypeAlias = tuple[HashableFloat, HashableFloat]
Segment: TypeAlias = tuple[Point, Point]
Bits: TypeAlias = tuple[int, bytes]
"""The number of bits, and the bits, the first one the highest of the first byte."""
OptionalBits: TypeAlias = tuple[int | None, bytes]
Characters: TypeAlias = tuple[int, bytes]
"""The number of characters, and their UTF-8."""
OptionalCharacters: TypeAlias = tuple[int | None, bytes]
Date: TypeAlias = tuple[Literal["positive-infinity", "negative-infinity", "ymd"], tuple[int, int, int] | None]
"""``("ymd", (year, month, day))``; the year before 1 is 0, as astronomers and ISO 8601 count: 1 BC."""
Snapshot: TypeAlias = tuple[int, int, list[int]]


class Time(TypedDict):
    """A time of day; 24:00:00 is one."""

    hour: int
    min: int
    sec: int
    micro: int


class TimeTz(TypedDict):
    """A time of day with an offset: ``+02:00``, with seconds if there are any. The WIT spells it so."""

    timesonze: str
    time: Time


class Timestamp(TypedDict):
    """A date and a time; the time of an infinite one is 0."""

    date: Date
    time: Time


class TimestampTz(TypedDict):
    """A timestamp and how far the clock that shows it is from UTC."""

    timestamp: Timestamp
    offset: tuple[Literal["eastern-hemisphere-secs", "western-hemisphere-secs"], int]


Interval = TypedDict("Interval", {"start": Date, "start-inclusive": bool, "end": Date, "end-inclusive": bool})
"""From one date to another: what PostgreSQL calls a ``daterange``."""


class MacAddress(TypedDict):
    """Six or eight bytes."""

    bytes: tuple[int, ...]


class Lexeme(TypedDict):
    """A word of a ``tsvector`` at one position; without any, position and weight are None."""

    position: int | None
    weight: Literal["A", "B", "C", "D"] | None
    data: str


_ONE: dict[str, tuple[Any, str]] = {
    "big-int": (int, ""), "int8": (int, "int8-array"), "big-serial": (int, ""), "serial8": (int, ""),
    "bool": (bool, "bool-array"), "boolean": (bool, ""),
    "double": (HashableFloat, ""), "float8": (HashableFloat, "float8-array"),
    "real": (HashableFloat, ""), "float4": (HashableFloat, "float4-array"),
    "integer": (int, ""), "int": (int, ""), "int4": (int, "int4-array"),
    "numeric": (str, "numeric-array"), "decimal": (str, ""),
    "serial": (int, ""), "serial4": (int, ""), "small-int": (int, ""), "int2": (int, "int2-array"),
    "int2-vector": (list[int], "int2-vector-array"), "small-serial": (int, ""), "serial2": (int, ""),
    "bit": (Bits, "bit-array"), "bit-varying": (OptionalBits, ""), "varbit": (OptionalBits, "varbit-array"),
    "bytea": (bytes, "bytea-array"), "char": (Characters, "char-array"),
    "varchar": (OptionalCharacters, "varchar-array"), "cidr": (str, "cidr-array"),
    "inet": (str, "inet-array"),
    "macaddr": (MacAddress, "macaddr-array"), "macaddr8": (MacAddress, "macaddr8-array"),
    "box": (Segment, "box-array"), "circle": (tuple[Point, HashableFloat], "circle-array"),
    "line": (Segment, "line-array"), "lseg": (Segment, "lseg-array"),
    "path": (list[Point], "path-array"), "point": (Point, "point-array"),
    "polygon": (list[Point], "polygon-array"),
    "date": (Date, "date-array"), "interval": (Interval, "interval-array"), "time": (Time, "time-array"),
    "time-tz": (TimeTz, "time-tz-array"), "timestamp": (Timestamp, "timestamp-array"),
    "timestamp-tz": (TimestampTz, "timestamp-tz-array"),
    "json": (str, "json-array"), "jsonb": (str, "jsonb-array"), "money": (str, "money-array"),
    "pg-lsn": (int, "pg-lsn-array"), "pg-snapshot": (Snapshot, ""), "txid-snapshot": (int, ""),
    "name": (str, "name-array"), "text": (str, "text-array"), "xml": (str, "xml-array"),
    "ts-query": (str, ""), "ts-vector": (list[Lexeme], ""), "uuid": (str, "uuid-array"),
    "hstore": (list[tuple[str, str | None]], ""),
}  # fmt: skip

PAYLOADS: Mapping[str, Any] = {
    "null": None,
    **{case: payload for case, (payload, _) in _ONE.items()},
    **{array: GenericAlias(list, (payload,)) for payload, array in _ONE.values() if array},
}
"""The Python type of each case's payload."""

_WIDTHS = {64: (">d", ">Q", 52, 11), 32: (">f", ">I", 23, 8)}


def parts_of(number: bytes) -> HashableFloat:
    """Return the parts of a float, given as its 4 or 8 bytes, the highest first.

    As Rust's ``Float::integer_decode`` has them: the leading one is in the mantissa, that of a subnormal
    is shifted by one. An infinity or NaN has the exponent that follows the largest; all bits are kept.
    """
    _, _, fraction_bits, exponent_bits = _WIDTHS[8 * len(number)]
    bits = int.from_bytes(number, "big")
    sign = -1 if bits >> (fraction_bits + exponent_bits) else 1
    exponent = bits >> fraction_bits & (1 << exponent_bits) - 1
    fraction = bits & (1 << fraction_bits) - 1
    mantissa = fraction | 1 << fraction_bits if exponent else fraction << 1
    return mantissa, exponent - ((1 << exponent_bits - 1) - 1 + fraction_bits), sign


def whole(parts: HashableFloat, width: int) -> bytes:
    """Return the bytes of a float of 32 or 64 bits; the reverse of `parts_of`.

    Parts that `parts_of` would not return are taken as well if their product is a float exactly.

    :raises ValueError: if it is not
    """
    mantissa, exponent, sign = parts
    real, unsigned, fraction_bits, exponent_bits = _WIDTHS[width]
    biased = exponent + (1 << exponent_bits - 1) - 1 + fraction_bits
    top = 1 << fraction_bits
    raw = None
    if top <= mantissa < 2 * top and 0 < biased < 1 << exponent_bits:
        raw = biased << fraction_bits | mantissa - top
    elif biased == 0 and mantissa < 2 * top and not mantissa & 1:
        raw = mantissa >> 1
    if raw is not None:
        return struct.pack(unsigned, raw | (sign < 0) << (fraction_bits + exponent_bits))
    return struct.pack(real, _exact(mantissa, exponent, sign, real))


def _exact(mantissa: int, exponent: int, sign: int, form: str) -> float:
    spare = (mantissa & -mantissa).bit_length() - 1 if mantissa else 0
    odd = mantissa >> spare
    try:
        number = math.ldexp(odd, exponent + spare)
        (packed,) = struct.unpack(form, struct.pack(form, number))
    except OverflowError:
        raise ValueError("the float is out of range") from None
    if packed != number or odd >> 53 or (odd and math.frexp(number)[0] != math.frexp(odd)[0]):
        raise ValueError("no float of this size has exactly this value")
    return math.copysign(number, sign)
