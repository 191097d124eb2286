"""``wasi:io`` for other packages to build on: `wasmplex.capabilities.io`, under its name of 0.1.0."""

from __future__ import annotations

from wasmplex.capabilities.io import (
    MOST_ZEROES,
    READ_LIMIT,
    Error,
    FuturePollable,
    InputStream,
    MaybeAwaitable,
    OutputStream,
    Pollable,
    ReadyPollable,
    Signal,
    SignalPollable,
    Violation,
    Waker,
    closed,
    failed,
    wait_any,
)

__all__ = [
    "MOST_ZEROES", "READ_LIMIT", "Error", "FuturePollable", "InputStream", "MaybeAwaitable", "OutputStream",
    "Pollable", "ReadyPollable", "Signal", "SignalPollable", "Violation", "Waker", "closed", "failed",
    "wait_any",
]  # fmt: skip
