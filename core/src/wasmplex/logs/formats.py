"""Records as lines: of text for people, of JSON for programs."""

from __future__ import annotations

import json
import logging
import math
import time
from typing import Any, Final

from wasmplex.escaping import as_json, escape
from wasmplex.logs.records import CONTINUED, Prepare

__all__ = ["JsonFormatter", "TextFormatter"]

_LONGEST: Final = 16 * 1024
"""Characters of one line of a message that are logged."""
_PREPARE: Final = Prepare()


class TextFormatter(logging.Formatter):
    """``2026-01-31 12:00:00,250 INFO wasmplex.http request=4f.. host=shop.example workload=shop: message``.

    Every line that a record has begins like that; in those from the second on, ``| `` stands before the text.

    :param who: what is said of the process after the level, ``worker 2``
    :param times: whether lines begin with the time
    """

    def __init__(self, *, who: str = "", times: bool = True) -> None:
        super().__init__()
        self._who = f" {who}:" if who else ""
        self._times = times
        self._second = (0, "")

    def format(self, record: logging.LogRecord) -> str:
        """Return the lines of a record, without the last line's end."""
        _PREPARE.filter(record)
        begun = f"{self._time(record.created)}{record.levelname}{self._who}"
        head = f"{begun} {escape(record.name)}{_origin(record)}: "
        message = record.getMessage()
        plain = record.exc_text is None and record.stack_info is None and len(message) <= _LONGEST
        if plain and message.isascii() and message.isprintable():
            return head + message
        tail = "\n".join(filter(None, (record.exc_text, record.stack_info)))
        first, *more = _cut(message).split("\n")
        lines = [first, *(CONTINUED + line for line in more), *(tail.split("\n") if tail else ())]
        return "\n".join([head + escape(line, keep="\t") for line in lines])

    def _time(self, created: float) -> str:
        if not self._times:
            return ""
        second = int(created)
        if self._second[0] != second:
            self._second = (second, time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(second)))
        return f"{self._second[1]},{int((created - second) * 1000):03d} "


def _origin(record: Any) -> str:
    text = ""
    if record.request_id:
        text = f" request={record.request_id}"
    if record.host:
        text += f" host={_word(record.host)}"
    if record.workload:
        text += f" workload={_word(record.workload)}"
    return text


def _word(text: str) -> str:
    if text.isalnum() and text.isascii():
        return text
    text = escape(text)
    return text.replace(" ", "\\x20") if " " in text else text


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} [{len(text) - _LONGEST} characters cut]"


class JsonFormatter(logging.Formatter):
    """One JSON object a line: ``time``, ``level``, ``logger``, ``message`` and what else is known.

    That is ``request_id``, ``trace_id``, ``host``, ``workload``, ``exception`` with a traceback, and all that
    the record was given as ``extra``. What is empty is left out.

    :param constant: what every line says besides, ``{"worker": 2}``
    """

    def __init__(self, **constant: Any) -> None:
        super().__init__()
        self._constant = constant
        self._second = (0, "")

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a record, without its end."""
        _PREPARE.filter(record)
        found: dict[str, Any] = {
            "time": self._time(record.created),
            "level": record.levelname,
            "logger": record.name,
            "message": _cut(record.getMessage()),
            **self._constant,
        }
        more = record.__dict__
        for name in sorted(more.keys() - _OWN):
            value = more[name]
            if value != "" and value is not None:
                found[name] = value if _is_plain(value) else str(value)
        if record.exc_text:
            found["exception"] = record.exc_text.replace(f"\n{CONTINUED}", "\n").removeprefix(CONTINUED)
        return as_json(_ENCODE(found))

    def _time(self, created: float) -> str:
        second = int(created)
        if self._second[0] != second:
            self._second = (second, time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second)))
        return f"{self._second[1]}.{int((created - second) * 1000):03d}Z"


_ENCODE: Final = json.JSONEncoder(ensure_ascii=False).encode


def _is_plain(value: object) -> bool:
    return isinstance(value, (str, int)) or (isinstance(value, float) and math.isfinite(value))


_OWN: Final = frozenset(
    {*logging.makeLogRecord({}).__dict__, "message", "asctime", "taskName", "prepared", "repeats", "counts"}
)
"""What records have that need not be said, or is said by another name."""
