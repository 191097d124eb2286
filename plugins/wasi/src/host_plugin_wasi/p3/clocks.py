"""``wasi:clocks@0.3``: the host's clocks, and async functions that wait."""

from __future__ import annotations

import time
from asyncio import sleep
from typing import TYPE_CHECKING

from wasmplex.plugin import Tables

from host_plugin_wasi.clocks import LONGEST, MONOTONIC_RESOLUTION, SECOND, SHORTEST, WALL_RESOLUTION

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from contextlib import AbstractAsyncContextManager

    from wasmplex.plugin import BoundInterfaces, WorkloadContext

__all__ = ["bind", "instant"]


def instant() -> dict[str, int]:
    """Return the time as an ``instant``: seconds since the epoch, which may be negative, and nanoseconds."""
    seconds, rest = divmod(time.time_ns(), SECOND)
    return {"seconds": seconds, "nanoseconds": rest}


def _wait_until(when: int) -> Coroutine[None, None, None] | None:
    """Wait for an instant; what has passed is answered at once, on the first poll of the call."""
    return None if time.monotonic_ns() >= when else _until(when)


def _wait_for(how_long: int) -> Coroutine[None, None, None] | None:
    return _wait_until(time.monotonic_ns() + how_long)


async def _until(when: int) -> None:
    while (left := when - time.monotonic_ns()) > 0:  # noqa: ASYNC110  it is time that is waited for
        await sleep(min(max(left / SECOND, SHORTEST), LONGEST))


_INTERFACES = Tables({
    "monotonic-clock": {
        "now": time.monotonic_ns,
        "get-resolution": lambda: MONOTONIC_RESOLUTION,
        "wait-until": _wait_until,
        "wait-for": _wait_for,
    },
    "system-clock": {
        "now": instant,
        "get-resolution": lambda: WALL_RESOLUTION,
    },
    # The host's zone is not the guest's business: it is UTC everywhere.
    "timezone": {
        "iana-id": lambda: "Etc/UTC",
        "utc-offset": lambda when: 0,
        "to-debug-string": lambda: "UTC",
    },
})  # fmt: skip


def bind(workload: WorkloadContext) -> AbstractAsyncContextManager[BoundInterfaces]:
    """Bind ``wasi:clocks``; it is the same for every workload."""
    return _INTERFACES.context()
