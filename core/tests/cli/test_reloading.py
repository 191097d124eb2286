"""SIGHUP: another configuration is served, by the same process or by new workers, and nobody is refused."""

from __future__ import annotations

import http.client
import os
import pty
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

Run = Callable[..., Any]

HELLO = """\
[http]
listen = "127.0.0.1:0"
[workload.hello]
component = "hello.wasm"
trigger.http = {}
"""
MORE = """
[workload.more]
component = "hello.wasm"
trigger.http = { host = "more" }
"""
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


PLUGIN = """\
from wasmplex.plugin import hookimpl
print("plugin {}")
@hookimpl
def wasmplex_backends(): return []
"""


@pytest.fixture
def hello(home: Path) -> Path:
    for name in ("lab", "kvhttp"):
        (home / f"{name}.wasm").symlink_to((home / "kv.wasm").resolve().with_name(f"{name}.wasm"))
    (home / "host.toml").write_text(HELLO)
    return home


def get(url: str, host: str = "a") -> str:
    try:
        with urllib.request.urlopen(
            urllib.request.Request(url, headers={"host": host}), timeout=20
        ) as response:
            return f"{response.status} {response.read().decode()}"
    except urllib.error.HTTPError as error:
        with error:
            return str(error.code)


@contextmanager
def load(url: str) -> Iterator[Counter[str]]:
    """Ask over and over: with connections that are kept, in haste and at leisure, and with new ones."""
    seen: Counter[str] = Counter()
    over = threading.Event()
    place = urlsplit(url).netloc

    def ask(pause: float, headers: dict[str, str]) -> None:
        connection = None
        while not over.is_set():
            connection = connection or http.client.HTTPConnection(place, timeout=30)
            try:
                connection.request("GET", "/", headers=headers)
                response = connection.getresponse()
                seen[f"{response.status} {response.read()[:5].decode()}"] += 1
            except (OSError, http.client.HTTPException) as error:
                seen[repr(error)] += 1
                connection.close()
                connection = None
            over.wait(pause)
        if connection is not None:
            connection.close()

    kinds = [
        (0.0, {}),
        (0.003, {}),
        (0.3, {}),
        (0.0, {"connection": "close"}),
        (0.01, {"connection": "close"}),
    ]
    threads = [threading.Thread(target=ask, args=kind) for kind in kinds]
    for thread in threads:
        thread.start()
    try:
        yield seen
    finally:
        over.set()
        for thread in threads:
            thread.join()


ALONE_AND_WORKERS = pytest.mark.parametrize("args", [[], ["--workers", "2"]], ids=["alone", "workers"])


@pytest.mark.slow
@ALONE_AND_WORKERS
def test_nobody_is_refused_while_another_configuration_takes_over(
    hello: Path, run_host: Run, args: list[str]
) -> None:
    host = run_host(*args)
    url = host.url()
    assert get(url, "more") == "200 hello, world\n"
    with load(url) as seen:
        for name in ("second", "third"):
            before = {*host.workers.values()}
            (hello / "host.toml").write_text(HELLO + f"[host]\nname = '{name}'\n" + MORE)
            host.signal(signal.SIGHUP)
            assert host.wait_for(rf"^reloaded: {name} serves hello, more.*: (\S+)") == url
            assert not before & {*host.workers.values()}
            count = seen.total()
            while seen.total() < count + 100:
                time.sleep(0.05)
    assert {*seen} == {"200 hello"}
    assert host.stop() == 0
    assert not [line for line in host.said if "ERROR" in line or "Traceback" in line]


@pytest.mark.slow
def test_watching_refuses_nobody(hello: Path, run_host: Run) -> None:
    """And one-file plugins are taken as they then are."""
    (hello / "mine.py").write_text(PLUGIN.format("one"))
    (hello / "host.toml").write_text("plugins = ['mine.py']\n" + HELLO)
    host = run_host("--watch")
    host.wait_for("plugin one")
    with load(host.url()) as seen:
        (hello / "mine.py").write_text(PLUGIN.format("two"))
        host.wait_for("plugin two")
        host.wait_for("^reloaded: ")
        (hello / "host.toml").write_text("nonsense = 1\n" + HELLO)
        host.wait_for("^not reloaded: ")
        (hello / "host.toml").write_text("[host]\nname = 'other'\n" + HELLO)
        host.wait_for("^reloaded: other serves")
    assert {*seen} == {"200 hello"}
    assert host.stop() == 0


SHUT = KV.replace('"memory"', '"memory"\nper_worker = true').replace("store.db", "nowhere/store.db")
WRONG = {
    "not TOML": (HELLO.replace("[http]", "[http"), "not valid TOML"),
    "no component": (HELLO.replace("hello.wasm", "nowhere.wasm"), "nowhere.wasm"),
    "not a component": (HELLO.replace("hello.wasm", "host.toml"), "host.toml"),
    "does not compile": (HELLO.replace("hello.wasm", "cut.wasm"), "cut.wasm"),
    "an address in use": (HELLO.replace("127.0.0.1:0", "127.0.0.1:{port}"), "cannot listen on"),
    "a plugin that fails": ("plugins = ['bad.py']\n" + HELLO, "ZeroDivisionError"),
    "nothing to do": (HELLO.replace("trigger.http = {}", ""), "no workload has a trigger"),
    "a backend that does not open": (SHUT, "nowhere"),
}


def descriptors(process: int) -> int:
    return len(list(Path(f"/proc/{process}/fd").iterdir()))


@pytest.mark.slow
@ALONE_AND_WORKERS
def test_what_is_wrong_is_said_once_and_what_was_served_goes_on(
    hello: Path, run_host: Run, args: list[str]
) -> None:
    wasm = (hello / "hello.wasm").read_bytes()
    (hello / "cut.wasm").write_bytes(wasm.replace(b"\x41\x00\x0b", b"\x41\x00\x1a", 1))
    (hello / "bad.py").write_text("1/0")
    host = run_host(*args)
    url = host.url()
    workers, before = {*host.workers.values()}, None
    with socket.create_server(("127.0.0.1", 0)) as taken:
        for what, (text, said) in WRONG.items():
            (hello / "host.toml").write_text(text.replace("{port}", str(taken.getsockname()[1])))
            read = len(host.said)
            host.signal(signal.SIGHUP)
            host.wait_for("^not reloaded: what was served before goes on")
            told = "".join(host.said[read:])
            assert (told.count("error:"), said in told) == (1, True), (what, told)
            assert get(url) == "200 hello, world\n", what
            if Path("/proc/self/fd").exists():
                before = before or descriptors(host.process.pid)
                assert descriptors(host.process.pid) <= before + 1
    if args:
        assert {worker for worker in workers if os.path.exists(f"/proc/{worker}")} == workers  # noqa: PTH110
    (hello / "host.toml").write_text(HELLO + "[host]\nname = 'right'\n")
    host.signal(signal.SIGHUP)
    host.wait_for("^reloaded: right serves hello")
    assert host.stop() == 0


@pytest.mark.slow
@ALONE_AND_WORKERS
def test_another_address(hello: Path, run_host: Run, args: list[str]) -> None:
    """What was begun at the old one is finished, however long it takes; then nobody listens there."""
    patient = HELLO.replace("hello.wasm", "lab.wasm") + 'limits.timeout = "5m"\n'
    (hello / "host.toml").write_text(patient)
    host = run_host(*args, "--drain-timeout", "100ms")
    old = urlsplit(host.url())
    with socket.create_connection((str(old.hostname), int(old.port or 0)), timeout=20) as begun:
        begun.sendall(b"POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\nexpect: 100-continue\r\n\r\n")
        assert begun.recv(1000).startswith(b"HTTP/1.1 100 ")
        (hello / "host.toml").write_text(HELLO.replace('127.0.0.1:0"', '127.0.0.1:0"\nbacklog = 7'))
        host.signal(signal.SIGHUP)
        assert host.wait_for(r"^reloaded: .*(http://\S+)") == old.geturl()  # all but the address has changed
        (hello / "host.toml").write_text(HELLO.replace("127.0.0.1:0", "127.0.0.2:0"))
        host.signal(signal.SIGHUP)
        new = host.wait_for(r"^reloaded: .*(http://127\.0\.0\.2:\d+)")
        assert get(new) == "200 hello, world\n"
        until = time.monotonic() + 20
        while _listens(old.port):
            assert time.monotonic() < until
            time.sleep(0.05)
        time.sleep(0.5)
        begun.sendall(b"body")
        assert b"".join(iter(lambda: begun.recv(1000), b"")).endswith(b"body\r\n0\r\n\r\n")
    assert host.stop() == 0


def _listens(port: int | None) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port or 0), timeout=20).close()
    except ConnectionRefusedError:
        return False
    return True


def test_backends_stay_open_whose_settings_stay_the_same(hello: Path, run_host: Run) -> None:
    (hello / "host.toml").write_text(KV)
    host = run_host()
    url = host.url()
    assert [get(f"{url}/key").split()[2].partition(":")[0] for _ in range(2)] == ["miss", "hit"]
    (hello / "host.toml").write_text(KV.replace("trigger.http = {}", "trigger.http = {}\ninstances.max = 3"))
    host.signal(signal.SIGHUP)
    host.wait_for("^reloaded: ")
    assert " hit:" in get(f"{url}/key")  # what is in memory is still there
    (hello / "host.toml").write_text(KV.replace('"memory"', '"memory"\nmax_entries = 100'))
    host.signal(signal.SIGHUP)
    host.wait_for("^reloaded: ")
    assert " miss:" in get(f"{url}/key")
    assert host.stop() == 0


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nobody says which signals are taken")
def test_one_that_comes_before_the_host_serves_is_heeded_then(hello: Path, run_host: Run) -> None:
    host = run_host()
    status = Path(f"/proc/{host.process.pid}/status")
    while not int(re.search(r"SigCgt:\s*(\w+)", status.read_text())[1], 16) & 1:  # type: ignore[index]
        time.sleep(0.001)
    host.signal(signal.SIGHUP)
    host.url()
    host.wait_for("^reloaded: ")
    assert host.stop() == 0


# ------------------------------------------------------------ a terminal that is closed


@pytest.mark.parametrize("nohup", [False, True])
def test_the_end_of_the_terminal_is_the_end_of_what_was_started_in_it(
    hello: Path, run_host: Run, nohup: bool
) -> None:
    """The same signal; but nobody could reach the host any more, unless that is what was wanted."""
    main, terminal = pty.openpty()
    log = (hello / "log").open("w+")
    ignoring = f"import signal; signal.signal(signal.SIGHUP, signal.SIG_{'IGN' if nohup else 'DFL'});"
    own = f"import os; os.setsid(); import fcntl, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0);{ignoring}"
    process = subprocess.Popen(
        [sys.executable, "-c", own + "from wasmplex.cli import main; main()", "run"],
        stdin=terminal, stdout=terminal, stderr=log,
    )  # fmt: skip
    os.close(terminal)
    try:
        until = time.monotonic() + 30
        while " serves " not in (said := (hello / "log").read_text()):
            assert time.monotonic() < until
            time.sleep(0.05)
        os.close(main)
        if nohup:
            time.sleep(1)
            assert get(said.split()[-1]) == "200 hello, world\n"
            process.terminate()
        assert process.wait(timeout=30) == 0
    finally:
        process.kill()
        process.wait()
        log.close()
    assert "stopping: " in (hello / "log").read_text()
