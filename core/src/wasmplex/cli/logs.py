"""Log lines on standard error, and what a command says there besides: text, or JSON for programs."""

from __future__ import annotations

import logging
import sys
import threading
from typing import Any, TextIO

import click

from wasmplex.errors import Diagnostic
from wasmplex.escaping import Escaped, escape
from wasmplex.logs import Counted, JsonFormatter, TextFormatter, get_logger

__all__ = ["say", "say_problem", "set_up_logging", "take_over"]


def set_up_logging(
    level: str, *, format_: str = "text", worker: int | None = None, times: bool = True
) -> None:
    """Print the host's records from `level` on, everybody else's from warnings on.

    :param format_: ``text`` or ``json``
    :param worker: which worker of several this process is
    :param times: whether lines of text begin with the time
    """
    formatter: logging.Formatter
    if format_ == "json":
        formatter = JsonFormatter(**({} if worker is None else {"worker": worker}))
    else:
        formatter = TextFormatter(who="" if worker is None else f"worker {worker}", times=times)
    root = logging.getLogger()
    for handler in [*root.handlers]:
        root.removeHandler(handler)
        handler.close()
    root.addHandler(_Handler(sys.stderr, formatter))
    root.setLevel(logging.WARNING)
    logging.getLogger("wasmplex").setLevel(level.upper())


def take_over() -> None:
    """Have this process log for the host alone.

    What Python would print as it is, errors in threads and destructors and warnings, is logged. Records are
    made without what nobody here prints: processes, threads and tasks.
    """
    logging.logProcesses = logging.logMultiprocessing = logging.logThreads = False
    if hasattr(logging, "logAsyncioTasks"):  # since Python 3.12
        logging.logAsyncioTasks = False
    logger = get_logger("wasmplex.python")

    def in_thread(args: threading.ExceptHookArgs) -> None:
        if args.exc_type is not SystemExit:
            name = "a thread" if args.thread is None else args.thread.name
            logger.error("%s failed", name, exc_info=_info(args))

    def unraisable(args: sys.UnraisableHookArgs) -> None:
        what = args.err_msg or "an error was ignored in"
        logger.error("%s %r", Escaped(what), args.object, exc_info=_info(args))

    threading.excepthook = in_thread
    sys.unraisablehook = unraisable
    logging.captureWarnings(True)


def _info(args: Any) -> Any:
    return args.exc_type, args.exc_value, args.exc_traceback


def say(text: str) -> None:
    """Say something on standard error whatever the level of the log is."""
    if not _as_record(logging.INFO, text):
        click.echo(escape(text), err=True)


def say_problem(diagnostic: Diagnostic) -> bool:
    """Say what went wrong, if standard error is for programs; return whether it is."""
    more = {"where": diagnostic.where, "why": diagnostic.why, "fix": diagnostic.fix}
    if diagnostic.lines:
        more["lines"] = "\n".join(diagnostic.lines)
    return _as_record(logging.ERROR, diagnostic.what, **more)


class _Handler(logging.StreamHandler[TextIO]):
    """Writes records, and counts warnings that are repeated."""

    def __init__(self, stream: TextIO, formatter: logging.Formatter) -> None:
        super().__init__(stream)
        self.setFormatter(formatter)
        self._counted = Counted(self.write)
        self.addFilter(self._counted)

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record, in one piece. Standard error keeps no lines back, so there is nothing to flush."""
        try:
            self.stream.write(f"{self.format(record)}\n")
        except Exception:  # noqa: BLE001  as every handler has it
            self.handleError(record)

    def write(self, record: logging.LogRecord) -> None:
        """Write a record, whatever the filter says."""
        self.acquire()
        try:
            self.emit(record)
        finally:
            self.release()

    def close(self) -> None:
        """Say what was held back."""
        self._counted.flush()
        super().close()


def _as_record(level: int, text: str, **more: str) -> bool:
    for handler in logging.getLogger().handlers:
        if isinstance(handler, _Handler) and isinstance(handler.formatter, JsonFormatter):
            record = logging.LogRecord("wasmplex", level, "", 0, "%s", (text,), None)
            record.__dict__.update(more)
            handler.write(record)
            return True
    return False
