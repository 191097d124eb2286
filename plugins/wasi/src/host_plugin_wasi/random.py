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

__all__ = ["MOST", "PIECE", "bind", "insecure_u64", "u64"]

MOST = 16 << 20
"""The most bytes of one call. The interface has no error and no short answer, so more is a trap."""

PIECE = 64 << 10
"""Bytes that are made in one go: a fraction of a millisecond."""

_insecure = Random()  # noqa: S311  the interface is the one for randomness that nothing depends on


def _bytes() -> Callable[[int], Awaitable[bytes]]:
    """Return what makes random bytes for one workload, a long answer at a time: they take up memory."""
    lock = Lock()

    async def get(length: int) -> bytes:
        if length <= PIECE:
            return os.urandom(length)
        if length > MOST:
            raise Violation(f"wasi:random: {length} bytes asked for at once, at most {MOST} are given")
        async with lock:
            made = bytearray()
            while len(made) < length:
                made += os.urandom(min(PIECE, length - len(made)))
                await sleep(0)
            return bytes(made)

    return get


def u64() -> int:
    """Return 64 random bits of the operating system's."""
    return int.from_bytes(os.urandom(8), "little")


def insecure_u64() -> int:
    """Return 64 random bits that nothing may depend on."""
    return _insecure.getrandbits(64)


def bind(workload: WorkloadContext) -> AbstractAsyncContextManager[BoundInterfaces]:
    """Bind ``wasi:random``."""
    get = _bytes()
    return Tables(
        {
            "random": {"get-random-bytes": get, "get-random-u64": u64},
            # Python's own generator is no faster, and holds the interpreter while it makes many bytes.
            "insecure": {
                "get-insecure-random-bytes": get,
                "get-insecure-random-u64": insecure_u64,
            },
            # Guests seed their hash tables with it, against whoever sends them colliding keys.
            "insecure-seed": {"insecure-seed": lambda: (u64(), u64())},
        }
    ).context()
