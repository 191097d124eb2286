"""Messages through a handler guest, against nats-py with a callback that does nothing.

Run it with the interpreter of the development environment: ``python benchmarks/messaging.py [--json FILE]
[--quick]``. Both arms take the same burst of messages from one server, in turn; the ratio given is the median
of the ratios of neighbouring bursts. 0.50 means that half as many messages a second go through the guest. The
bursts are sent by a process of their own, and timed from the first byte sent to the last message handled; the
servers do not sync to disk: what is measured is the host. What goes through the broker in memory is compared
with what nats-py takes from a server of core NATS.
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
from wasmplex.capabilities.messaging import Message
from wasmplex.host import Host
from wasmplex.testing.servers import NatsServer

GUESTS = Path(__file__).parents[1] / "tests" / "guests" / "built"
CONFIG = """
[workload.sink]
component = "{guests}/{guest}.wasm"
instances = {{ max = 64, reuse = 1000000 }}
limits = {{ timeout = "120s" }}
[[workload.sink.trigger.messaging]]
{backend}
subjects = ["{subject}"]
durable = {durable}
"""
ANSWER = """
[workload.answer]
component = "{guests}/answer-old.wasm"
instances = {{ max = 64, reuse = 1000000 }}
limits = {{ timeout = "120s" }}
default."wasmcloud:messaging" = {{ backend = "nats", url = "{url}" }}
[[workload.answer.trigger.messaging]]
backend = "nats"
url = "{url}"
subjects = ["guest.ask"]
"""
PUBLISHER = """
import socket, sys
port, subject, size = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
with socket.create_connection(("127.0.0.1", port)) as server:
    server.sendall(b'CONNECT {"verbose":false,"headers":true}\\r\\n')
    one = b"PUB %s %d\\r\\n%s\\r\\n" % (subject.encode(), size, b"x" * size)
    print("ready", flush=True)
    for line in sys.stdin:
        count = int(line)
        some = max(1, min(count, 65536 // len(one)))
        for start in range(0, count, some):
            server.sendall(one * min(some, count - start))
"""
LIMITS = {("core", "16 B"): 0.5, ("JetStream", "16 B"): 0.8}
"""What the ratio of messages a second has to be at least."""
MOST_REQUEST = 1.5
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


Burst = Callable[[int], Awaitable[float]]
"""Has so many messages sent and handled, and returns how many a second that were."""
Send = Callable[[int], Awaitable[None]]


async def main() -> int:
    """Measure everything; fail if a ratio is below what is required."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    parser.add_argument("--quick", action="store_true", help="a fifth of the bursts")
    options = parser.parse_args()
    rounds = 2 if options.quick else 10
    judged = 3 * rounds  # server, sender and host share the processors: a burst takes a fifth more, or less
    rows: list[Row] = []
    with NatsServer(sync=None) as server:
        for broker, durable in (("memory", False), ("core", False), ("JetStream", True)):
            for guest in ("sink", "sink-old"):
                for body, size, count in (("16 B", 16, 4000), ("64 KiB", 65536, 300)):
                    times = judged if (broker, body) in LIMITS else rounds
                    rows.append(await measure(server, broker, durable, guest, (body, size, count), times))
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
        guests = in_memory if broker == "memory" else through_guest
        burst = await stack.enter_async_context(guests(server, f"guest.{name}", durable, guest, size))
        library = await stack.enter_async_context(through_library(server, f"library.{name}", durable, size))
        await burst(count // 4)
        await library(count // 4)
        for _ in range(rounds):
            ours.append(await burst(count))
            theirs.append(await library(count))
    ratios = [one / other for one, other in zip(ours, theirs, strict=True)]
    figures = statistics.median(ours), statistics.median(theirs), statistics.median(ratios)
    return Row(broker, body, guest, *figures)


# ---------------------------------------------------------------- arms


@asynccontextmanager
async def sending(server: NatsServer, subject: str, size: int) -> AsyncIterator[Send]:
    """Start a process that sends bursts."""
    arguments = (PUBLISHER, str(server.port), subject, str(size))
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-I", "-S", "-c", *arguments, stdin=-1, stdout=-1
    )
    assert process.stdin is not None
    assert process.stdout is not None
    orders = process.stdin
    await process.stdout.readline()

    async def send(count: int) -> None:
        orders.write(f"{count}\n".encode())

    try:
        yield send
    finally:
        orders.close()
        await process.wait()


class Meter:
    """Says how fast a burst was handled."""

    def __init__(self) -> None:
        self.left = 0
        self.last = 0.0
        self.done = asyncio.Event()

    def note(self, count: int = 1) -> None:
        self.left -= count
        if not self.left:
            self.last = time.perf_counter()
            self.done.set()

    async def burst(self, send: Send, count: int) -> float:
        self.left = count
        self.done.clear()
        begun = time.perf_counter()
        async with asyncio.timeout(120):
            await send(count)
            await self.done.wait()
        return count / (self.last - begun)


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


def counted(host: Host, meter: Meter) -> Any:
    """Have the messages counted that the trigger of a host has handled; return what takes them."""
    (intake,) = host._running["messaging"].intakes  # type: ignore[attr-defined]  # noqa: SLF001
    settler = intake._settler  # noqa: SLF001
    one, all_ = settler.handled, settler.all_handled

    async def count_one(delivery: Any) -> None:
        await one(delivery)
        meter.note()

    async def count_all(deliveries: Any, handled: Any) -> None:
        await all_(deliveries, handled)
        meter.note(len(handled))

    settler.handled, settler.all_handled = count_one, count_all
    return settler


@asynccontextmanager
async def through_guest(
    server: NatsServer, subject: str, durable: bool, guest: str, size: int
) -> AsyncIterator[Burst]:
    name = f'"{subject.replace(".", "-")}"' if durable else "false"
    backend = f'backend = "nats"\nurl = "{server.url}"'
    config = CONFIG.format(guests=GUESTS, guest=guest, backend=backend, subject=subject, durable=name)
    meter = Meter()
    async with serving(config) as host, sending(server, subject, size) as send:
        counted(host, meter)
        yield lambda count: meter.burst(send, count)


@asynccontextmanager
async def in_memory(
    server: NatsServer, subject: str, durable: bool, guest: str, size: int
) -> AsyncIterator[Burst]:
    backend = 'backend = "memory"'
    config = CONFIG.format(guests=GUESTS, guest=guest, backend=backend, subject=subject, durable="false")
    meter, message = Meter(), Message(subject, b"x" * size)
    async with serving(config) as host:
        settler = counted(host, meter)

        async def send(count: int) -> None:
            for _ in range(count):
                await settler._backend.publish(settler._namespace, message)  # noqa: SLF001

        yield lambda count: meter.burst(send, count)


@asynccontextmanager
async def through_library(server: NatsServer, subject: str, durable: bool, size: int) -> AsyncIterator[Burst]:
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
        async with sending(server, subject, size) as send:
            yield lambda count: meter.burst(send, count)
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
        "request", "16 B", "answer-old", 1 / statistics.median(ours), 1 / statistics.median(theirs), ratio
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
