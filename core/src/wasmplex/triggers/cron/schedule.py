"""The times of a schedule. cronsim reads it: five fields, as Debian's cron does, also when clocks change."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

__all__ = ["check_schedule", "check_timezone", "times"]


_NICKNAMES = {
    "@hourly": "0 * * * *", "@daily": "0 0 * * *", "@midnight": "0 0 * * *", "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *", "@yearly": "0 0 1 1 *", "@annually": "0 0 1 1 *",
}  # fmt: skip
"""What crontabs may say instead of five fields."""
_LONGEST = 1000
"""Characters of a field: Python reads no number of any length."""


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
        raise ValueError(f'{name!r} is no time zone; "Europe/Berlin" is one') from None
    return name


def times(schedule: str, timezone: str, after: float) -> Iterator[float]:
    """Yield the times of a schedule after one, in Unix seconds."""
    zone = ZoneInfo(timezone)
    for moment in CronSim(schedule, datetime.fromtimestamp(after, zone)):
        yield moment.timestamp()
