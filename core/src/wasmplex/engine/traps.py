"""Turns what wasmtime says about a failed call into an error for people."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import Final

from wasmplex.engine.accounts import HOST, OWN, Account
from wasmplex.errors import GuestError, LimitExceeded, Trap, WasmplexError
from wasmplex.wit.mismatch import ValueMismatch

__all__ = [
    "GENERATED", "MACHINE", "TOO_MUCH", "blame", "host_trap", "innermost_cause", "no_memory", "too_much",
    "trap",
]  # fmt: skip

GENERATED: Final = "<wasmplex codec"
"""What the names begin with that tracebacks show as files of generated code."""
MACHINE: Final = "Machine"
"""The core module of the bridge that moves what flows; its name stands in the frames of a trap."""
TOO_MUCH: Final = "wasmplex-too-much"
"""What the core module is called that refuses arguments of too many values."""
_FRAME = re.compile(r"^\s*\d+:\s+0x[0-9a-f]+ - (?P<name>.*)$", re.MULTILINE)
_BUG = re.compile(r"(\d+: )?BUG: (?P<what>.*)")
_BOTH_ENDS: Final = "cannot read from and write to intra-component"
"""What wasmtime says where one instance reads what it writes; ours does for one kind of streams, see
docs/internals/bridge.md, "Ends that come home"."""
_COPIED: Final = "too much data is being copied"
"""What wasmtime says of lists in streams and futures, which it copies one by one, up to a bound."""
_AS_BYTES: Final = "move bytes as stream<u8>, not as lists in a stream or future"
_FRAMES_SHOWN = 4
_FUNCTION: Final = "_wasmplex_host_function"
"""The attribute of an exception that says which host function raised it."""
_LIMITS = ("table limits", "resource limit exceeded")
_PIECES: Final = "pass it in several calls, or as bytes"


def trap(workload: str, function: str, message: str, refused: str = "") -> GuestError:
    """Return the error for a message of wasmtime.

    :param refused: the key of the limit that the guest was refused memory for before, if it was
    """
    frames = [_short(match["name"].strip()) for match in _FRAME.finditer(message)]
    cause = _short(innermost_cause(message), 1000)
    why = cause
    if frames:
        shown = " < ".join(frames[:_FRAMES_SHOWN])
        why = f"{cause}, in {shown}{' < ...' if len(frames) > _FRAMES_SHOWN else ''}"
    if cause.startswith(_BOTH_ENDS) and frames and frames[0].startswith(f"{MACHINE}!"):
        return Trap(
            f"workload {workload!r}: the guest returned unread a stream or future of its own resources",
            where=function,
            why="it was given that one; who writes one may not read it, unless it moves numbers",
            fix="have the guest read it, and write what it reads to one that it makes",
        )  # fmt: skip
    if frames and frames[0].startswith(f"{TOO_MUCH}!") and cause.startswith("wasm `unreachable`"):
        return LimitExceeded(
            f"workload {workload!r}: the arguments of a call of the host are too many values",
            where=function, why="what the guest passes is read before the host can say no", fix=_PIECES,
        )  # fmt: skip
    if function == "instantiate" and any(text in message for text in _LIMITS):
        return too_much(workload, "limits.tables", why)
    if function == "instantiate" and not frames and "wasm trap" not in message:
        return Trap(f"workload {workload!r}: no instance can be made", where=function, why=why)
    fix = _AS_BYTES if cause.startswith(_COPIED) else ""
    if refused:
        why = f"{why}; before, {refused} had refused it memory"
        fix = f"raise {refused}" if refused == HOST else f"raise {refused} of [workload.{workload}]"
    return Trap(f"workload {workload!r}: the guest trapped", where=function, why=why, fix=fix)


def no_memory(workload: str, account: Account) -> LimitExceeded:
    """Return the error for an instance that could not have the memory it needs to be made."""
    if account.refused == OWN:
        why = f"memories, tables and heaps need {account.asked} bytes, {account.limit} are allowed"
        return too_much(workload, OWN, why)
    budget = account.tenant.budget
    return LimitExceeded(
        f"workload {workload!r}: there is no memory left for another instance",
        why=f"instances have {budget.used} bytes of the {budget.total} that {HOST} allows",
        fix=f"raise {HOST}, or lower limits.memory or instances.max of those that take most",
    )


def too_much(workload: str, key: str, why: str) -> LimitExceeded:
    """Return the error for an instance that needs more to be made than a limit allows."""
    return LimitExceeded(
        f"workload {workload!r}: an instance needs more than its limits allow",
        where="instantiate", why=why, fix=f"raise {key} of [workload.{workload}]",
    )  # fmt: skip


def innermost_cause(message: str) -> str:
    """Return the last line of a message of wasmtime that is not part of a backtrace.

    Where it thinks that the fault is its own, it begins with what is wrong, and asks for a report after that.
    """
    lines = [line.strip() for line in message.splitlines() if line.strip() and not _FRAME.match(line)]
    skip = ("error while executing", "Caused by:", "note:")
    for line in lines:
        if (found := _BUG.match(line)) is not None:
            return f"a defect of wasmtime: {found['what']}"
    causes = [re.sub(r"^\d+: ", "", line) for line in lines if not line.startswith(skip)]
    return causes[-1].removeprefix("wasm trap: ") if causes else "no cause given"


def _short(text: str, most: int = 200) -> str:
    """Return a text that a component chose, a name say, of no more than `most` characters."""
    return text if len(text) <= most else f"{text[:most]}..."


def blame(error: Exception, function: str) -> None:
    """Note which function an exception comes from, for what the engine calls is not always that one.

    Functions of an adapter serve many imports; the first to be noted was the closest.
    """
    if not hasattr(error, _FUNCTION):
        with suppress(Exception):  # an exception may refuse attributes
            setattr(error, _FUNCTION, function)


def host_trap(workload: str, function: str, host_function: str, error: Exception) -> Trap:
    """Return the error for a host function that raised what its type does not declare.

    A string of the guest that is none is found while the arguments are read, and is the guest's doing. The
    text of foreign exceptions may hold secrets, so it is left to the ``__cause__``; our own are shown.

    :param host_function: what the engine called; `blame` may have noted another
    """
    host_function = str(getattr(error, _FUNCTION, host_function))
    if isinstance(error, UnicodeDecodeError) and _where(error).startswith(GENERATED):
        return Trap(
            f"workload {workload!r}: the guest trapped",
            where=function, why=f"invalid utf8 encoding, in an argument of {host_function}",
        )  # fmt: skip
    own = isinstance(error, (ValueMismatch, WasmplexError))
    text = str(error).splitlines()[0] if own and str(error) else ""
    return Trap(
        f"workload {workload!r}: host function {host_function} failed",
        where=function,
        why=f"{type(error).__name__}{': ' if text else ''}{text}",
    )


def _where(error: Exception) -> str:
    """Return the file of the function that raised an exception."""
    frames = error.__traceback__
    while frames is not None and frames.tb_next is not None:
        frames = frames.tb_next
    return "" if frames is None else frames.tb_frame.f_code.co_filename
