"""A host under traffic for minutes: ``make soak MINUTES=10``.

Clients that keep their connections, clients that go away, traps, key-value on four backends; once a minute
another configuration by SIGHUP, and now and then a wrong one. Each minute, when all have been quiet for a
moment, what the host holds is printed. The exit code is 1 if that grows, or one request was lost.
"""

import argparse
import asyncio
import os
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from statistics import median

from soak.clients import Traffic
from soak.hosting import STORES, Held, Host, hosting

_QUIET = 50.0
"""Seconds into a minute at which it is looked at what the host holds."""
_SLACK = 8 * 2**20
"""Bytes that a process may hold more at the end than at the beginning: fragments, and caches that fill."""


async def soak(host: Host, minutes: int, workers: int) -> tuple[Traffic, list[Held]]:
    """Make traffic; return it, and what was held at the end of each minute."""
    lasting = STORES if workers == 1 else tuple(name for name in STORES if name != "memory")
    traffic = Traffic(host.port, STORES, lasting)
    held: list[Held] = []
    print(
        f"{'minute':>6} {'answers':>8} {'lost':>5} {'RSS MiB':>8} {'fds':>4} {'threads':>7} {'tasks':>5}",
        flush=True,
    )
    clients = asyncio.create_task(traffic.run())
    for minute in range(1, minutes + 1):
        begun = asyncio.get_running_loop().time()
        traffic.resume()
        await asyncio.sleep(3)
        await asyncio.to_thread(_change, host, minute)
        await asyncio.sleep(max(0.0, begun + _QUIET - asyncio.get_running_loop().time()))
        await traffic.pause()
        held.append(host.held())
        print(_row(minute, traffic, held[-1]), flush=True)
        await asyncio.sleep(
            max(0.0, begun + 60 - asyncio.get_running_loop().time()) if minute < minutes else 0
        )
    clients.cancel()
    with suppress(asyncio.CancelledError):
        await clients
    return traffic, held


def _change(host: Host, minute: int) -> None:
    if minute % 3 == 0:
        host.configure(minute, wrong=True)
        host.reload()
        host.wait_for("^not reloaded: ")
    host.configure(minute)
    host.reload()
    host.wait_for(f"^reloaded: variant-{minute} serves ")


def _row(minute: int, traffic: Traffic, held: Held) -> str:
    return (
        f"{minute:>6} {traffic.answered.total():>8} {len(traffic.lost):>5} {held.rss / 2**20:>8.1f}"
        f" {held.descriptors:>4} {held.threads:>7} {held.tasks:>5}"
    )


def grown(held: Sequence[Held], processes: int) -> list[str]:
    """Say what has grown from the beginning to the end, the first minute apart, in which all is new."""
    third = max(1, (len(held) - 1) // 3)
    first, last = held[1 : 1 + third], held[-third:]
    found = []
    if median(h.rss for h in last) > median(h.rss for h in first) + _SLACK * processes:
        found.append("RSS")
    counts = ("descriptors", "threads", "tasks")
    return found + [
        name
        for name in counts
        if median(getattr(h, name) for h in last) > max(getattr(h, name) for h in first)
    ]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=int, default=10)
    parser.add_argument("--workers", type=int, default=1)
    args = parser.parse_args()
    os.nice(10)
    with (
        tempfile.TemporaryDirectory(prefix="wasmplex-soak-") as folder,
        hosting(Path(folder), args.workers) as host,
    ):
        traffic, held = asyncio.run(soak(host, args.minutes, args.workers))
        code = host.stop()
        complaints = host.complaints()
    print("answered:", ", ".join(f"{kind} {count}" for kind, count in sorted(traffic.answered.items())))
    for when, kind, what in traffic.lost[:20]:
        print(f"lost after {when:.1f} s: {kind}: {what}")
    for line in complaints[:20]:
        print("logged:", line)
    growing = grown(held, args.workers) if len(held) > 3 else []
    for name in growing:
        print("grows:", name)
    print("exit code of the host:", code)
    return 1 if traffic.lost or growing or code or complaints else 0


if __name__ == "__main__":
    sys.exit(main())
