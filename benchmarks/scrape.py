"""What a scrape of ``/metrics`` costs a host under full load, as a share of its throughput.

Run it with the interpreter of the development environment: ``python benchmarks/scrape.py [--json FILE]``.
One host serves twenty workloads, each with two labelled stores; all its time goes into answering. Slices in
which it is scraped fifty times a second stand between slices in which it is not: what it answers less is what
fifty scrapes cost. One a second has to cost less than a hundredth of the throughput; Prometheus scrapes, by
default, every minute.
"""

from __future__ import annotations

import argparse
import json
import select
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from http_hello import BODY, CONNECTIONS, processor_time, received
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from guests import path as guest_path

WORKLOADS = 20
SCRAPES = 50
"""Scrapes a second."""
MOST = 0.01
"""The share of the throughput that one scrape a second may cost."""
REQUEST = b"GET / HTTP/1.1\r\nHost: hello\r\nUser-Agent: scrape\r\nAccept: */*\r\n\r\n"
SCRAPE = b"GET /metrics HTTP/1.1\r\nHost: admin\r\nAccept: text/plain\r\n\r\n"
KEYVALUE = """
[workload.w{number}]
component = "{component}"
trigger.http = {{ host = "w{number}" }}
import.cache.backend = "memory"
import.store.backend = "memory"
"""


class Scraper:
    """A connection on which one scrape after the other is made."""

    def __init__(self, port: int) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port))
        self.due, self.waiting, self.count, self.size = time.perf_counter(), False, 0, 0
        self._answer = b""

    def ask(self, now: float) -> None:
        """Scrape, if it is time for it."""
        if not self.waiting and now >= self.due:
            self.due, self.waiting, self._answer = max(self.due + 1 / SCRAPES, now), True, b""
            self.sock.sendall(SCRAPE)

    def read(self) -> None:
        """Take what has come."""
        self._answer += self.sock.recv(1 << 20)
        head, _, body = self._answer.partition(b"\r\n\r\n")
        length = next(
            int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")
        )
        if len(body) == length:
            assert b"wasmplex_request_seconds_bucket" in body
            self.waiting, self.count, self.size = False, self.count + 1, length


def load(port: int, seconds: float, scraper: Scraper | None) -> float:
    """Keep `CONNECTIONS` requests under way for a while; return how many were answered in a second."""
    poll = select.epoll()
    socks = {}
    for _ in range(CONNECTIONS):
        sock = socket.create_connection(("127.0.0.1", port))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        socks[sock.fileno()] = sock
        poll.register(sock, select.EPOLLIN)
        sock.sendall(REQUEST)
    if scraper is not None:
        poll.register(scraper.sock, select.EPOLLIN)
    answered, begun = 0, time.perf_counter()
    while (now := time.perf_counter()) < begun + seconds or (scraper is not None and scraper.waiting):
        if scraper is not None and now < begun + seconds:
            scraper.ask(now)
        for descriptor, _ in poll.poll(0.02):
            if descriptor not in socks:
                assert scraper is not None
                scraper.read()
                continue
            if BODY not in received(socks[descriptor]):
                raise SystemExit("an answer is wrong")
            answered += 1
            socks[descriptor].sendall(REQUEST)
    took = time.perf_counter() - begun
    for sock in socks.values():
        sock.close()
    poll.close()
    return answered / took


@contextmanager
def running(folder: Path) -> Iterator[tuple[subprocess.Popen[bytes], int, int]]:
    """Run the host; yields the process, the port that it serves, and that of its figures."""
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        port, admin = one.getsockname()[1], other.getsockname()[1]
    text = f'[http]\nlisten = "127.0.0.1:{port}"\n[admin]\nlisten = "127.0.0.1:{admin}"\n'
    text += f'[workload.hello]\ncomponent = "{guest_path("hello")}"\ntrigger.http = {{ host = "hello" }}\n'
    for number in range(WORKLOADS - 1):
        text += KEYVALUE.format(number=number, component=guest_path("kvhttp"))
    (folder / "host.toml").write_text(text)
    program = Path(sys.executable).with_name("wasmplex")
    with subprocess.Popen(
        [program, "run", folder / "host.toml", "--log-level", "warning"], stderr=subprocess.DEVNULL
    ) as process:
        try:
            wait_for(admin)
            for number in range(WORKLOADS - 1):
                request = urllib.request.Request(f"http://127.0.0.1:{port}/k", headers={"host": f"w{number}"})
                urllib.request.urlopen(request, timeout=60).close()
            yield process, port, admin
        finally:
            process.terminate()


def wait_for(admin: int) -> None:
    """Wait until the host serves."""
    until = time.monotonic() + 120
    while time.monotonic() < until:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{admin}/readyz", timeout=5).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise SystemExit("the host does not start")


def benchmark(rounds: int, seconds: float) -> dict[str, float]:
    """Return what one scrape a second costs, by throughput and by processor time."""
    shares, costs, size, rates = [], [], 0, []
    with tempfile.TemporaryDirectory() as folder, running(Path(folder)) as (process, port, admin):
        load(port, seconds, None)  # fill pools
        for _ in range(rounds):
            rate, cost = plain(process, port, seconds)
            scraper, used = Scraper(admin), processor_time(process)
            scraped = load(port, seconds, scraper)
            used = processor_time(process) - used
            after, cost_after = plain(process, port, seconds)
            rates.append(after)
            shares.append((1 - 2 * scraped / (rate + after)) / scraper.count * seconds)
            costs.append((used - scraped * seconds * (cost + cost_after) / 2) / scraper.count)
            size = scraper.size
            scraper.sock.close()
    return {
        "throughput": statistics.median(shares),
        "processor": statistics.median(costs),
        "bytes": size,
        "rate": statistics.median(rates),
    }


def plain(process: subprocess.Popen[bytes], port: int, seconds: float) -> tuple[float, float]:
    """Measure a slice without scrapes: the rate, and the processor time of one request."""
    used = processor_time(process)
    rate = load(port, seconds, None)
    return rate, (processor_time(process) - used) / (rate * seconds)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path, help="also write the results to this file")
    parser.add_argument("--rounds", type=int, default=7, help="slices with scrapes")
    parser.add_argument("--seconds", type=float, default=2.0, help="length of a slice")
    options = parser.parse_args()
    found = benchmark(options.rounds, options.seconds)
    shown = Table(title=f"One scrape a second under full load, {WORKLOADS} workloads")
    for column in (
        "requests/s without",
        "bytes of a scrape",
        "costs, of throughput",
        "processor time",
        "at most",
    ):
        shown.add_column(column, justify="right")
    shown.add_row(
        f"{found['rate']:.0f}", f"{found['bytes']}", f"{found['throughput']:.2%}",
        f"{found['processor'] * 1000:.2f} ms", f"{MOST:.0%}",
    )  # fmt: skip
    Console(width=110).print(shown)
    if options.json:
        options.json.write_text(json.dumps({"scrape": found}, indent=2) + "\n")
    if found["throughput"] >= MOST:
        print(f"too slow: a scrape costs {found['throughput']:.2%} of throughput", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
