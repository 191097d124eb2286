"""What the log says of a failure: its text, and a traceback if nobody raised it on purpose."""

from __future__ import annotations

from wasmplex.capabilities.errors import CapabilityError
from wasmplex.capabilities.messaging.handling import HandlerFailed, HandlerRejected
from wasmplex.errors import WasmplexError
from wasmplex.values import Err

__all__ = ["in_one_line", "unforeseen"]

_FORESEEN = (WasmplexError, CapabilityError, Err, HandlerFailed, HandlerRejected)


def unforeseen(error: Exception | None) -> Exception | None:
    """Return an error, for ``exc_info``, if it is no answer of a component, a backend or the host."""
    return None if isinstance(error, _FORESEEN) else error


def in_one_line(error: BaseException) -> str:
    """Return the text of an error as the end of a sentence of the log.

    The lines of the host's own are its parts, and get semicolons between them. Others are left as they are.
    """
    between = "; " if isinstance(error, WasmplexError) else " "
    lines = (" ".join(line.split()) for line in str(error).splitlines())
    return between.join(filter(None, lines)) or type(error).__name__
