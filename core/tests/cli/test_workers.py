"""``run --workers``: several processes at one address, as real processes."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from wasmplex.cli.worker import STARTING, Handover, Worker
from wasmplex.cli.workers import Backoff

Cli = Callable[..., Any]

PROGRAM = (sys.executable, "-c", "from wasmplex.cli import main; main()")
HELLO = "[http]\nlisten = '127.0.0.1:0'\n[workload.hello]\ncomponent = 'hello.wasm'\ntrigger.http = {}\n"
KV = """\
[http]
listen = "127.0.0.1:0"
[workload.kv]
component = "kvhttp.wasm"
trigger.http = {}
[workload.kv.import.cache]
backend = "memory"
[workload.kv.import.store]
backend = "sqlite"
path = "store.db"
"""
BEAT = """
import logging, os
import anyio
from wasmplex.plugin import ExportAdapter, RunningTrigger, Trigger, hookimpl

class Beat(Trigger):
    name = "beat"
    def start(self, bindings, settings, sockets):
        return Beating()

class Beating(RunningTrigger):
    async def serve(self, *, task_status):
        logging.getLogger("wasmplex.beat").info("beating in process %d", os.getpid())
        task_status.started({})
        await anyio.sleep_forever()

class Adapter(ExportAdapter):
    trigger = "beat"
    interface = "wasi:http/incoming-handler@0.2.12"
    def adapt(self, export):
        async def handler(): pass
        return handler

@hookimpl
def wasmplex_triggers(): return [Beat()]
@hookimpl
def wasmplex_export_adapters(): return [Adapter()]
"""


class Crew:
    """A host with workers: its process, the processes of its workers, its URL, and all it has printed."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.said: list[str] = []
        self.url = self.wait_for(r" serves .*?(http://\S+)")

    def wait_for(self, pattern: str) -> str:
        """Read until a line matches; return its first group, or the line."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.said.append(line)
            if found := re.search(pattern, line):
                return found[1] if found.groups() else line
        raise AssertionError("".join(self.said))

    @property
    def workers(self) -> dict[int, int]:
        found = (re.search(r"worker (\d+) is process (\d+)", line) for line in self.said)
        return {int(match[1]): int(match[2]) for match in found if match}

    def get(self) -> bytes:
        with urllib.request.urlopen(self.url, timeout=20) as response:
            return bytes(response.read())

    def is_listening(self) -> bool:
        place = urlsplit(self.url)
        try:
            socket.create_connection((str(place.hostname), place.port or 0), timeout=20).close()
        except ConnectionRefusedError:
            return False
        return True

    def begin(self) -> socket.socket:
        """Begin a request to a guest that echoes its body; return when the guest waits for that."""
        place = urlsplit(self.url)
        sock = socket.create_connection((str(place.hostname), place.port or 0), timeout=20)
        sock.sendall(b"POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\nexpect: 100-continue\r\n\r\n")
        assert sock.recv(1000).startswith(b"HTTP/1.1 100 ")
        return sock

    def rest(self) -> str:
        """Return what is still printed; that ends when no process is left that could print."""
        assert self.process.stderr is not None
        return self.process.stderr.read()


@contextmanager
def crew(*args: str, count: int = 2, start_new_session: bool = False) -> Iterator[Crew]:
    command = [*PROGRAM, "run", "--workers", str(count), *args]
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, start_new_session=start_new_session
    ) as process:
        try:
            yield Crew(process)
        finally:
            process.kill()  # the workers see that, and end


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@pytest.fixture
def lab(home: Path) -> None:
    """A configuration whose guest echoes bodies."""
    (home / "lab.wasm").symlink_to((home / "kv.wasm").resolve().with_name("lab.wasm"))
    (home / "host.toml").write_text(HELLO.replace("hello.wasm", "lab.wasm"))


@pytest.fixture
def hello(home: Path) -> Path:
    (home / "host.toml").write_text(HELLO)
    return home


def test_every_worker_serves_the_one_address_and_drains(hello: Path) -> None:
    with crew() as host:
        assert " with 2 workers: " in host.said[-1]
        assert sum(" serves " in line for line in host.said) == 1
        assert len(host.workers) == 2
        for idle in host.workers.values():  # with one of them stopped, the other has to answer
            with stopped(idle):
                assert [host.get() for _ in range(3)] == [b"hello, world\n"] * 3
        host.process.send_signal(signal.SIGTERM)
        rest = host.rest()
        assert host.process.wait(timeout=40) == 0
    assert rest.count("stopping: ") == 1
    assert "Traceback" not in rest


@pytest.mark.usefixtures("lab")
def test_what_is_under_way_is_finished() -> None:
    with crew() as host, ExitStack() as stack:
        connections = [stack.enter_context(host.begin()) for _ in range(4)]
        host.process.send_signal(signal.SIGTERM)
        host.wait_for("stopping: ")
        while host.is_listening():  # nobody new is taken while the others are being served
            time.sleep(0.05)
        for connection in connections:
            connection.sendall(b"body")
            assert b"".join(iter(lambda: connection.recv(1000), b"")).endswith(b"body\r\n0\r\n\r\n")  # noqa: B023
        assert "ERROR" not in host.rest()
        assert host.process.wait(timeout=40) == 0


@pytest.mark.usefixtures("lab")
def test_signals_to_the_process_and_to_its_group_are_one() -> None:
    """As ``timeout`` sends them, and a terminal."""
    with crew(start_new_session=True) as host, ExitStack() as stack:
        connections = [stack.enter_context(host.begin()) for _ in range(4)]
        host.process.send_signal(signal.SIGTERM)
        os.killpg(host.process.pid, signal.SIGTERM)
        host.wait_for("stopping: ")
        time.sleep(0.3)
        for connection in connections:
            connection.sendall(b"body")
            assert b"".join(iter(lambda: connection.recv(1000), b"")).endswith(b"body\r\n0\r\n\r\n")  # noqa: B023
        assert "ERROR" not in host.rest()
        assert host.process.wait(timeout=40) == 0


@pytest.mark.usefixtures("lab")
def test_a_second_signal_kills_all() -> None:
    with crew() as host, ExitStack() as stack:
        connections = [stack.enter_context(host.begin()) for _ in range(4)]
        host.process.send_signal(signal.SIGINT)
        host.wait_for("stopping: ")
        time.sleep(1.2)  # one that comes at once is the first one again
        host.process.send_signal(signal.SIGINT)
        assert host.process.wait(timeout=20) == -signal.SIGINT
        assert connections
        host.rest()


def test_workers_end_with_the_process_that_started_them(hello: Path) -> None:
    with crew() as host:
        host.process.kill()
        assert host.rest().count("the process that started this worker is gone") == 2


def test_a_worker_that_ends_is_started_again(hello: Path) -> None:
    with crew() as host:
        first, second = host.workers[1], host.workers[2]
        os.kill(second, signal.SIGKILL)
        host.wait_for(rf"ERROR .*worker 2 \(process {second}\) was ended by SIGKILL; another one is started")
        assert host.get() == b"hello, world\n"
        host.wait_for(r"worker 2 \(process \d+\) serves")
        assert host.workers[2] != second
        os.kill(first, signal.SIGTERM)  # one that is told to, in good order
        host.wait_for(rf"worker 1 \(process {first}\) ended; another one is started")
        host.wait_for(r"worker 1 \(process \d+\) serves")
        with stopped(host.workers[2]):
            assert host.get() == b"hello, world\n"
        host.process.send_signal(signal.SIGTERM)
        assert host.process.wait(timeout=40) == 0


def test_what_cannot_be_shared_is_done_by_the_first_worker(hello: Path) -> None:
    (hello / "beat.py").write_text(BEAT)
    (hello / "host.toml").write_text('plugins = ["./beat.py"]\n' + HELLO + "trigger.beat = {}\n")
    with crew() as host:
        host.process.send_signal(signal.SIGTERM)
        text = "".join(host.said) + host.rest()
    assert re.findall(r"beating in process (\d+)", text) == [str(host.workers[1])]
    assert "INFO worker 1: wasmplex.beat: " in text


def test_a_change_starts_all_of_them_again(hello: Path) -> None:
    with crew("--watch") as host:
        before = host.workers
        (hello / "host.toml").write_text(HELLO + "[host]\nname = 'renamed'\n")
        host.url = host.wait_for(r"renamed serves hello with 2 workers: (\S+)")
        assert not {*before.values()} & {*host.workers.values()}
        assert host.get() == b"hello, world\n"
        host.process.send_signal(signal.SIGTERM)
        assert host.process.wait(timeout=40) == 0


# ------------------------------------------------------------ what does not start


def test_a_port_in_use_is_said_once(hello: Path, process: Cli) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        ended = process("run", "--workers", "3", "--listen", address)
    assert ended.code == 2
    assert ended.err.count("error:") == 1
    assert f"cannot listen on {address}\n  at: --listen\n" in ended.err
    assert "  try: stop what listens there, or --listen 127.0.0.1:0\n" in ended.err
    assert "is process" not in ended.err


def test_a_worker_that_cannot_start_is_the_end_and_says_why_once(home: Path, process: Cli) -> None:
    (home / "kvhttp.wasm").symlink_to((home / "kv.wasm").resolve().with_name("kvhttp.wasm"))
    text = KV.replace('"memory"', '"sqlite"\npath = "nowhere/cache.db"')
    (home / "host.toml").write_text(text)
    ended = process("run", "--workers", "3")
    assert ended.code == 1
    assert ended.err.count("error:") == 1
    assert ended.err.count("is process") == 1
    assert "nowhere" in ended.err


def test_a_backend_in_the_memory_of_the_process_has_to_be_meant(home: Path, process: Cli) -> None:
    (home / "kvhttp.wasm").symlink_to((home / "kv.wasm").resolve().with_name("kvhttp.wasm"))
    (home / "host.toml").write_text(KV)
    ended = process("run", "--workers", "2")
    assert ended.code == 2
    assert ended.err.count("error:") == 1
    assert "backend 'memory' of import cache" in ended.err
    assert "host.toml:6 (workload.kv.import.cache)" in ended.err
    assert "try: per_worker = true" in ended.err
    checked = process("check", "--workers", "2")
    assert (checked.code, checked.err) == (2, ended.err)
    (home / "host.toml").write_text(KV.replace('"memory"', '"memory"\nper_worker = true'))
    with crew() as host:
        assert host.get()
        host.process.send_signal(signal.SIGTERM)
        assert host.process.wait(timeout=40) == 0


def test_nothing_that_could_be_shared(hello: Path, process: Cli) -> None:
    (hello / "beat.py").write_text(BEAT)
    text = HELLO.replace("trigger.http", "trigger.beat").partition("\n[workload")[2]
    (hello / "host.toml").write_text(f'plugins = ["./beat.py"]\n[workload{text}')
    ended = process("run", "--workers", "2")
    assert ended.code == 2
    assert "nothing is served that workers could share: trigger beat" in ended.err
    checked = process("check", "--workers", "2")
    assert (checked.code, checked.err) == (2, ended.err)
    assert process("check").code == 0


@pytest.mark.parametrize("text", ["", "2", "[1, 999, {}]", "[1, 0]"])
def test_nobody_else_hands_a_worker_over(hello: Path, process: Cli, text: str) -> None:
    ended = process("run", env={"WASMPLEX_WORKER": text})
    assert ended.code == 2
    assert "WASMPLEX_WORKER is not for you to set" in ended.err


def test_pauses_grow_and_a_steady_worker_starts_from_the_shortest() -> None:
    backoff = Backoff(first=1, longest=5, steady=60)
    assert [backoff.pause(served) for served in (0, 0, 59, 0, 0, 60, 1)] == [1, 2, 4, 5, 5, 1, 2]


# ------------------------------------------------------------ workers that hang

HANG = """
import os, re, time
from pathlib import Path
import anyio
from wasmplex.plugin import ExportAdapter, RunningTrigger, Trigger, hookimpl

class Hang(Trigger):
    name = "hang"
    def start(self, bindings, settings, sockets):
        return Hanging()

class Hanging(RunningTrigger):
    async def serve(self, *, task_status):
        task_status.started({})
        while not Path("hang").exists():
            await anyio.sleep(0.05)
        how = Path("hang").read_text()
        Path("hang").unlink()
        if how == "asleep":
            time.sleep(1000)
        else:
            re.match("(a+)+b", "a" * 60)  # with the interpreter lock: no other thread runs

class Adapter(ExportAdapter):
    trigger = "hang"
    interface = "wasi:http/incoming-handler@0.2.12"
    def adapt(self, export):
        async def handler(): pass
        return handler

@hookimpl
def wasmplex_triggers(): return [Hang()]
@hookimpl
def wasmplex_export_adapters(): return [Adapter()]
"""


@pytest.fixture
def hanging(hello: Path) -> Path:
    """A configuration whose first worker hangs when the file ``hang`` is there."""
    (hello / "hang.py").write_text(HANG)
    (hello / "host.toml").write_text('plugins = ["./hang.py"]\n' + HELLO + "trigger.hang = {}\n")
    return hello


def hang(home: Path, how: str) -> None:
    (home / "hang.new").write_text(how)
    (home / "hang.new").rename(home / "hang")
    until = time.monotonic() + 20
    while (home / "hang").exists():
        assert time.monotonic() < until
        time.sleep(0.02)


def is_alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.slow
@pytest.mark.parametrize("how", ["asleep", "with the lock", "stopped"])
def test_a_worker_that_hangs_is_replaced(hanging: Path, how: str) -> None:
    with crew("--hang-timeout", "2s") as host:
        first = host.workers[1]
        if how == "stopped":
            os.kill(first, signal.SIGSTOP)
        else:
            hang(hanging, how)
        if how == "asleep":
            host.wait_for(r"plugin hang \(hang\.py\) blocks the event loop .* in \S+hang.py:\d+ \(serve\)")
        host.wait_for(rf"ERROR .*worker 1 \(process {first}\) has not turned its event loop for 2 s")
        host.wait_for(rf"worker 1 \(process {first}\) was ended by SIGKILL; another one is started")
        host.wait_for(r"worker 1 \(process \d+\) serves")
        assert not is_alive(first)
        with stopped(host.workers[2]):
            assert host.get() == b"hello, world\n"
        host.process.send_signal(signal.SIGTERM)
        assert host.process.wait(timeout=40) == 0


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a process hears nothing of its parent's end")
@pytest.mark.parametrize("how", ["with the lock", "stopped"])
def test_a_worker_that_hangs_ends_with_the_process_that_started_it(hanging: Path, how: str) -> None:
    with crew("--hang-timeout", "2s") as host:
        first = host.workers[1]
        if how == "stopped":
            os.kill(first, signal.SIGSTOP)
        else:
            hang(hanging, how)
        host.process.kill()
        host.process.wait(timeout=20)
        until = time.monotonic() + 20
        while any(is_alive(worker) for worker in host.workers.values()):
            assert time.monotonic() < until
            time.sleep(0.05)


def test_a_worker_has_the_patience_of_its_start_no_longer_than_that(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that hung in the moment in which it served, and lost its parent, went on for a minute."""
    timers: list[float] = []
    monkeypatch.setattr(signal, "setitimer", lambda which, seconds: timers.append(seconds))
    ours, parents = socket.socketpair()
    with parents, Worker(Handover(1, ours.detach(), 2.0, {})) as worker:
        worker.announce([])
        assert parents.recv(64) == b"[]\n"
        assert timers
        assert timers[-1] < 2 * 2.0 < STARTING


@pytest.mark.slow
def test_a_worker_that_cannot_serve_any_more_is_tried_less_and_less_often(hello: Path) -> None:
    """And the others go on; it serves when it can."""
    with crew() as host:
        (hello / "host.toml").write_text("nonsense")
        os.kill(host.workers[2], signal.SIGKILL)
        pauses = [float(host.wait_for(r"another one is started in ([0-9.]+) s")) for _ in range(3)]
        assert pauses == [0.5, 1, 2]
        assert host.get() == b"hello, world\n"
        (hello / "host.toml").write_text(HELLO)
        host.wait_for(r"worker 2 \(process \d+\) serves")
        host.process.send_signal(signal.SIGTERM)
        assert host.process.wait(timeout=40) == 0
