"""``wasi:random``: the operating system's randomness, and a fast generator for what needs none."""

from __future__ import annotations

import os
from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING

from anyio import to_thread

from host_plugin_wasi.io import Violation
from host_plugin_wasi.packages import Tables

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from wasmplex.plugin import BoundInterfaces, WorkloadContext

__all__ = ["MOST", "bind"]

MOST = 64 << 20
"""The most bytes of one call. The interface has no error and no short answer, so more is a trap."""

_INLINE = 64 << 10
"""Bytes that take less time to make than a thread takes to start."""

_insecure = Random()  # noqa: S311  the interface is the one for randomness that nothing depends on


async def _bytes(source: Callable[[int], bytes], length: int) -> bytes:
    if length <= _INLINE:
        return source(length)
    if length > MOST:
        raise Violation(f"wasi:random: {length} bytes asked for at once, at most {MOST} are given")
    return await to_thread.run_sync(source, length)


async def _get_random_bytes(length: int) -> bytes:
    return await _bytes(os.urandom, length)


async def _get_insecure_random_bytes(length: int) -> bytes:
    return await _bytes(_insecure.randbytes, length)


def _get_random_u64() -> int:
    return int.from_bytes(os.urandom(8), "little")


_INTERFACES = Tables({
    "random": {
        "get-random-bytes": _get_random_bytes,
        "get-random-u64": _get_random_u64,
    },
    "insecure": {
        "get-insecure-random-bytes": _get_insecure_random_bytes,
        "get-insecure-random-u64": lambda: _insecure.getrandbits(64),
    },
    # Guests seed their hash tables with it, against whoever sends them colliding keys.
    "insecure-seed": {
        "insecure-seed": lambda: (_get_random_u64(), _get_random_u64()),
    },
})  # fmt: skip


def bind(workload: WorkloadContext) -> AbstractAsyncContextManager[BoundInterfaces]:
    """Bind ``wasi:random``; it is the same for every workload."""
    return _INTERFACES.context()
