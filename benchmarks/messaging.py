"""Messages through a handler guest, against nats-py with a callback that does nothing.

Run it with the interpreter of the development environment: ``python benchmarks/messaging.py [--json FILE]
[--quick]``. Both arms take the same burst of messages from one server, in turn; the ratio given is the median
of the ratios of neighbouring bursts. 0.50 means that half as many messages a second go through the guest. The
bursts are sent by a process of their own; the servers do not sync to disk: what is measured is the host.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import anyio
import nats
import uvloop
from rich.console import Console
from rich.table import Table
from wasmplex.host import Host
from wasmplex.testing.servers import NatsServer

GUESTS = Path(__file__).parents[1] / "tests" / "guests" / "built"
CONFIG = """
[workload.sink]
component = "{guests}/{guest}.wasm"
instances = {{ max = 64, reuse = 1000000 }}
limits = {{ timeout = "120s" }}
[[workload.sink.trigger.messaging]]
backend = "nats"
url = "{url}"
subjects = ["{subject}"]
durable = {durable}
"""
ANSWER = """
[workload.answer]
component = "{guests}/handler-old.wasm"
instances = {{ max = 64, reuse = 1000000 }}
limits = {{ timeout = "120s" }}
default."wasi:keyvalue".backend = "memory"
import.orders = {{ backend = "nats", url = "{url}" }}
import.audit = {{ backend = "nats", url = "{url}" }}
[[workload.answer.trigger.messaging]]
backend = "nats"
url = "{url}"
subjects = ["guest.ask"]
"""
PUBLISHER = """
import socket, sys
port, subject, size, count = int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
with socket.create_connection(("127.0.0.1", port)) as server:
    server.sendall(b'CONNECT {"verbose":false,"headers":true}\\r\\n')
    one = b"PUB %s %d\\r\\n%s\\r\\n" % (subject.encode(), size, b"x" * size)
    some = max(1, min(count, 65536 // len(one)))
    for start in range(0, count, some):
        server.sendall(one * min(some, count - start))
    server.sendall(b"PING\\r\\n")
    seen = b""
    while b"PONG" not in seen:
        seen = seen[-8:] + server.recv(65536)
"""
LIMITS = {("core", "64 KiB"): 0.1, ("JetStream", "64 KiB"): 0.15, ("JetStream", "16 B"): 0.02}
"""What the ratio of messages a second has to be at least.

A callback that does nothing takes 5 us, a call of a guest ten times that: with bodies of 16 B it is the call
that is measured. The limits are there for what gets slower.
"""
MOST_REQUEST = 5.0
"""How much longer than nats-py a request that a guest answers may take."""


@dataclass
class Row:
    """What was measured of one way."""

    broker: str
    body: str
    guest: str
    guest_per_second: float
    library_per_second: float
    ratio: float


Burst = Callable[[int, int], Awaitable[float]]
"""Has so many messages of a size sent and handled, and returns how many a second that were."""


async def main() -> int:
    """Measure everything; fail if a ratio is below what is required."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    parser.add_argument("--quick", action="store_true", help="a fifth of the bursts")
    options = parser.parse_args()
    rounds = 2 if options.quick else 10
    rows: list[Row] = []
    with NatsServer(sync=None) as server:
        for broker, durable in (("core", False), ("JetStream", True)):
            for guest in ("sink", "sink-old"):
                for body, size, count in (("16 B", 16, 4000), ("64 KiB", 65536, 300)):
                    rows.append(await measure(server, broker, durable, guest, (body, size, count), rounds))
        rows.append(await requests(server, 50 * rounds))
    show(rows)
    if options.json:
        options.json.write_text(json.dumps([asdict(row) for row in rows], indent=1))
    return judge(rows)


def judge(rows: list[Row]) -> int:
    failed = 0
    for row in rows:
        if row.broker == "request":
            good = row.ratio <= MOST_REQUEST
        else:
            good = row.ratio >= LIMITS.get((row.broker, row.body), 0)
        if not good:
            failed = 1
            print(f"{row.broker}, {row.body}, {row.guest}: {row.ratio:.2f} is not what is required")
    return failed


async def measure(
    server: NatsServer, broker: str, durable: bool, guest: str, load: tuple[str, int, int], rounds: int
) -> Row:
    body, size, count = load
    ours: list[float] = []
    theirs: list[float] = []
    name = f"{broker}-{guest}-{size}"
    async with AsyncExitStack() as stack:
        burst = await stack.enter_async_context(through_guest(server, f"guest.{name}", durable, guest))
        library = await stack.enter_async_context(through_library(server, f"library.{name}", durable))
        await burst(size, count // 4)
        await library(size, count // 4)
        for _ in range(rounds):
            ours.append(await burst(size, count))
            theirs.append(await library(size, count))
    ratios = [one / other for one, other in zip(ours, theirs, strict=True)]
    figures = statistics.median(ours), statistics.median(theirs), statistics.median(ratios)
    return Row(broker, body, guest, *figures)


# ---------------------------------------------------------------- arms


async def send(server: NatsServer, subject: str, size: int, count: int) -> None:
    """Have a process send a burst."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-I", "-S", "-c", PUBLISHER, str(server.port), subject, str(size), str(count)
    )
    await process.wait()


class Meter:
    """Says how fast a burst was handled, from its first message to its last."""

    def __init__(self) -> None:
        self.handled = 0
        self.left = 0
        self.first = self.last = 0.0
        self.done = asyncio.Event()

    def note(self) -> None:
        now = time.perf_counter()
        if not self.handled:
            self.first = now
        self.handled += 1
        if self.handled == self.left:
            self.last = now
            self.done.set()

    async def burst(self, server: NatsServer, subject: str, size: int, count: int) -> float:
        self.handled, self.left = 0, count
        self.done.clear()
        async with asyncio.timeout(120):
            await send(server, subject, size, count)
            await self.done.wait()
        return (count - 1) / (self.last - self.first)


@asynccontextmanager
async def serving(text: str, trigger: str = "messaging") -> AsyncIterator[Host]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "host.toml"
        path.write_text(text)
        async with Host.from_config(path) as host, anyio.create_task_group() as tasks:
            stop, ready = anyio.Event(), anyio.Event()

            async def serve() -> None:
                await host.serve(stop, started=ready.set)

            tasks.start_soon(serve)
            await ready.wait()
            yield host
            stop.set()


@asynccontextmanager
async def through_guest(server: NatsServer, subject: str, durable: bool, guest: str) -> AsyncIterator[Burst]:
    name = f'"{subject.replace(".", "-")}"' if durable else "false"
    config = CONFIG.format(guests=GUESTS, guest=guest, url=server.url, subject=subject, durable=name)
    meter = Meter()
    async with serving(config) as host:
        (intake,) = host._running["messaging"].intakes  # type: ignore[attr-defined]  # noqa: SLF001
        handle = intake._handle  # noqa: SLF001

        async def counted(instance: Any, message: Any) -> None:
            await handle(instance, message)
            meter.note()

        intake._handle = counted  # noqa: SLF001
        yield lambda size, count: meter.burst(server, subject, size, count)


@asynccontextmanager
async def through_library(server: NatsServer, subject: str, durable: bool) -> AsyncIterator[Burst]:
    client = await nats.connect(server.url, pending_size=1 << 28)
    meter = Meter()

    async def callback(message: Any) -> None:
        if durable:
            await message.ack()
        meter.note()

    limits: Any = {"pending_msgs_limit": 1 << 20, "pending_bytes_limit": 1 << 30}
    if durable:
        stream: Any = client.jetstream()
        name = subject.replace(".", "-")
        await stream.add_stream(name=name, subjects=[subject], retention="interest")
        await stream.subscribe(subject, durable=name, cb=callback, manual_ack=True, **limits)
    else:
        await client.subscribe(subject, cb=callback, **limits)
        await client.flush()
    try:
        yield lambda size, count: meter.burst(server, subject, size, count)
    finally:
        await client.close()


async def requests(server: NatsServer, count: int) -> Row:
    """Measure requests that a guest answers, one after the other, against a callback that answers."""
    asker, answerer = await nats.connect(server.url), await nats.connect(server.url)

    async def answer(message: Any) -> None:
        await message.respond(message.data)

    await answerer.subscribe("library.ask", cb=answer)
    await answerer.flush()
    ours: list[float] = []
    theirs: list[float] = []
    async with serving(ANSWER.format(guests=GUESTS, url=server.url)):
        for number in range(count + 20):
            for subject, times in (("guest.ask", ours), ("library.ask", theirs)):
                begun = time.perf_counter()
                await asker.request(subject, b"sixteen bytes...", timeout=10)
                if number >= 20:
                    times.append(time.perf_counter() - begun)
    await asker.close()
    await answerer.close()
    ratio = statistics.median(one / other for one, other in zip(ours, theirs, strict=True))
    return Row(
        "request", "16 B", "handler-old", 1 / statistics.median(ours), 1 / statistics.median(theirs), ratio
    )


def show(rows: list[Row]) -> None:
    table = Table(title="messages a second")
    for column in ("broker", "body", "guest", "through the guest", "nats-py", "ratio"):
        table.add_column(column, justify="left" if column in ("broker", "body", "guest") else "right")
    for row in rows:
        figures = (f"{row.guest_per_second:,.0f}", f"{row.library_per_second:,.0f}", f"{row.ratio:.2f}")
        table.add_row(row.broker, row.body, row.guest, *figures)
    Console().print(table)


if __name__ == "__main__":
    sys.exit(uvloop.run(main()))
