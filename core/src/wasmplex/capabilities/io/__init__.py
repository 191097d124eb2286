"""What the resources of ``wasi:io`` are in Python, for all packages whose functions hand them out.

The functions of ``wasi:io`` find the method on the object they are handed, so streams and pollables of any
package are good for all of them: they need not be from the package that serves ``wasi:io``.
"""

from __future__ import annotations

from wasmplex.capabilities.io.streams import (
    MOST_ZEROES,
    READ_LIMIT,
    Error,
    InputStream,
    MaybeAwaitable,
    OutputStream,
    closed,
    failed,
)
from wasmplex.capabilities.io.waiting import (
    FuturePollable,
    Pollable,
    ReadyPollable,
    Signal,
    SignalPollable,
    Violation,
    Waker,
    wait_any,
)

__all__ = [
    "MOST_ZEROES", "READ_LIMIT", "Error", "FuturePollable", "InputStream", "MaybeAwaitable", "OutputStream",
    "Pollable", "ReadyPollable", "Signal", "SignalPollable", "Violation", "Waker", "closed", "failed",
    "wait_any",
]  # fmt: skip
