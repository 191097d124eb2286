"""What ends a call: a failure or not, and whether the log shows it with a traceback."""

from __future__ import annotations

from wasmplex.capabilities.errors import CapabilityError
from wasmplex.capabilities.messaging.handling import HandlerFailed, HandlerRejected
from wasmplex.errors import GuestExit, WasmplexError
from wasmplex.values import Err

__all__ = ["exited_well", "unforeseen"]

_FORESEEN = (WasmplexError, CapabilityError, Err, HandlerFailed, HandlerRejected)


def exited_well(error: Exception) -> bool:
    """Say whether the guest has ended itself with 0, which ends a call as a return does."""
    return isinstance(error, GuestExit) and error.code == 0


def unforeseen(error: Exception | None) -> Exception | None:
    """Return an error, for ``exc_info``, if it is no answer of a component, a backend or the host."""
    return None if isinstance(error, _FORESEEN) else error
