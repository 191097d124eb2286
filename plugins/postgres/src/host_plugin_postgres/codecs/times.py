"""Dates and times: PostgreSQL counts days and microseconds from 2000-01-01."""

from __future__ import annotations

import re
import struct
from datetime import date as pydate

from wasmplex.capabilities.postgres.values import Date, Interval, Time, Timestamp, TimestampTz, TimeTz

from host_plugin_postgres.codecs.model import Codec, Unfit, Unreadable

__all__ = ["date", "date_range", "time", "time_tz", "timestamp", "timestamp_tz"]

_INT, _BIG = struct.Struct(">i"), struct.Struct(">q")
_DAY_MAX, _DAY_MIN = 2**31 - 1, -(2**31)
_TIME_MAX, _TIME_MIN = 2**63 - 1, -(2**63)
_DAY = 86_400_000_000
_LAST_OFFSET = 16 * 3600
_FIRST, _LAST = -2_451_545, 2_145_031_948
"""4714-11-24 BC and 5874897-12-31."""
_FIRST_TIMESTAMP, _END_TIMESTAMP = -2_451_545 * _DAY, 106_751_983 * _DAY
"""4714-11-24 BC; 294277-01-01, which is no longer one."""


# ---------------------------------------------------------------- the calendar, proleptic Gregorian


def _day_number(year: int, month: int, day: int) -> int:
    """Return days since 2000-01-01. Years begin in March, so that leap days are last."""
    year -= month <= 2
    era, of_era = divmod(year, 400)
    day_of_year = (153 * ((month + 9) % 12) + 2) // 5 + day - 1
    return era * 146_097 + of_era * 365 + of_era // 4 - of_era // 100 + day_of_year - 730_425


def _civil(number: int) -> tuple[int, int, int]:
    """Return year, month and day; the reverse of `_day_number`."""
    era, of_era = divmod(number + 730_425, 146_097)
    year = (of_era - of_era // 1460 + of_era // 36_524 - of_era // 146_096) // 365
    day_of_year = of_era - (365 * year + year // 4 - year // 100)
    shifted = (5 * day_of_year + 2) // 153
    month = (shifted + 2) % 12 + 1
    return era * 400 + year + (month <= 2), month, day_of_year - (153 * shifted + 2) // 5 + 1


def _decode_day(number: int) -> Date:
    if number == _DAY_MAX:
        return "positive-infinity", None
    if number == _DAY_MIN:
        return "negative-infinity", None
    return "ymd", _civil(number)


def _encode_day(value: Date) -> int:
    case, ymd = value
    if ymd is None:
        return _DAY_MAX if case == "positive-infinity" else _DAY_MIN
    number = _day_number(*_real(*ymd))
    if not _FIRST <= number <= _LAST:
        raise Unfit("the date is out of PostgreSQL's range")
    return number


def _real(year: int, month: int, day: int) -> tuple[int, int, int]:
    try:
        pydate(2000 + year % 400, month, day)  # the calendar repeats itself every 400 years
    except (ValueError, OverflowError):
        raise Unfit("there is no such date") from None
    return year, month, day


def date() -> Codec:
    """``date``."""
    return Codec(
        "date",
        lambda raw: _decode_day(_INT.unpack(raw)[0]),
        {"date": lambda value: _INT.pack(_encode_day(value))},
    )


# ---------------------------------------------------------------- times


def _decode_time(microseconds: int) -> Time:
    seconds, micro = divmod(microseconds, 1_000_000)
    minutes, sec = divmod(seconds, 60)
    hour, minute = divmod(minutes, 60)
    return {"hour": hour, "min": minute, "sec": sec, "micro": micro}


def _encode_time(value: Time) -> int:
    hour, minute, sec, micro = value["hour"], value["min"], value["sec"], value["micro"]
    total = ((hour * 60 + minute) * 60 + sec) * 1_000_000 + micro
    if minute > 59 or sec > 59 or micro > 999_999 or total > _DAY:
        raise Unfit("there is no such time of day")
    return total


def time() -> Codec:
    """``time``."""
    return Codec(
        "time",
        lambda raw: _decode_time(_BIG.unpack(raw)[0]),
        {"time": lambda value: _BIG.pack(_encode_time(value))},
    )


_ZONE = re.compile(r"([+-])([0-9]{2}):?([0-9]{2})?:?([0-9]{2})?")


def time_tz() -> Codec:
    """``timetz``: the zone is an offset, ``+02:00``."""

    def decode(raw: bytes) -> TimeTz:
        microseconds, west = struct.unpack(">qi", raw)
        return {"timesonze": _zone(-west), "time": _decode_time(microseconds)}

    def encode(value: TimeTz) -> bytes:
        return struct.pack(">qi", _encode_time(value["time"]), -_offset(value["timesonze"]))

    return Codec("time-tz", decode, {"time-tz": encode})


def _zone(east: int) -> str:
    minutes, seconds = divmod(abs(east), 60)
    text = f"{'-' if east < 0 else '+'}{minutes // 60:02d}:{minutes % 60:02d}"
    return f"{text}:{seconds:02d}" if seconds else text


def _offset(zone: str) -> int:
    if zone.upper() in ("Z", "UTC"):
        return 0
    match = _ZONE.fullmatch(zone)
    if match is None:
        raise Unfit("the zone is not an offset like +02:00")
    hours, minutes, seconds = (int(part or 0) for part in match.groups()[1:])
    east = (hours * 60 + minutes) * 60 + seconds
    if minutes > 59 or seconds > 59 or east >= _LAST_OFFSET:
        raise Unfit("the offset is out of PostgreSQL's range")
    return -east if match[1] == "-" else east


# ---------------------------------------------------------------- timestamps


def _decode_timestamp(microseconds: int) -> Timestamp:
    if microseconds in (_TIME_MAX, _TIME_MIN):
        which = _DAY_MAX if microseconds > 0 else _DAY_MIN
        return {"date": _decode_day(which), "time": _decode_time(0)}
    days, rest = divmod(microseconds, _DAY)
    return {"date": ("ymd", _civil(days)), "time": _decode_time(rest)}


def _encode_timestamp(value: Timestamp, east: int = 0) -> int:
    case, ymd = value["date"]
    if ymd is None:
        if _encode_time(value["time"]):
            raise Unfit("an infinite timestamp has no time of day")
        return _TIME_MAX if case == "positive-infinity" else _TIME_MIN
    total = _day_number(*_real(*ymd)) * _DAY + _encode_time(value["time"]) - east * 1_000_000
    if not _FIRST_TIMESTAMP <= total < _END_TIMESTAMP:
        raise Unfit("the timestamp is out of PostgreSQL's range")
    return total


def timestamp() -> Codec:
    """``timestamp``."""
    return Codec(
        "timestamp",
        lambda raw: _decode_timestamp(_BIG.unpack(raw)[0]),
        {"timestamp": lambda value: _BIG.pack(_encode_timestamp(value))},
    )


def timestamp_tz() -> Codec:
    """``timestamptz``: comes out in UTC, which is what the server stores; any offset goes in."""

    def decode(raw: bytes) -> TimestampTz:
        stamp = _decode_timestamp(_BIG.unpack(raw)[0])
        return {"timestamp": stamp, "offset": ("western-hemisphere-secs", 0)}

    def encode(value: TimestampTz) -> bytes:
        side, seconds = value["offset"]
        if abs(seconds) >= _LAST_OFFSET:
            raise Unfit("the offset is out of PostgreSQL's range")
        east = seconds if side == "eastern-hemisphere-secs" else -seconds
        return _BIG.pack(_encode_timestamp(value["timestamp"], east))

    return Codec("timestamp-tz", decode, {"timestamp-tz": encode})


# ---------------------------------------------------------------- from one date to another

_EMPTY, _LOWER_INCLUSIVE, _UPPER_INCLUSIVE, _LOWER_OPEN, _UPPER_OPEN = 1, 2, 4, 8, 16


def date_range() -> Codec:
    """``daterange``, which is what the WIT calls an interval."""
    return Codec("interval", _decode_range, {"interval": _encode_range})


def _decode_range(raw: bytes) -> Interval:
    flags = raw[0]
    if flags & (_EMPTY | _LOWER_OPEN | _UPPER_OPEN):
        which = "empty" if flags & _EMPTY else "without a bound"
        raise Unreadable(f"a range that is {which} has no place in interval")
    return {
        "start": _decode_day(_INT.unpack_from(raw, 5)[0]),
        "start-inclusive": bool(flags & _LOWER_INCLUSIVE),
        "end": _decode_day(_INT.unpack_from(raw, 13)[0]),
        "end-inclusive": bool(flags & _UPPER_INCLUSIVE),
    }


def _encode_range(value: Interval) -> bytes:
    start, end = _encode_day(value["start"]), _encode_day(value["end"])
    if start > end:
        raise Unfit("the interval ends before it starts")
    flags = value["start-inclusive"] * _LOWER_INCLUSIVE | value["end-inclusive"] * _UPPER_INCLUSIVE
    return bytes([flags]) + b"".join(_INT.pack(4) + _INT.pack(day) for day in (start, end))
