"""What only a process of its own shows: imports, signals, terminals, pipes."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import pytest
from wasmplex.cli.root import root

Cli = Callable[..., Any]

PROGRAM = (sys.executable, "-c", "from wasmplex.cli import main; main()")
HEAVY = {
    "wasmtime", "pydantic", "yaml", "rich", "uvloop", "cachetools",
    "sqlite3", "aiohappyeyeballs", "asyncio",
}  # fmt: skip


@pytest.mark.parametrize("args", [["--help"], ["run", "--help"], ["check", "--help"], ["--version"]])
def test_help_imports_nothing_that_takes_time(home: Path, args: list[str]) -> None:
    code = (
        "import json, sys\n"
        "from wasmplex.cli.dispatch import run\n"
        f"code = run({args!r})\n"
        "print(json.dumps([code, sorted(sys.modules)]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    code_, modules = json.loads(done.stdout.splitlines()[-1])
    assert code_ == 0
    assert HEAVY & {name.partition(".")[0] for name in modules} == set()
    assert not [name for name in modules if name.startswith("host_plugin_")]


def test_the_package_is_the_command(home: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "wasmplex", "check", "nothing.toml"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    assert "nothing.toml" in done.stderr


def nested_commands() -> list[str]:
    context = click.Context(root)
    groups = {name: root.get_command(context, name) for name in root.list_commands(context)}
    return [
        f"{name} {inner}" for name, group in groups.items() if isinstance(group, click.Group)
        for inner in group.commands
    ]  # fmt: skip


@pytest.mark.parametrize("name", nested_commands())
def test_help_that_is_asked_for_is_output(process: Cli, name: str) -> None:
    """In a process of its own: there the group has claimed standard output for good."""
    ended = process(*name.split(), "--help")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.startswith(f"Usage: wasmplex {name} ")


def test_inspect_imports_no_engine_and_no_plugin(home: Path) -> None:
    code = (
        "import json, sys\n"
        "from wasmplex.cli.dispatch import run\n"
        "run(['inspect', 'kv.wasm'])\n"
        "print(json.dumps(sorted(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    modules = json.loads(done.stdout.splitlines()[-1])
    assert {"wasmtime", "yaml", "sqlite3"} & set(modules) == set()


def test_a_reader_that_goes_away_is_no_reason_for_a_traceback(home: Path) -> None:
    done = subprocess.run(
        f"{sys.executable} -c 'from wasmplex.cli import main; main()' inspect kv.wasm --json | head -1",
        shell=True, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert (done.stdout, done.stderr) == ("{\n", "")


# ------------------------------------------------------------ a terminal


def on_terminal(*args: str, env: dict[str, str]) -> str:
    """Run a command whose standard output and error are a terminal; return all it wrote."""
    main, other = pty.openpty()
    process = subprocess.Popen(
        [*PROGRAM, *args], stdout=other, stderr=other, stdin=subprocess.DEVNULL,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "200", **env},
    )  # fmt: skip
    os.close(other)
    written = b""
    deadline = time.monotonic() + 50
    while time.monotonic() < deadline:
        if select.select([main], [], [], 1)[0]:
            try:
                piece = os.read(main, 65536)
            except OSError:  # the other end is closed
                break
            if not piece:
                break
            written += piece
    process.wait(timeout=10)
    os.close(main)
    return written.decode()


def test_colours_and_progress_on_a_terminal(home: Path) -> None:
    text = on_terminal("check", "--connect", env={})
    assert "\x1b[1mIMPORT" in text
    assert "kv: compiling" in text
    assert "━" in text
    assert "━" not in on_terminal("check", "--connect", env={})  # it is in the cache now
    assert "\x1b[31m\x1b[1merror:\x1b[0m" in on_terminal("check", "nowhere.toml", env={})


def test_no_color(home: Path) -> None:
    assert "\x1b" not in on_terminal("check", env={"NO_COLOR": "1"})
    assert "\x1b" not in on_terminal("check", "nowhere.toml", env={"NO_COLOR": "1"})


def test_a_pipe_gets_neither_colours_nor_progress(process: Cli) -> None:
    ended = process("check", "--connect")
    assert ended.code == 0
    assert ended.err == ""
    assert "\x1b" not in ended.out


# ------------------------------------------------------------ run and its signals

HELLO = "[http]\nlisten = '127.0.0.1:0'\n[workload.hello]\ncomponent = 'hello.wasm'\ntrigger.http = {}\n"


@contextmanager
def serving(home: Path, *args: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run a host until it serves; yields its process and URL."""
    (home / "host.toml").write_text(HELLO)
    process = subprocess.Popen([*PROGRAM, "run", *args], stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    try:
        line = next(line for line in process.stderr if " serves " in line)
        yield process, line.split()[-1]
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    assert process.stderr is not None
    code = process.wait(timeout=40)
    return code, process.stderr.read()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_one_signal_drains(home: Path, number: signal.Signals) -> None:
    with serving(home) as (process, url):
        with urllib.request.urlopen(url, timeout=20) as response:
            assert response.read() == b"hello, world\n"
        process.send_signal(number)
        code, text = ended(process)
    assert code == 0
    assert text.startswith("stopping: ")
    assert "Traceback" not in text


def test_what_is_under_way_is_finished(home: Path) -> None:
    """A request whose body comes in slowly goes on being served while the host stops."""
    import http.client
    from urllib.parse import urlsplit

    with serving(home) as (process, url):
        connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)
        connection.putrequest("POST", "/")
        connection.putheader("content-length", "2")
        connection.endheaders(b"a")
        time.sleep(0.5)
        process.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        connection.send(b"b")
        assert connection.getresponse().status == 200
        connection.close()
        assert ended(process)[0] == 0


@contextmanager
def half_a_request(url: str) -> Iterator[Any]:
    """Begin a request whose body is missing a byte; yields its connection."""
    import http.client
    from urllib.parse import urlsplit

    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)
    connection.putrequest("POST", "/")
    connection.putheader("content-length", "2")
    connection.endheaders(b"a")
    time.sleep(0.5)
    yield connection
    connection.close()


def test_two_signals_that_come_together_are_one(home: Path) -> None:
    """``timeout`` sends one to the process and one to its group."""
    with serving(home) as (process, url), half_a_request(url) as connection:
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        assert process.stderr.readline().startswith("stopping: ")
        process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        connection.send(b"b")
        assert connection.getresponse().status == 200
        assert ended(process) == (0, "")


def test_a_second_signal_kills(home: Path) -> None:
    import http.client
    from urllib.parse import urlsplit

    with serving(home) as (process, url):
        connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)
        connection.putrequest("POST", "/")
        connection.putheader("content-length", "2")
        connection.endheaders(b"a")
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        assert process.stderr.readline().startswith("stopping: ")
        time.sleep(1.2)  # one that comes at once is the first one again
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=20) == -signal.SIGINT
        connection.close()


def test_the_drain_timeout_is_kept(home: Path) -> None:
    import http.client
    from urllib.parse import urlsplit

    with serving(home, "--drain-timeout", "200ms") as (process, url):
        connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)
        connection.putrequest("POST", "/")
        connection.putheader("content-length", "2")
        connection.endheaders(b"a")
        time.sleep(0.5)
        process.send_signal(signal.SIGTERM)
        code, text = ended(process)
        connection.close()
    assert code == 0
    assert "were cancelled" in text


def test_a_signal_while_it_starts(home: Path) -> None:
    (home / "host.toml").write_text(HELLO)
    process = subprocess.Popen([*PROGRAM, "run", "--log-level", "debug"], stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    time.sleep(1)
    process.send_signal(signal.SIGTERM)
    code, text = ended(process)
    process.stderr.close()
    # Whether the signal came before Python could take it, while starting, or when it served already.
    assert code in (-signal.SIGTERM, 0)
    assert "Traceback" not in text


SLOW = """\
import time
from pathlib import Path
from wasmplex.plugin import hookimpl
import wasmplex.engine.engine as engine
compile = engine._compile
def slowly(*args):
    Path("compiling").touch()
    while not Path("go").exists():
        time.sleep(0.02)
    return compile(*args)
engine._compile = slowly
@hookimpl
def wasmplex_backends(): return []
"""


@pytest.mark.parametrize("args", [[], ["--workers", "2"]], ids=["alone", "workers"])
def test_an_address_in_use_is_said_before_anything_is_compiled(
    home: Path, process: Cli, args: list[str]
) -> None:
    (home / "slow.py").write_text(SLOW)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        (home / "host.toml").write_text("plugins = ['slow.py']\n" + HELLO.replace("127.0.0.1:0", address))
        ended = process("run", *args)
    assert ended.code == 2
    assert ended.err.startswith(f"error: cannot listen on {address}\n")
    assert "address already in use" in ended.err
    assert "  at: host.toml:3 (http.listen)\n" in ended.err
    assert not (home / "compiling").exists()


def test_while_it_compiles_that_is_said_and_nobody_takes_it_for_serving(home: Path, run_host: Any) -> None:
    (home / "slow.py").write_text(SLOW)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = free.getsockname()
    (home / "host.toml").write_text("plugins = ['slow.py']\n" + HELLO.replace(":0'", f":{address[1]}'"))
    host = run_host()
    assert host.wait_for(r"INFO wasmplex.host: (workload hello: compiling \S+) MiB")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address, timeout=20)
    (home / "go").touch()
    assert host.url().endswith(str(address[1]))
    assert host.stop() == 0


def test_watch_serves_what_it_was_started_from_as_it_changes(home: Path) -> None:
    with serving(home, "--watch") as (process, _):
        assert process.stderr is not None
        (home / "host.toml").write_text("nonsense = 1\n" + HELLO)
        assert any("unknown" in line for line in process.stderr)  # and the old one goes on
        (home / "host.toml").write_text(HELLO + "[host]\nname = 'renamed'\n")
        assert any("renamed serves hello" in line for line in process.stderr)
        os.kill(process.pid, signal.SIGTERM)
        assert process.wait(timeout=20) == 0
