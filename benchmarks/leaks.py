"""Resident memory of the bridge over many calls, cancelled calls, and streams, on both transports.

Run it with the interpreter of the development environment: ``python benchmarks/leaks.py [--json FILE]``.
Each part runs once to warm up and is then measured. What must hold: calls leave memory as it was, and a
gibibyte through a stream needs less than 32 MiB.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import hashlib
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from wasmplex.bridge import BridgedInstance, TransportName, bridge
from wasmplex.component import read
from wasmplex.engine import Engine, EngineSettings
from wasmplex.engine.text import assemble

LIMIT = 32 << 20
"""Bytes of growth that a part may show."""

TYPES = {"call": "(list u8)", "wait": "u32", "flow": "(stream u8)"}
PARAMS = "".join(
    f'(export "{name}" (func{"" if name == "call" else " async"} (param "v" {type_}) (result {type_})))'
    for name, type_ in TYPES.items()
)
ECHO = f'(component (import "in" (instance $i {PARAMS})) (export "out" (instance $i)))'
"""A guest that gives back what it is given."""

PIECE = bytes(range(256)) * 256


def resident() -> int:
    """Return the process's resident memory in bytes."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


CALLER = Path(__file__).parents[1] / "core" / "tests" / "engine" / "guests" / "kv.wat"
"""A guest that calls a key-value store in loops."""


class Bucket:
    """What the guest holds a handle of."""


STORE: dict[str, Callable[..., Any]] = {
    "noop": lambda: None,
    "add": lambda a, b: a,
    "strlen": len,
    "open": lambda name: Bucket(),
    "[method]bucket.get": lambda self, key: PIECE[:1000],
    "[method]bucket.set": lambda self, key, data: None,
}


async def wait(value: int) -> int:
    await asyncio.sleep(0 if value < 1_000_000 else 60)
    return value


async def flow(stream: Any) -> Any:
    return stream


@asynccontextmanager
async def guest(
    engine: Engine, transport: TransportName, text: str, imports: dict[str, dict[str, Callable[..., Any]]]
) -> AsyncIterator[Callable[[], Awaitable[Any]]]:
    """Link a guest; yield what makes instances of it."""
    wasm = assemble(text)
    bridged = bridge(wasm, read(wasm), imports, assemble, lambda item: True, transport)
    assert bridged is not None
    compiled = await engine.compile(bridged.wasm, read(bridged.wasm))
    linked = engine.link(compiled, bridged.link(imports), "leaks")

    async def make() -> BridgedInstance:
        instance = BridgedInstance(await linked.instantiate(), bridged)
        if bridged.start is not None:
            await instance.call(bridged.start)
        return instance

    yield make


async def calls(make: Any, count: int) -> None:
    instance = await make()
    for _ in range(count):
        await instance.call("out#call", b"sixteen bytes ..")
    instance.close()


async def called(make: Any, count: int) -> None:
    """Have a guest make calls, of which each other moves a kilobyte."""
    instance = await make()
    await instance.call("init")
    for _ in range(max(1, count // 2000)):
        await instance.call("run-set", 1000, 16)
        await instance.call("run-get", 1000, 16)
    instance.close()


async def waiting(make: Any, count: int) -> None:
    instance = await make()
    for _ in range(count):
        await instance.call("out#wait", 7)
    instance.close()


async def cancelled(make: Any, count: int) -> None:
    for _ in range(count):
        instance = await make()
        task = asyncio.create_task(instance.call("out#wait", 1_000_000))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        instance.close()
        await asyncio.sleep(0)


async def dropped(make: Any, count: int) -> None:
    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield PIECE[:1000]

    instance = await make()
    for _ in range(count):
        stream = await instance.call("out#flow", endless())
        await stream.read()
        stream.close()
        while instance.poisoned:  # noqa: ASYNC110  there is nothing to wait for but turns of the loop
            await asyncio.sleep(0)
    instance.close()


async def gibibyte(make: Any, count: int) -> None:
    """Move bytes into the guest and out again; check that they are the same."""
    wanted = hashlib.blake2b()

    async def source() -> AsyncIterator[bytes]:
        for _ in range(count):
            wanted.update(PIECE)
            yield PIECE

    instance = await make()
    found = hashlib.blake2b()
    async for chunk in await instance.call("out#flow", source()):
        found.update(chunk)
    assert found.digest() == wanted.digest()
    while instance.poisoned:  # noqa: ASYNC110
        await asyncio.sleep(0)
    instance.close()


PARTS: dict[str, tuple[Callable[[Any, int], Awaitable[None]], int]] = {
    "host calls made by a guest": (called, 1_000_000),
    "calls forwarded by a guest": (calls, 1_000_000),
    "async calls that wait": (waiting, 100_000),
    "calls cancelled": (cancelled, 10_000),
    "streams dropped half way": (dropped, 10_000),
    "64 KiB through a stream, both ways": (gibibyte, 16_384),
}


def _same(value: Any) -> Any:
    return value


async def measure(share: float, only: str) -> list[dict[str, Any]]:
    results = []
    transports: tuple[TransportName, ...] = ("strings", "memory")
    for transport in transports:
        async with (
            Engine(EngineSettings(use_cache=False)) as engine,
            guest(engine, transport, ECHO, {"in": {"call": _same, "wait": wait, "flow": flow}}) as echo,
            guest(engine, transport, CALLER.read_text(), {"test:kv/store": STORE}) as caller,
        ):
            for name, (part, full) in PARTS.items():
                if only and only not in name:
                    continue
                count = max(1, int(full * share))
                make = caller if part is called else echo
                await part(make, max(1, count // 20))
                before = resident()
                await part(make, count)
                grown = resident() - before
                results.append({"transport": transport, "part": name, "count": count, "grown": grown})
                print(f"{transport}: {count} {name}: {grown / 2**20:+.1f} MiB", file=sys.stderr)
    return results


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path, help="also write the results to this file")
    parser.add_argument("--share", type=float, default=1.0, help="do this part of the counts")
    parser.add_argument("--only", default="", help="only the parts whose name holds this")
    options = parser.parse_args()
    results = asyncio.run(measure(options.share, options.only))
    table = Table("transport", "what", "count", "grown, MiB", title="growth of resident memory")
    for result in results:
        grown = f"{result['grown'] / 2**20:+.2f}"
        table.add_row(result["transport"], result["part"], f"{result['count']:,}", grown)
    Console(width=110).print(table)
    if options.json:
        options.json.write_text(json.dumps(results, indent=2) + "\n")
    return int(any(result["grown"] > LIMIT for result in results))


if __name__ == "__main__":
    sys.exit(main())
