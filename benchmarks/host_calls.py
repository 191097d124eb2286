"""Host calls through our linker against `LinkerInstance.add_func` of wasmtime-py, in one run.

They are linked directly, and through the bridge by either transport; what serves them is a function, a
coroutine that ends at once, or one that suspends. Beside them is a callback that does the least it can.

Run it with the interpreter of the development environment: ``python benchmarks/host_calls.py [--json FILE]``.
All arms of a row are measured in turn, in short slices, many times. The ratio given is the median of the
ratios of neighbouring slices: absolute times say more about the machine, and what else it does, than about
the code.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import platform
import re
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import wasmtime
from rich.console import Console
from rich.table import Table
from wasmplex.bridge import BridgedInstance, bridge
from wasmplex.component import read
from wasmplex.engine import Engine, EngineSettings, Instance, capi
from wasmplex.engine.memory import U64
from wasmplex.engine.text import assemble
from wasmtime.component import Component, Linker, ResourceHost, ResourceType

GUEST = Path(__file__).parents[1] / "core" / "tests" / "engine" / "guests" / "kv.wat"
KIND = 7  # the resource type's number, for the baseline
BASELINE, BARE = "wasmtime-py", "bare callback"
WAYS = ("direct", "strings", "memory")
MINIMUM = {
    WAYS: {"no argument": 8.0, "get 16 B": 20.0, "get 1 KiB": 40.0},
    ("strings",): {"set 64 KiB": 250.0, "set 1 MiB": 250.0},
    ("memory",): {"set 16 B": 60.0, "set 1 KiB": 300.0, "set 64 KiB": 1000.0, "set 1 MiB": 1500.0},
}
"""How many times faster than the baseline the best of some ways to link must be."""
MOST_OF_SET = 3.0
"""How many times as long as a set a get may take that brings the guest as many bytes."""
SIDE_BY_SIDE = ("no argument", "set 0 B", "set 16 B", "set 1 KiB", "set 64 KiB", "set 1 MiB")

Run = Callable[[int], Awaitable[object]]
"""Makes a number of calls."""


@dataclass
class Value:
    """What ``get`` returns now."""

    data: bytes | None = b""


class Bucket:
    """What the guest holds a handle of."""


@dataclass(frozen=True)
class Row:
    name: str
    export: str
    args: tuple[int, ...]
    size: int
    calls: int
    """Calls in a slice of our arms; the baseline makes a tenth."""


ROWS = (
    Row("no argument", "run-noop", (), 0, 2000),
    Row("add(u32, u32)", "run-add", (), 0, 1500),
    Row("string, 16 B", "run-strlen", (16,), 0, 1500),
    Row("get none", "run-get", (16,), -1, 400),
    Row("get 16 B", "run-get", (16,), 16, 400),
    Row("get 1 KiB", "run-get", (16,), 1024, 60),
    Row("get 64 KiB", "run-get", (16,), 65536, 20),
    Row("set 0 B", "run-set", (0,), 0, 400),
    Row("set 16 B", "run-set", (16,), 0, 400),
    Row("set 1 KiB", "run-set", (1024,), 0, 60),
    Row("set 64 KiB", "run-set", (65536,), 0, 20),
    Row("set 1 MiB", "run-set", (1 << 20,), 0, 2),
)


# ---------------------------------------------------------------- arms


def baseline(wasm: bytes, value: Value) -> Callable[[str, tuple[int, ...]], Run]:
    """Link with wasmtime-py's own functions."""
    engine = wasmtime.Engine()
    linker = Linker(engine)

    def get(store: Any, self: Any, key: str) -> bytes | None:
        self.to_host(store).rep  # noqa: B018  a borrowed handle must be taken
        return value.data

    def put(store: Any, self: Any, key: str, data: bytes) -> None:
        self.to_host(store).rep  # noqa: B018

    with linker.root() as root, root.add_instance("test:kv/store") as instance:
        instance.add_resource("bucket", ResourceType.host(KIND), lambda store, rep: None)
        instance.add_func("noop", lambda store: None)
        instance.add_func("add", lambda store, a, b: (a + b) & 0xFFFFFFFF)
        instance.add_func("strlen", lambda store, text: len(text))
        instance.add_func("open", lambda store, name: ResourceHost.own(1, KIND))
        instance.add_func("[method]bucket.get", get)
        instance.add_func("[method]bucket.set", put)
    store = wasmtime.Store(engine)
    guest = linker.instantiate(store, Component(engine, wasm))
    exported(guest, store, "init")(store)

    def arm(export: str, args: tuple[int, ...]) -> Run:
        function = exported(guest, store, export)

        async def run(calls: int) -> object:
            return function(store, calls, *args)

        return run

    return arm


def exported(guest: Any, store: Any, name: str) -> Any:
    function = guest.get_func(store, name)
    assert function is not None, name
    return function


async def bare(engine: Engine, wasm: bytes) -> Callable[[str, tuple[int, ...]], Run]:
    """Link callbacks that do the least that wasmtime accepts: give a handle back, and say ok."""

    def nothing(data: int, ctx: int) -> int:
        return 0

    def ok(data: int, ctx: int, ty: int, args: int, nargs: int, res: int) -> int:
        out, at = (args >> 3) + 2, res >> 3
        any_to_host(ctx, U64[out - 1], out << 3)
        host_delete(U64[out])
        U64[at + 1], U64[at + 2], U64[at] = 1, 0, result
        return 0

    any_to_host, host_delete, result = capi.any_to_host, capi.host_delete, capi.KINDS["result"]
    compiled = await engine.compile(wasm, read(wasm))
    generated, bodies = compiled.codec.sync_import, {"noop": nothing, "[method]bucket.set": ok}

    def body(name: str, *rest: Any) -> Any:
        return bodies.get(name.rpartition("#")[2]) or generated(name, *rest)

    compiled.codec.sync_import = body  # type: ignore[method-assign, assignment]  # a measurement of its own
    try:
        instance = await engine.link(compiled, functions(Value(), plain), "benchmark").instantiate()
    finally:
        del compiled.codec.sync_import
    return await arm_of(instance)


async def ours(
    engine: Engine, wasm: bytes, value: Value, way: str, serving: Callable[..., Any]
) -> Callable[[str, tuple[int, ...]], Run]:
    """Link with our engine.

    :param serving: makes of a function what serves an import
    """
    imports = functions(value, serving)
    if way == "direct":
        return await arm_of(await directly(engine, wasm, imports))
    return await arm_of(await through_bridge(engine, wasm, imports, way))


def functions(value: Value, serving: Callable[..., Any]) -> dict[str, dict[str, Any]]:
    """Return what serves the guest's import."""
    bucket = Bucket()
    served: dict[str, Callable[..., Any]] = {
        "noop": lambda: None,
        "add": lambda a, b: (a + b) & 0xFFFFFFFF,
        "strlen": len,
        "[method]bucket.get": lambda self, key: value.data,
        "[method]bucket.set": lambda self, key, data: None,
    }
    wrapped = {name: serving(function) for name, function in served.items()}
    return {"test:kv/store": {**wrapped, "open": lambda name: bucket}}


async def arm_of(instance: Instance | BridgedInstance) -> Callable[[str, tuple[int, ...]], Run]:
    await instance.call("init")

    def arm(export: str, args: tuple[int, ...]) -> Run:
        async def run(calls: int) -> object:
            return await instance.call(export, calls, *args)

        return run

    return arm


async def directly(engine: Engine, wasm: bytes, imports: Mapping[str, Any]) -> Instance:
    return await engine.link(await engine.compile(wasm, read(wasm)), imports, "benchmark").instantiate()


async def through_bridge(
    engine: Engine, wasm: bytes, imports: Mapping[str, Any], transport: Any
) -> BridgedInstance:
    """Link as a workload is linked whose imports move bytes."""
    bridged = bridge(wasm, read(wasm), imports, assemble, transport=transport)
    assert bridged is not None
    compiled = await engine.compile(bridged.wasm, read(bridged.wasm))
    linked = engine.link(compiled, bridged.link(imports), "benchmark")
    instance = BridgedInstance(await linked.instantiate(), bridged)
    if bridged.start is not None:
        await instance.call(bridged.start)
    return instance


def immediate(function: Callable[..., Any]) -> Callable[..., Any]:
    async def answer(*args: Any) -> Any:
        return function(*args)

    return answer


def suspended(function: Callable[..., Any]) -> Callable[..., Any]:
    async def answer(*args: Any) -> Any:
        await asyncio.sleep(0)
        return function(*args)

    return answer


def plain(function: Callable[..., Any]) -> Callable[..., Any]:
    return function


SERVING = {"": plain, ", async": immediate, ", suspended": suspended}


# ---------------------------------------------------------------- measuring


async def measure(row: Row, arms: dict[str, Run], rounds: int) -> dict[str, list[float]]:
    """Return the times of a call for each arm, round by round, in microseconds."""
    times: dict[str, list[float]] = {name: [] for name in arms}
    for turn in range(rounds + 1):
        for name, run in arms.items():
            calls = max(row.calls // 10, 1) if name == BASELINE else row.calls
            start = time.perf_counter()
            await run(calls)
            spent = time.perf_counter() - start
            if turn:  # the first round warms up
                times[name].append(spent / calls * 1e6)
    return times


def ratio(baseline_times: list[float], times: list[float]) -> float:
    """Return how many times faster an arm is than the baseline."""
    return statistics.median(slow / fast for slow, fast in zip(baseline_times, times, strict=True))


def guest() -> bytes:
    """Return the guest without the exports that move bytes: they would take a bridge of their own."""
    text = re.sub(r'\(func \(export "\w+-bytes"\).*\n.*\)\)\n', "", GUEST.read_text())
    assert '-bytes"' not in text
    return bytes(wasmtime.wat2wasm(text))


async def benchmark(rounds: int) -> list[dict[str, Any]]:
    wasm, value = guest(), Value()
    async with Engine(EngineSettings(use_cache=False)) as engine:
        makers = {BASELINE: baseline(wasm, value), BARE: await bare(engine, wasm)}
        for way in WAYS:
            for how, serving in SERVING.items():
                makers[way + how] = await ours(engine, wasm, value, way, serving)
        results = []
        for row in ROWS:
            value.data = None if row.size < 0 else b"v" * row.size
            wanted = makers if row.name in SIDE_BY_SIDE else [BASELINE, *WAYS]
            arms = {name: makers[name](row.export, row.args) for name in wanted}
            times = await measure(row, arms, rounds)
            ratios = {name: ratio(times[BASELINE], spent) for name, spent in times.items()}
            medians = {name: statistics.median(spent) for name, spent in times.items()}
            results.append({"name": row.name, "microseconds": medians, "ratios": ratios})
        return results


# ---------------------------------------------------------------- reporting


def table(results: list[dict[str, Any]]) -> Table:
    shown = Table(title="host calls: microseconds, and times faster than wasmtime-py")
    for column in ("call", BASELINE, *WAYS):
        shown.add_column(column, justify="left" if column == "call" else "right")
    for result in results:
        cells = [f"{result['microseconds'][n]:.2f} {result['ratios'][n]:>7.1f}x" for n in WAYS]
        shown.add_row(result["name"], f"{result['microseconds'][BASELINE]:.2f}", *cells)
    return shown


def side_by_side(results: list[dict[str, Any]]) -> Table:
    chosen = [result for result in results if result["name"] in SIDE_BY_SIDE]
    shown = Table("", *SIDE_BY_SIDE, title="the same by what serves the call, microseconds")
    for name in chosen[0]["microseconds"]:
        shown.add_row(name, *(f"{result['microseconds'][name]:.2f}" for result in chosen))
    return shown


def missed(results: list[dict[str, Any]]) -> list[str]:
    """Return the rows that are slower than they must be."""
    by_name = {result["name"]: result for result in results}
    found = []
    for ways, rows in MINIMUM.items():
        for name, least in rows.items():
            best = max(by_name[name]["ratios"][way] for way in ways)
            if best < least:
                found.append(f"{name}, {' or '.join(ways)}: {best:.1f}x, must be {least:.0f}x")
    if (spent := by_name["set 64 KiB"]["microseconds"]["memory"]) > 100:
        found.append(f"set 64 KiB, memory: {spent:.0f} us, must be 100 us")
    if (got := by_name["get 64 KiB"]["microseconds"]["memory"]) > MOST_OF_SET * spent:
        found.append(f"get 64 KiB, memory: {got / spent:.1f} times set 64 KiB, must be {MOST_OF_SET:.0f}")
    return found


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path, help="also write the results to this file")
    parser.add_argument("--rounds", type=int, default=25, help="slices of each arm")
    options = parser.parse_args()
    results = asyncio.run(benchmark(options.rounds))
    Console(width=110).print(table(results), side_by_side(results))
    if options.json:
        about = {
            "python": platform.python_version(),
            "wasmtime": version("wasmtime"),
            "machine": platform.machine(),
        }
        options.json.write_text(json.dumps({**about, "host_calls": results}, indent=2) + "\n")
    for line in missed(results):
        print(f"too slow: {line}", file=sys.stderr)
    return 1 if missed(results) else 0


if __name__ == "__main__":
    sys.exit(main())
