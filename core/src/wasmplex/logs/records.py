"""What is done to every record before anybody sees it: whose it is, foreign text escaped."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

from wasmplex.errors import Diagnostic, WasmplexError
from wasmplex.escaping import Escaped, escape
from wasmplex.logs.context import origin
from wasmplex.redaction import KNOWN

__all__ = ["CONTINUED", "Prepare", "get_logger", "log_text"]

CONTINUED: Final = "| "
"""What the lines of a record begin with from its second on, after what every line begins with."""

_HARMLESS: Final = (int, float, complex, Decimal, type(None), Escaped, WasmplexError, Diagnostic)
"""What cannot hold foreign text, and our own errors, which escape what they quote and may have lines."""


def get_logger(name: str) -> logging.Logger:
    """Return a logger of that name whose records are prepared before any handler gets them.

    What is logged with it has the foreign parts as arguments: ``log.warning("no workload %s", name)``. The
    message itself is the host's own. A record gets the attributes ``request_id``, ``trace_id``, ``host`` and
    ``workload``, empty where there is none, for whoever formats it.
    """
    logger = logging.getLogger(name)
    if _PREPARE not in logger.filters:
        logger.addFilter(_PREPARE)
    return logger


def log_text(logger: logging.Logger, level: int, text: str, **more: Any) -> None:
    """Log a text that is foreign as a whole, or in parts; for what is logged often.

    :param more: attributes of the record, which must not be among the names that records have
    """
    if logger.isEnabledFor(level):
        # Not Logger.log, which walks the stack to find out who called.
        record = logger.makeRecord(logger.name, level, "", 0, Escaped(escape(text)), (), None)
        record.__dict__.update(more)
        logger.handle(record)


class Prepare(logging.Filter):
    """Prepares records, each once. Handlers have it for the records of other people's loggers."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Prepare a record; none is refused."""
        if "prepared" not in record.__dict__:
            _prepare(record)
        return True


_PREPARE: Final = Prepare()
_NOBODY: Final = ("", "", "", "")


def _prepare(record: logging.LogRecord) -> None:
    found = record.__dict__
    whose = origin()
    found["prepared"] = True
    found["request_id"], found["trace_id"], host, workload = _NOBODY if whose is None else whose.named
    found["host"] = escape(host)
    if "workload" not in found:
        found["workload"] = workload
    if type(record.msg) is not Escaped:
        _make_safe(record)
    if KNOWN and (record.levelno != logging.INFO or record.exc_text):  # INFO: access, and what guests print
        _redact(record)


def _make_safe(record: logging.LogRecord) -> None:
    if record.args:
        record.args = _safe_arguments(record.args)
    if not isinstance(record.msg, str):
        record.msg = _safe(record.msg)
    if record.exc_info and record.exc_info[0] is not None:
        record.exc_text = _continued("".join(traceback.format_exception(*record.exc_info)))
    if record.stack_info:
        record.stack_info = _continued(record.stack_info)


def _redact(record: logging.LogRecord) -> None:
    """Take out the secrets that are in use. Whoever raised or logged what holds one did not know better."""
    message = record.getMessage()
    if (redacted := KNOWN.text(message)) != message:
        record.msg, record.args = Escaped(redacted), ()
    if record.exc_text:
        record.exc_text = KNOWN.text(record.exc_text)


def _safe_arguments(args: Any) -> Any:
    if isinstance(args, Mapping):
        return {name: _safe(value) for name, value in args.items()}
    return tuple([_safe(value) for value in args]) if isinstance(args, tuple) else _safe(args)


def _safe(value: Any) -> Any:
    kind = type(value)
    if kind is int or (kind is str and value.isascii() and value.isprintable()):
        return value
    return value if isinstance(value, _HARMLESS) else _Foreign(value)


class _Foreign:
    """An argument whose text is escaped when it is asked for."""

    __slots__ = ("_value",)

    def __init__(self, value: Any) -> None:
        self._value = value

    def __str__(self) -> str:
        return escape(str(self._value))

    def __repr__(self) -> str:
        return escape(repr(self._value))


def _continued(text: str) -> str:
    """Return the lines of a traceback so that none can be taken for the beginning of a record."""
    return "\n".join([CONTINUED + escape(line) for line in text.rstrip("\n").split("\n")])
