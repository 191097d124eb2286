"""What the policy and the memory backend add to a host call, as times of a call that a dictionary serves.

Run it with the interpreter of the development environment: ``python benchmarks/keyvalue_memory.py``.
A guest in C sets, and gets, 16 bytes again and again; its bytes cross by memory. The arms differ in what
serves its imports. All of them are measured in turn, in short slices, many times, and the figure given is the
median of the ratios of neighbouring slices.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import platform
import statistics
import sys
import time
from contextlib import AsyncExitStack
from importlib.metadata import version
from pathlib import Path
from typing import Any

import uvloop
from host_calls import through_bridge
from host_plugin_memory import MemoryProvider, MemorySettings
from rich.console import Console
from rich.table import Table
from wasmplex.component.shape import InstanceType
from wasmplex.engine import Engine, EngineSettings
from wasmplex.interfaces.keyvalue.policy import KeyValueSettings
from wasmplex.interfaces.keyvalue.wasi import WasiKeyValue
from wasmplex.plugins.backends import OpenContext
from wasmplex.plugins.contracts import HostFunctions, ImportRequest, WorkloadContext

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from guests import component

LABELS = ("fast", "shared", "durable")
BASELINE = "a dictionary"
MOST = {"memory": 1.6, "memory, lru": 1.9}
"""How many times the baseline a pair of set and get may take."""
CALLS = 1000
"""In a slice."""


def dictionary() -> HostFunctions:
    """Return functions that keep values in a dictionary, and check nothing."""
    kept: dict[str, bytes] = {}
    bucket = object()

    def put(self: object, key: str, value: bytes) -> None:
        kept[key] = value

    return {
        "open": lambda name: bucket,
        "[method]bucket.get": lambda self, key: kept.get(key),
        "[method]bucket.set": put,
    }


async def memory(stack: AsyncExitStack, *, never_waits: bool = True, **settings: Any) -> HostFunctions:
    """Return what serves an import that is bound to the memory backend."""
    backend = await MemoryProvider().open(MemorySettings(**settings), OpenContext(Path()))
    stack.push_async_callback(backend.close)
    backend.never_waits = never_waits
    bound = await stack.enter_async_context(WasiKeyValue().bind(WorkloadContext("w")))
    name = "wasi:keyvalue/store@0.2.0-draft"
    return bound.serve(ImportRequest(name, "fast", InstanceType(), backend, KeyValueSettings(), "w/fast"))


async def benchmark(rounds: int) -> dict[str, dict[str, list[float]]]:
    """Return the microseconds of a call, by operation and arm, round by round."""
    wasm = component("kvthree")
    times: dict[str, dict[str, list[float]]] = {"set": {}, "get": {}}
    async with AsyncExitStack() as stack:
        engine = await stack.enter_async_context(Engine(EngineSettings(use_cache=False)))
        arms = {
            BASELINE: dictionary(),
            "memory": await memory(stack),
            "memory, lru": await memory(stack, eviction="lru"),
            "memory, as if it could wait": await memory(stack, never_waits=False),
        }
        instances = {}
        for arm, functions in arms.items():
            instance = await through_bridge(engine, wasm, dict.fromkeys(LABELS, functions), "memory")
            await instance.call("run", "fast b set key-00 0123456789abcdef")
            instances[arm] = instance
        for turn in range(rounds + 1):
            for operation, by_arm in times.items():
                for arm, instance in instances.items():
                    command = f"fast b {operation}s key-00 {CALLS}"
                    start = time.perf_counter()
                    answer = await instance.call("run", command)
                    spent = time.perf_counter() - start
                    assert answer == "some 0123456789abcdef", answer
                    if turn:  # the first round warms up
                        by_arm.setdefault(arm, []).append(spent / CALLS * 1e6)
    return times


def summary(times: dict[str, dict[str, list[float]]]) -> list[dict[str, Any]]:
    """Return a row for each arm."""
    rows = []
    for arm in times["set"]:
        spent = [a + b for a, b in zip(times["set"][arm], times["get"][arm], strict=True)]
        base = [a + b for a, b in zip(times["set"][BASELINE], times["get"][BASELINE], strict=True)]
        rows.append(
            {
                "name": arm,
                "set": statistics.median(times["set"][arm]),
                "get": statistics.median(times["get"][arm]),
                "times_baseline": statistics.median(a / b for a, b in zip(spent, base, strict=True)),
                "most": MOST.get(arm, 0.0),
            }
        )
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path, help="also write the results to this file")
    parser.add_argument("--rounds", type=int, default=40, help="slices of each arm")
    options = parser.parse_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        rows = summary(runner.run(benchmark(options.rounds)))
    shown = Table("served by", "set µs", "get µs", "times baseline", "at most", title="key-value of 16 bytes")
    for row in rows:
        most = f"{row['most']:.1f}" if row["most"] else ""
        shown.add_row(
            row["name"], f"{row['set']:.2f}", f"{row['get']:.2f}", f"{row['times_baseline']:.2f}", most
        )
    Console(width=110).print(shown)
    if options.json:
        about = {"python": platform.python_version(), "machine": platform.machine()}
        about |= {name: version(name) for name in ("wasmtime", "cachetools")}
        options.json.write_text(json.dumps({**about, "keyvalue_memory": rows}, indent=2) + "\n")
    slow = [row for row in rows if row["most"] and row["times_baseline"] > row["most"]]
    for row in slow:
        text = f"{row['name']}: {row['times_baseline']:.2f} times the baseline, must be {row['most']:.1f}"
        print(f"too slow: {text}", file=sys.stderr)
    return 1 if slow else 0


if __name__ == "__main__":
    sys.exit(main())
