"""``[admin] listen``: livez, readyz and metrics, of real processes."""

from __future__ import annotations

import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from prometheus_client.parser import text_string_to_metric_families
from wasmplex.config import load

PROGRAM = (sys.executable, "-c", "from wasmplex.cli import main; main()")
HOST = """\
[http]
listen = "127.0.0.1:0"
[admin]
listen = "127.0.0.1:0"
[workload.kv]
component = "kvhttp.wasm"
trigger.http = {}
[workload.kv.import.cache]
backend = "memory"
per_worker = true
[workload.kv.import.store]
backend = "sqlite"
path = "store.db"
[workload.bad]
component = "lab.wasm"
trigger.http = { host = "bad" }
"""


class Serving:
    """A host, what it has said, and where it answers."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.said: list[str] = []
        self.admin = self.wait_for(r"metrics: (http://\S+)")

    def wait_for(self, pattern: str) -> str:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.said.append(line)
            if found := re.search(pattern, line):
                return found[1] if found.groups() else line
        raise AssertionError("".join(self.said))

    def figures(self) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
        status, headers, text = ask(self.admin, "/metrics")
        assert (status, headers["content-type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
        return {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }


def ask(
    url: str, path: str, method: str = "GET", headers: Mapping[str, str] | None = None
) -> tuple[int, http.client.HTTPMessage, str]:
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=20)
    connection.request(method, path, headers=headers or {})
    with connection.getresponse() as response:
        text = response.read().decode()
    connection.close()
    return response.status, response.headers, text


def one(figures: Mapping[tuple[str, frozenset[tuple[str, str]]], float], name: str, **labels: str) -> float:
    """Return the sum of the samples that have these labels."""
    return sum(
        value for (found, has), value in figures.items() if found == name and has >= set(labels.items())
    )


@contextmanager
def serving(*args: str) -> Iterator[Serving]:
    with subprocess.Popen([*PROGRAM, "run", *args], stderr=subprocess.PIPE, text=True) as process:
        try:
            yield Serving(process)
        finally:
            process.kill()


@pytest.fixture(autouse=True)
def configured(home: Path) -> None:
    guests = (home / "kv.wasm").resolve().parent
    for name in ("kvhttp", "lab"):
        (home / f"{name}.wasm").symlink_to(guests / f"{name}.wasm")
    (home / "host.toml").write_text(HOST)


def test_figures_of_one_process() -> None:
    with serving() as host:
        assert ask(host.admin, "/livez")[::2] == (200, "ok\n")
        url = host.wait_for(r" serves .*?(http://\S+)")
        assert ask(host.admin, "/readyz")[::2] == (200, "ok\n")
        before = host.figures()
        assert one(before, "wasmplex_requests_total") == 0
        for _ in range(3):
            assert ask(url, "/")[0] == 200
        assert ask(url, "/trap", headers={"host": "bad"})[0] == 502
        after = host.figures()
        assert one(after, "wasmplex_requests_total", workload="kv", trigger="http", status="200") == 3
        assert one(after, "wasmplex_requests_total", workload="bad", status="502") == 1
        assert one(after, "wasmplex_request_seconds_count", workload="kv") == 3
        assert one(after, "wasmplex_request_seconds_bucket", workload="kv", le="+Inf") == 3
        assert 0 < one(after, "wasmplex_request_seconds_sum", workload="kv") < 60
        assert one(after, "wasmplex_host_calls_total", workload="kv", label="cache") >= 3
        assert one(after, "wasmplex_host_calls_total", workload="kv", label="store", function="open") >= 3
        assert one(after, "wasmplex_host_call_errors_total") == 0
        assert one(after, "wasmplex_failures_total", workload="bad", cause="trap") == 1
        assert one(after, "wasmplex_instances_live", workload="kv") == 1
        assert one(after, "wasmplex_backends_open", backend="sqlite") == 1
        assert one(after, "wasmplex_backends_down") == 0
        assert one(after, "process_resident_memory_bytes") > 2**20
        assert one(after, "wasmplex_build_info") == 1


def test_deadlines_are_counted(home: Path) -> None:
    text = HOST.replace('component = "lab.wasm"', 'component = "lab.wasm"\nlimits = { timeout = "300ms" }')
    (home / "host.toml").write_text(text)
    with serving() as host:
        url = host.wait_for(r" serves .*?(http://\S+)")
        assert ask(url, "/loop", headers={"host": "bad"})[0] == 504
        assert one(host.figures(), "wasmplex_failures_total", workload="bad", cause="deadline") == 1


def test_other_paths_and_methods() -> None:
    with serving() as host:
        assert ask(host.admin, "/")[0] == 404
        status, headers, _ = ask(host.admin, "/metrics", "POST")
        assert (status, headers["allow"]) == (405, "GET, HEAD")
        status, headers, text = ask(host.admin, "/livez", "HEAD")
        assert (status, headers["content-length"], text) == (200, "3", "")


def test_not_ready_while_it_drains() -> None:
    with serving() as host:
        place = urlsplit(host.wait_for(r" serves .*?(http://\S+)"))
        with socket.create_connection((str(place.hostname), place.port or 0), timeout=20) as begun:
            begun.sendall(
                b"POST /echo HTTP/1.1\r\nhost: bad\r\ncontent-length: 4\r\nexpect: 100-continue\r\n\r\n"
            )
            assert begun.recv(1000).startswith(b"HTTP/1.1 100 ")
            host.process.terminate()
            host.wait_for("stopping")
            assert ask(host.admin, "/livez")[0] == 200
            assert ask(host.admin, "/readyz")[::2] == (503, "not serving\n")
            begun.sendall(b"done")
            rest = b"".join(iter(lambda: begun.recv(1000), b""))
            assert b"done" in rest, "and then the connection is closed"
        assert host.process.wait(20) == 0


def test_workers_are_told_apart() -> None:
    with serving("--workers", "2") as host:
        url = host.wait_for(r" serves .*?(http://\S+)")
        assert ask(host.admin, "/readyz")[0] == 200
        for _ in range(4):
            assert ask(url, "/")[0] == 200
        figures = host.figures()
        assert one(figures, "wasmplex_requests_total", workload="kv", status="200") == 4
        for worker in ("1", "2", "parent"):
            assert one(figures, "process_resident_memory_bytes", worker=worker) > 2**20
        process = int(re.findall(r"worker 2 is process (\d+)", "".join(host.said))[-1])
        os.kill(process, signal.SIGSTOP)  # one that tells nothing: the others' figures come all the same
        try:
            assert one(host.figures(), "process_resident_memory_bytes", worker="1") > 2**20
        finally:
            os.kill(process, signal.SIGCONT)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_reload_counts_on_and_may_move_it(home: Path, workers: str) -> None:
    with serving("--workers", workers) as host:
        url = host.wait_for(r" serves .*?(http://\S+)")
        assert ask(url, "/")[0] == 200
        host.process.send_signal(signal.SIGHUP)
        host.wait_for("reloaded")
        assert ask(host.admin, "/readyz")[0] == 200, "the same address: it has stayed"
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        before = host.admin
        (home / "host.toml").write_text(
            HOST.replace('[admin]\nlisten = "127.0.0.1:0"', f'[admin]\nlisten = "127.0.0.1:{port}"')
        )
        host.process.send_signal(signal.SIGHUP)
        host.wait_for("reloaded")
        host.admin = host.wait_for(r"metrics: (http://\S+)")
        assert host.admin == f"http://127.0.0.1:{port}"
        assert ask(url, "/")[0] == 200
        if workers == "1":
            assert one(host.figures(), "wasmplex_requests_total", workload="kv") == 2
        deadline = time.monotonic() + 20
        while True:
            try:
                ask(before, "/livez")
            except ConnectionError:
                break
            assert time.monotonic() < deadline


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ('listen = "9090"', "not an address"),
        ("lisen = ':0'", "did you mean 'listen'?"),
        ('listen = "192.0.2.1:9090"', '[admin] listen = "127.0.0.1:9090"'),
    ],
)
def test_what_it_cannot_listen_on(home: Path, process: Any, table: str, said: str) -> None:
    (home / "host.toml").write_text(HOST.replace('[admin]\nlisten = "127.0.0.1:0"', f"[admin]\n{table}"))
    ended = process("run")
    assert ended.code == 2
    assert said in ended.err
    assert "Traceback" not in ended.err


def test_nothing_is_counted_without_it(home: Path, process: Any) -> None:
    (home / "host.toml").write_text(HOST.replace('[admin]\nlisten = "127.0.0.1:0"\n', ""))
    program = "import sys, wasmplex.cli; sys.argv[1:] = ['check']; wasmplex.cli.main()"
    ended = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", program], capture_output=True, text=True, timeout=60
    )
    assert ended.returncode == 0
    assert "prometheus_client" not in ended.stderr
    assert load(home).admin is None
