"""Bytes through streams, and linking, by the bridge: beside a baseline of the same run.

Run it with the interpreter of the development environment: ``python benchmarks/bridge.py [--json FILE]``.

A guest is given a ``stream<u8>`` and returns the one that an imported function makes of it: all bytes go to
the guest and back twice, through Python in the middle, in chunks of 1 MiB. The baseline of streams is Python
that copies each chunk as often as it is copied on this way, from one buffer to the next: six times. What
linking a component of 100 functions takes is given as a part of what wasmtime takes to compile it. All of it
is processor time, which other programs of the machine change least.
"""

from __future__ import annotations

import argparse
import json
import platform
import random
import statistics
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import uvloop
import wasmtime
from rich.console import Console
from rich.table import Table
from wasmplex.bridge import BridgedInstance, bridge
from wasmplex.bridge.transport import TransportName
from wasmplex.component import read
from wasmplex.engine import Engine, EngineSettings, proposals
from wasmplex.engine.text import assemble
from wasmtime.component import Component

MIB = 1 << 20
PASSING = assemble("""(component
  (import "in" (instance $i (export "pass" (func async (param "s" (stream u8)) (result (stream u8))))))
  (export "out" (instance $i)))""")
COPIES = 6
"""How often a byte is copied from one memory to another on its way, by the memory transport."""
FUNCTIONS = assemble(
    '(component (import "in" (instance $i (type $r (result (list u8) (error u32)))'
    + "".join(
        f'(export "f{n}" (func (param "a" (list u8)) (param "b" string) (result $r)))' for n in range(100)
    )
    + ')) (export "out" (instance $i)))'
)


@dataclass(frozen=True)
class Row:
    """Bytes that cross in one way.

    :ivar amount: MiB in a slice
    :ivar least: megabytes a second that it must move
    """

    name: str
    transport: TransportName
    chunk: bytes
    amount: int
    least: float


OCTETS, TEXT = random.Random(1).randbytes(MIB), b"x" * MIB
ROWS = (
    Row("stream<u8>, memory", "memory", OCTETS, 192, 800),
    Row("stream<u8>, strings, random bytes", "strings", OCTETS, 24, 200),
    Row("stream<u8>, strings, text", "strings", TEXT, 48, 400),
)
MOST_OF_COMPILING = 1.0
"""How much of the time that wasmtime takes to compile a component linking it may take at most."""


class Passing:
    """A guest that streams pass, linked in one way."""

    def __init__(self, instance: BridgedInstance) -> None:
        self._instance = instance

    async def move(self, chunk: bytes, count: int) -> None:
        """Have a number of chunks go through it."""

        async def chunks() -> AsyncIterator[bytes]:
            for _ in range(count):
                yield chunk

        left = count * len(chunk)
        async for part in await self._instance.call("out#pass", chunks()):
            left -= len(part)
        assert left == 0


async def passing(engine: Engine, transport: TransportName) -> Passing:
    async def same(stream: Any) -> Any:
        return stream

    imports = {"in": {"pass": same}}
    bridged = bridge(PASSING, read(PASSING), imports, assemble, transport=transport)
    assert bridged is not None
    assert bridged.start is not None
    compiled = await engine.compile(bridged.wasm, read(bridged.wasm, composed=True))
    instance = BridgedInstance(
        await engine.link(compiled, bridged.link(imports), "benchmark").instantiate(), bridged
    )
    await instance.call(bridged.start)
    return Passing(instance)


def copied(chunk: bytes, count: int) -> float:
    """Return the processor seconds that it takes to copy chunks as often as their bytes are on their way."""
    buffers = [bytearray(len(chunk)) for _ in range(2)]
    start = time.process_time()
    for _ in range(count):
        buffers[0][:] = chunk
        for turn in range(COPIES - 1):
            buffers[(turn + 1) % 2][:] = buffers[turn % 2]
    return time.process_time() - start


async def streams(rounds: int) -> list[dict[str, Any]]:
    times: dict[str, list[tuple[float, float]]] = {row.name: [] for row in ROWS}
    async with Engine(EngineSettings(use_cache=False)) as engine:
        guests = {name: await passing(engine, name) for name in {row.transport for row in ROWS}}
        for turn in range(rounds + 1):
            for row in ROWS:
                start = time.process_time()
                await guests[row.transport].move(row.chunk, row.amount)
                spent = time.process_time() - start
                if turn:  # the first round warms up
                    times[row.name].append((spent, copied(row.chunk, row.amount)))
    return [
        {
            "name": row.name,
            "megabytes": row.amount * MIB / 1e6 / min(spent for spent, _ in times[row.name]),
            "of copying": statistics.median(copy / spent for spent, copy in times[row.name]),
        }
        for row in ROWS
    ]


def linking(rounds: int) -> dict[str, Any]:
    """Measure what the bridge adds to compiling a component of 100 functions."""
    config = wasmtime.Config()
    proposals.apply(config, {"component-model-async": True}, concurrency=True)
    engine, imports = wasmtime.Engine(config), {"in": {f"f{n}": len for n in range(100)}}
    bridged, compiled = [], []
    for _ in range(rounds):
        start = time.process_time()
        made = bridge(FUNCTIONS, read(FUNCTIONS), imports, assemble, transport="memory")
        middle = time.process_time()
        assert made is not None
        Component(engine, made.wasm)
        bridged.append(middle - start)
        compiled.append(time.process_time() - middle)
    of = statistics.median(one / other for one, other in zip(bridged, compiled, strict=True))
    return {"name": "link 100 functions", "milliseconds": min(bridged) * 1e3, "of compiling": of}


def table(moved: list[dict[str, Any]], linked: dict[str, Any]) -> Table:
    shown = Table("", "", "of the baseline", title="the bridge, by processor time")
    for row in moved:
        shown.add_row(row["name"], f"{row['megabytes']:.0f} MB/s", f"{row['of copying']:.2f}")
    shown.add_row(linked["name"], f"{linked['milliseconds']:.0f} ms", f"{linked['of compiling']:.2f}")
    return shown


def missed(moved: list[dict[str, Any]], linked: dict[str, Any]) -> list[str]:
    """Return what is slower than it must be."""
    least = {row.name: row.least for row in ROWS}
    found = [
        f"{row['name']}: {row['megabytes']:.0f} MB/s, must be {least[row['name']]:.0f}"
        for row in moved
        if row["megabytes"] < least[row["name"]]
    ]
    if linked["of compiling"] > MOST_OF_COMPILING:
        found.append(
            f"{linked['name']}: {linked['of compiling']:.2f} of compiling, must be {MOST_OF_COMPILING}"
        )
    return found


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path, help="also write the results to this file")
    parser.add_argument("--rounds", type=int, default=7, help="slices of each row")
    options = parser.parse_args()
    moved, linked = uvloop.run(streams(options.rounds)), linking(options.rounds)
    Console(width=110).print(table(moved, linked))
    if options.json:
        about = {
            "python": platform.python_version(),
            "wasmtime": version("wasmtime"),
            "machine": platform.machine(),
        }
        options.json.write_text(json.dumps({**about, "bridge": [*moved, linked]}, indent=2) + "\n")
    for line in (found := missed(moved, linked)):
        print(f"too slow: {line}", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
