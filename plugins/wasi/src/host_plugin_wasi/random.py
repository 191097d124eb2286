"""``wasi:random``: the operating system's randomness, for both of its interfaces."""

from __future__ import annotations

import os
from asyncio import Lock, sleep
from random import Random
from typing import TYPE_CHECKING

from wasmplex.plugin import Tables

from host_plugin_wasi.io import Violation

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from contextlib import AbstractAsyncContextManager

    from wasmplex.plugin import BoundInterfaces, WorkloadContext

__all__ = ["MOST", "bind"]

MOST = 16 << 20
"""The most bytes of one call. The interface has no error and no short answer, so more is a trap."""

_PIECE = 64 << 10
"""Bytes that are made in one go: a fraction of a millisecond."""

_insecure = Random()  # noqa: S311  the interface is the one for randomness that nothing depends on


def _bytes() -> Callable[[int], Awaitable[bytes]]:
    """Return what makes random bytes for one workload, a long answer at a time: they take up memory."""
    lock = Lock()

    async def get(length: int) -> bytes:
        if length <= _PIECE:
            return os.urandom(length)
        if length > MOST:
            raise Violation(f"wasi:random: {length} bytes asked for at once, at most {MOST} are given")
        async with lock:
            made = bytearray()
            while len(made) < length:
                made += os.urandom(min(_PIECE, length - len(made)))
                await sleep(0)
            return bytes(made)

    return get


def _u64() -> int:
    return int.from_bytes(os.urandom(8), "little")


def bind(workload: WorkloadContext) -> AbstractAsyncContextManager[BoundInterfaces]:
    """Bind ``wasi:random``."""
    get = _bytes()
    return Tables(
        {
            "random": {"get-random-bytes": get, "get-random-u64": _u64},
            # Python's own generator is no faster, and holds the interpreter while it makes many bytes.
            "insecure": {
                "get-insecure-random-bytes": get,
                "get-insecure-random-u64": lambda: _insecure.getrandbits(64),
            },
            # Guests seed their hash tables with it, against whoever sends them colliding keys.
            "insecure-seed": {"insecure-seed": lambda: (_u64(), _u64())},
        }
    ).context()
