"""The times of a schedule. cronsim reads it as Debian's cron does, also when clocks change.

It keeps Debian's rule for five fields only: what has its minute and hour written runs once a day; what has a
star in one of them follows real time. Here six fields have the same rule.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from difflib import get_close_matches
from zoneinfo import ZoneInfo, available_timezones

from cronsim import CronSim, CronSimError

__all__ = ["check_schedule", "check_timezone", "times"]


_NICKNAMES = {
    "@hourly": "0 * * * *", "@daily": "0 0 * * *", "@midnight": "0 0 * * *", "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *", "@yearly": "0 0 1 1 *", "@annually": "0 0 1 1 *",
}  # fmt: skip
"""What crontabs may say instead of five fields."""
_LONGEST = 1000
"""Characters of a field, or of a zone's name: Python reads no number of any length."""
_OF_THE_MACHINE = frozenset({"localtime", "posixrules"})
"""Files beside those of the zones. Of hosts that share runs, each might have another."""


def check_schedule(schedule: str) -> str:
    """Return a schedule that can be read, and that has a next time.

    :raises ValueError: if it is none
    """
    if any(len(field) > _LONGEST for field in schedule.split()):
        raise ValueError(f"a field has at most {_LONGEST} characters")
    try:
        next(CronSim(schedule, datetime(2024, 1, 1, tzinfo=ZoneInfo("UTC"))))
    except CronSimError as error:
        raise ValueError(f"{schedule!r} is no schedule: {_why(schedule, error)}") from None
    except StopIteration:
        raise ValueError(f"{schedule!r} never comes") from None
    return schedule


def _why(schedule: str, error: CronSimError) -> str:
    if (written := _NICKNAMES.get(schedule.strip().lower())) is not None:
        return f'write "{written}"'
    if len(schedule.split()) not in (5, 6):
        return "it takes five fields with spaces between: minute hour day month weekday"
    return str(error).lower()


def check_timezone(name: str) -> str:
    """Return the name of a time zone that is known.

    :raises ValueError: if it is not
    """
    try:
        ZoneInfo(name)
    except (OSError, ValueError, KeyError):
        raise ValueError(f"{name!r} is no time zone; {_like(name)}") from None
    if name in _OF_THE_MACHINE:
        raise ValueError(f'{name!r} is another zone on another machine; "Europe/Berlin" is one on all')
    return name


def _like(name: str) -> str:
    """Return which zone an unknown name is taken for, else what one looks like."""
    if len(name) > _LONGEST:
        return '"Europe/Berlin" is one'
    small = {zone.casefold(): zone for zone in sorted(available_timezones() - _OF_THE_MACHINE)}
    if not (close := get_close_matches(name.strip().casefold(), small, 1, 0.8)):
        return '"Europe/Berlin" is one'
    return f"did you mean {small[close[0]]!r}?"


def times(schedule: str, timezone: str, after: float) -> Iterator[float]:
    """Yield the times of a schedule after one, in Unix seconds."""
    for moment in _reader(schedule, datetime.fromtimestamp(after, ZoneInfo(timezone))):
        if (at := moment.timestamp()) > after:  # of an hour that comes twice, cronsim says the first
            yield at


def _reader(schedule: str, after: datetime) -> CronSim:
    reader = CronSim(schedule, after)
    _, minute, hour, *_ = reader.parts
    if minute.startswith("*") or hour.startswith("*"):
        # There is no such minute. With one alone cronsim leaps an hour, past half an hour that comes twice.
        reader.minutes.add(-1)
    elif reader.fixup_tz is None:
        reader.fixup_tz = after.tzinfo
        reader.dt = reader.dt.replace(tzinfo=None)
    return reader
