"""HTTP hello through the host, as a share of what uvicorn does without one, in one run.

Run it with the interpreter of the development environment: ``python benchmarks/http_hello.py [--json FILE]``.
Every server is a process of its own and all of them live throughout; they are measured in turn, in short
slices, many times. The share given is the median of the ratios of neighbouring slices: absolute figures say
more about the machine, and what else it does, than about the code. Where the system tells, the processor
time that a request costs the server is given as well: it is steadier than the rate.

The baseline is an ASGI application that answers at once, served by uvicorn on uvloop and httptools. Guests of
WASI 0.3 run in `wasmtime serve` as well, where there is a `wasmtime` (PATH, or WASMTIME).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import select
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from guests import path as guest_path
from guests import toolchain

CONNECTIONS = 16
BODY = b"hello, world\n"
REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\nUser-Agent: http_hello\r\nAccept: */*\r\n\r\n"
UVICORN = """
import sys, uvicorn
HEAD = {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"13")]}
async def app(scope, receive, send):
    await send(HEAD)
    await send({"type": "http.response.body", "body": b"hello, world\\n"})
uvicorn.run(app, port=int(sys.argv[1]), loop="uvloop", http="httptools", lifespan="off",
            access_log=False, log_level="warning")
"""
START_TIMEOUT = 300.0
"""Seconds; the first start compiles, and a guest in Python takes its time."""


@dataclass
class Arm:
    """One server and what was measured of it.

    :ivar least: the share of the baseline's rate that it must have
    :ivar beside: the share of the rate that it must have of what `wasmtime serve` makes of the guest
    """

    name: str
    guest: str = ""
    reuse: int | None = None
    least: float = 0.0
    beside: float = 0.0
    wasmtime: bool = False
    port: int = 0
    process: subprocess.Popen[bytes] | None = None
    rates: list[float] = field(default_factory=list)
    costs: list[float] = field(default_factory=list)
    shares: list[float] = field(default_factory=list)


def arms() -> list[Arm]:
    return [
        Arm("uvicorn, no guest"),
        Arm("smallest component", "hello", least=0.25),
        Arm("smallest component, fresh", "hello", reuse=1),
        Arm("componentize-qjs", "qjs-hello", least=0.10),
        Arm("componentize-qjs, fresh", "qjs-hello", reuse=1),
        Arm("componentize-py", "py-hello", least=0.08),
        Arm("componentize-py, fresh", "py-hello", reuse=1, least=0.02),
        Arm("0.3, smallest component", "hello3", least=0.25),
        Arm("0.3, componentize-qjs", "qjs-hello3", least=0.10, beside=0.8),
        Arm("0.3, componentize-py", "py-hello3", least=0.10, beside=0.8),
        *(Arm(f"wasmtime serve, {guest}", guest, wasmtime=True) for guest in ("qjs-hello3", "py-hello3")),
    ]


# ---------------------------------------------------------------- servers


def component(guest: str) -> Path | None:
    """Return the component, None if there is nothing here to compile it with."""
    if guest not in toolchain.GUESTS:
        return guest_path(guest)
    try:
        return toolchain.build(guest)
    except toolchain.ToolchainMissing as missing:
        print(f"left out: {guest} {missing}", file=sys.stderr)
        return None


def command(arm: Arm, folder: Path) -> list[str]:
    """Return what starts the arm's server; nothing if it cannot be started here."""
    if not arm.guest:
        return [sys.executable, "-c", UVICORN, str(arm.port)]
    wasm = component(arm.guest)
    if wasm is None:
        return []
    if arm.wasmtime:
        wasmtime = os.environ.get("WASMTIME") or shutil.which("wasmtime")
        serve = ["serve", "-Sp3,cli", "-Wcomponent-model-async", f"--addr=127.0.0.1:{arm.port}", str(wasm)]
        return [wasmtime, *serve] if wasmtime else []
    config = folder / f"{arm.guest}-{arm.reuse}.toml"
    instances = "" if arm.reuse is None else f"instances = {{ reuse = {arm.reuse} }}\n"
    config.write_text(
        f'[http]\nlisten = "127.0.0.1:{arm.port}"\n[workload.w]\ncomponent = "{wasm}"\n'
        f'{instances}trigger.http = {{ path = "/" }}\n'
    )
    return [str(Path(sys.executable).with_name("wasmplex")), "run", str(config), "--log-level", "warning"]


@contextmanager
def running(arm: Arm, folder: Path) -> Iterator[bool]:
    """Run the arm's server; False if it cannot be."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        arm.port = probe.getsockname()[1]
    start = command(arm, folder)
    if not start:
        yield False
        return
    with (folder / f"{arm.port}.log").open("wb") as errors:
        arm.process = subprocess.Popen(start, stdout=subprocess.DEVNULL, stderr=errors)
        try:
            wait_for(arm)
            yield True
        except BaseException:
            print((folder / f"{arm.port}.log").read_text()[-2000:], file=sys.stderr)
            raise
        finally:
            arm.process.terminate()
            arm.process.wait(60)


def wait_for(arm: Arm) -> None:
    """Wait until the server answers as it should."""
    assert arm.process is not None
    until = time.monotonic() + START_TIMEOUT
    while time.monotonic() < until and arm.process.poll() is None:
        try:
            with socket.create_connection(("127.0.0.1", arm.port), timeout=5) as sock:
                sock.sendall(REQUEST)
                answer = received(sock)
        except OSError:
            time.sleep(0.05)
            continue
        if answer.startswith(b"HTTP/1.1 200 ") and BODY in answer:
            return
        raise SystemExit(f"{arm.name} answers {answer[:200]!r}")
    raise SystemExit(f"{arm.name} does not start")


def received(sock: socket.socket) -> bytes:
    """Return the answer; it may come in two pieces."""
    answer = b""
    while not answer.endswith((BODY, b"0\r\n\r\n")) and (piece := sock.recv(65536)):
        answer += piece
    return answer


def processor_time(process: subprocess.Popen[bytes]) -> float:
    """Return the seconds of processor time that a process has used, 0 where the system does not tell."""
    try:
        stat = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(stat[11]) + int(stat[12])) / os.sysconf("SC_CLK_TCK")


# ---------------------------------------------------------------- load


def load(port: int, seconds: float) -> tuple[int, float]:
    """Keep `CONNECTIONS` requests under way for a while; return how many were answered in how long."""
    poll = select.epoll()
    socks = {}
    for _ in range(CONNECTIONS):
        sock = socket.create_connection(("127.0.0.1", port))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        socks[sock.fileno()] = sock
        poll.register(sock, select.EPOLLIN)
        sock.sendall(REQUEST)
    answered, begun = 0, time.perf_counter()
    until = begun + seconds
    while time.perf_counter() < until:
        for descriptor, _ in poll.poll(1):
            sock = socks[descriptor]
            answer = received(sock)
            if BODY not in answer:
                raise SystemExit(f"an answer on port {port} is {answer[:300]!r}")
            answered += 1
            sock.sendall(REQUEST)
    took = time.perf_counter() - begun
    for sock in socks.values():
        sock.close()
    poll.close()
    return answered, took


def measure(arm: Arm, seconds: float) -> float:
    """Measure one slice; return the rate."""
    assert arm.process is not None
    before = processor_time(arm.process)
    answered, took = load(arm.port, seconds)
    arm.rates.append(answered / took)
    arm.costs.append((processor_time(arm.process) - before) / answered)
    return arm.rates[-1]


def benchmark(rounds: int, seconds: float, only: str) -> list[Arm]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        base, *others = [
            arm
            for arm in arms()
            if only in arm.name or not arm.guest
            if stack.enter_context(running(arm, folder))
        ]
        for arm in (base, *others):
            load(arm.port, seconds)  # fill pools and caches
        for _ in range(rounds):
            for arm in others:
                before, rate, after = measure(base, seconds), measure(arm, seconds), measure(base, seconds)
                arm.shares.append(2 * rate / (before + after))
        return [base, *others]


# ---------------------------------------------------------------- reporting


def summary(arm: Arm, arms: list[Arm]) -> dict[str, Any]:
    base, cost = arms[0], sum(arm.costs) / len(arm.costs)
    others = [other for other in arms if other.wasmtime and other.guest == arm.guest and arm.beside]
    beside = [statistics.median(arm.rates) / statistics.median(other.rates) for other in others]
    return {
        "name": arm.name,
        "share": statistics.median(arm.shares) if arm.shares else 1.0,
        "least": arm.least,
        "beside_wasmtime": beside[0] if beside else None,
        "beside_least": arm.beside,
        "requests_per_second": statistics.median(arm.rates),
        "processor_microseconds": cost * 1e6,
        "processor_share": sum(base.costs) / len(base.costs) / cost if cost else 0.0,
    }


def table(results: list[dict[str, Any]]) -> Table:
    shown = Table(title=f"HTTP hello, {CONNECTIONS} connections, one process")
    for column in (
        "server",
        "share of uvicorn",
        "at least",
        "requests/s",
        "CPU µs/request",
        "share by CPU",
        "of wasmtime's",
    ):
        shown.add_column(column, justify="left" if column == "server" else "right")
    for r in results:
        shown.add_row(
            r["name"], f"{r['share']:.3f}", f"{r['least']:.2f}" if r["least"] else "",
            f"{r['requests_per_second']:.0f}", f"{r['processor_microseconds']:.0f}",
            f"{r['processor_share']:.3f}", f"{r['beside_wasmtime']:.2f}" if r["beside_wasmtime"] else "",
        )  # fmt: skip
    return shown


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path, help="also write the results to this file")
    parser.add_argument("--rounds", type=int, default=7, help="slices of each arm")
    parser.add_argument("--only", default="", help="arms whose names contain this, and the baseline")
    parser.add_argument("--seconds", type=float, default=1.0, help="length of a slice")
    options = parser.parse_args()
    measured = benchmark(options.rounds, options.seconds, options.only)
    results = [summary(arm, measured) for arm in measured]
    Console(width=110).print(table(results))
    if options.json:
        about = {"python": platform.python_version(), "machine": platform.machine()}
        about |= {name: version(name) for name in ("uvicorn", "uvloop", "httptools", "wasmtime")}
        options.json.write_text(json.dumps({**about, "http_hello": results}, indent=2) + "\n")
    slow = [r for r in results if r["share"] < r["least"]]
    for r in slow:
        print(f"too slow: {r['name']}: {r['share']:.3f}, must be {r['least']:.2f}", file=sys.stderr)
    behind = [r for r in results if r["beside_wasmtime"] and r["beside_wasmtime"] < r["beside_least"]]
    for r in behind:
        share = f"{r['beside_wasmtime']:.3f} of wasmtime serve's rate, must be {r['beside_least']:.2f}"
        print(f"too slow: {r['name']}: {share}", file=sys.stderr)
    return 1 if slow or behind else 0


if __name__ == "__main__":
    sys.exit(main())
