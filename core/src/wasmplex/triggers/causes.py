"""Which failures the log shows with a traceback: those that nobody raised on purpose."""

from __future__ import annotations

from wasmplex.capabilities.errors import CapabilityError
from wasmplex.capabilities.messaging.handling import HandlerFailed, HandlerRejected
from wasmplex.errors import WasmplexError
from wasmplex.values import Err

__all__ = ["unforeseen"]

_FORESEEN = (WasmplexError, CapabilityError, Err, HandlerFailed, HandlerRejected)


def unforeseen(error: Exception | None) -> Exception | None:
    """Return an error, for ``exc_info``, if it is no answer of a component, a backend or the host."""
    return None if isinstance(error, _FORESEEN) else error
