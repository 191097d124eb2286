"""HTTP beside handlers of messages that compute, in one host: how long its answers take, and before.

Run it with the interpreter of the development environment: ``python benchmarks/http_beside_messages.py
[--json FILE]``. A handler computes some milliseconds for each message, and more messages wait than it can
handle. The ratio given is of the 99th percentiles. It says something only on a machine that does nothing
else: a host that computes all the time is held up by every other process.
"""

from __future__ import annotations

import argparse
import json
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import quantiles
from urllib.request import urlopen

GUESTS = Path(__file__).parents[1] / "tests" / "guests" / "built"
CONFIG = f"""
[http]
listen = "127.0.0.1:0"
[workload.web]
component = "{GUESTS}/hello.wasm"
trigger.http = {{ path = "/" }}
[workload.sender]
component = "{GUESTS}/handler-old.wasm"
default."wasi:keyvalue" = {{ backend = "memory" }}
import.orders = {{ backend = "memory", namespace = "orders" }}
import.audit = {{ backend = "memory" }}
trigger.http = {{ path = "/publish" }}
[workload.shop]
component = "{GUESTS}/handler.wasm"
default."wasmcloud:keyvalue" = {{ backend = "memory" }}
import.audit = {{ backend = "memory" }}
[[workload.shop.trigger.messaging]]
backend = "memory"
namespace = "orders"
subjects = ["orders.>"]
"""
WORK = {"3 ms": ("work6-", 1500), "10 ms": ("work20-", 500)}
"""What messages tell the handler, and how many are more than it handles while answers are measured."""
SECONDS = 3.0
EVERY = 0.004
MOST = 3.0
"""How many times as long as before 99 of 100 answers may take."""


def main() -> int:
    """Measure, and fail if a ratio is more than it may be."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    options = parser.parse_args()
    rows = {call: row(*work) for call, work in WORK.items()}
    for call, found in rows.items():
        print(f"{call}: {found['quiet_ms']:.2f} ms, {found['busy_ms']:.2f} ms beside: {found['ratio']:.1f}")
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1))
    return int(any(found["ratio"] > MOST for found in rows.values()))


def row(work: str, count: int) -> dict[str, float]:
    """Measure the answers of a host before and while its handlers compute."""
    with hosting() as port:
        answers(port, 0.5)
        quiet = answers(port, SECONDS)
        with urlopen(f"http://127.0.0.1:{port}/publish/orders.new/{work}?n={count}", timeout=60) as answer:
            assert answer.read() == b"ok\n"
        answers(port, 0.5)  # the first handlers are made, which takes a moment
        busy = answers(port, SECONDS)
    return {"quiet_ms": 1000 * quiet, "busy_ms": 1000 * busy, "ratio": busy / quiet}


@contextmanager
def hosting() -> Iterator[int]:
    """Run a host; its port."""
    with tempfile.TemporaryDirectory() as folder, (Path(folder) / "log").open("w+") as log:
        config = Path(folder) / "host.toml"
        config.write_text(CONFIG)
        command = [str(Path(sys.executable).with_name("wasmplex")), "run", str(config)]
        with subprocess.Popen(command, stderr=log) as process:
            try:
                while not (found := re.search(r"http://127\.0\.0\.1:(\d+)", Path(log.name).read_text())):
                    if process.poll() is not None:
                        raise SystemExit(Path(log.name).read_text())
                    time.sleep(0.05)
                yield int(found[1])
            finally:
                process.kill()


def answers(port: int, seconds: float) -> float:
    """Return how long 99 of 100 answers take at most."""
    took = []
    until = time.perf_counter() + seconds
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        while (begun := time.perf_counter()) < until:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            answer = b""
            while b"hello, world\n" not in answer:
                answer += connection.recv(65536)
            took.append(time.perf_counter() - begun)
            time.sleep(EVERY)
    return quantiles(took, n=100)[-1]


if __name__ == "__main__":
    sys.exit(main())
