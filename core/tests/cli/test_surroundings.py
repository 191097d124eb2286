"""What is wrong around the process, and none of its business: it does its work all the same."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import wasmtime
from wasmplex.testing.loops import everything

Cli = Callable[..., Any]

ADDER = Path(__file__).parents[3] / "tests" / "guests" / "wat" / "adder.wat"
PROGRAM = (sys.executable, "-c", "from wasmplex.cli import main; main()")


def distribution(site: Path, entry_points: bytes) -> None:
    """Install a package that has nothing to do with wasmplex."""
    folder = site / "unrelated-1.0.dist-info"
    folder.mkdir(parents=True)
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: unrelated\nVersion: 1.0\n")
    (folder / "entry_points.txt").write_bytes(entry_points)


@pytest.mark.parametrize(
    ("entry_points", "named"),
    [
        (b"[console_scripts]\nfoo\n", "entry_points.txt of unrelated in "),
        (b"[console_scripts]\nfoo = caf\xe9:main\n", "entry_points.txt of unrelated in "),
        (b"[pydantic]\nfoo = raises:plugin\n", "SystemExit: 3"),
        (b"foo = bar:baz\n", None),
    ],
)
@pytest.mark.parametrize("args", [["check", "--json"], ["--no-plugins", "plugins", "list"]])
def test_a_broken_package_of_somebody_else_is_a_warning_at_most(
    process: Cli, tmp_path: Path, args: list[str], entry_points: bytes, named: str | None
) -> None:
    distribution(tmp_path / "site", entry_points)
    (tmp_path / "site" / "raises.py").write_text("raise SystemExit(3)")
    ended = process(*args, env={"PYTHONPATH": str(tmp_path / "site")})
    assert ended.code == 0, ended.err
    if named is None:
        assert ended.err == ""
    else:
        assert ended.err.startswith("WARNING wasmplex.plugins: plugins for pydantic are not used: ")
        assert named in ended.err
        assert len(ended.err.splitlines()) == 1


@pytest.mark.parametrize("what", ["no home", "a cache that is a file"])
def test_no_cache_is_a_warning_at_most(process: Cli, tmp_path: Path, what: str) -> None:
    (tmp_path / "file").touch()
    env = {"HOME": "", "XDG_CACHE_HOME": "" if what == "no home" else str(tmp_path / "file")}
    ended = process("check", "--connect", env=env)
    assert ended.code == 0, ended.err
    assert len(ended.err.splitlines()) == 1
    assert "compiled code is not cached" in ended.err
    assert 'try: [engine] cache = "DIRECTORY"' in ended.err
    assert not [name for name in os.listdir() if name == ".cache"]  # noqa: PTH208


# ------------------------------------------------------------ standard output and error


def shell(command: str, **env: str) -> Any:
    """Run a command line of a shell, ``wasmplex`` being the program; return code, output and errors."""
    program = f"{sys.executable} -c 'from wasmplex.cli import main; main()'"
    return subprocess.run(
        ["bash", "-c", command.replace("wasmplex", program, 1)],
        env={**os.environ, **env}, capture_output=True, timeout=60, check=False,
    )  # fmt: skip


COMPILES = pytest.mark.skipif(not everything(), reason="compiles a component: make test-all does")


def with_adder(home: Path) -> None:
    """Have a workload whose function can be called from a shell."""
    (home / "adder.wasm").write_bytes(wasmtime.wat2wasm(ADDER.read_text()))
    with (home / "host.toml").open("a") as config:
        config.write("[workload.adder]\ncomponent = 'adder.wasm'\n")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize(
    "args",
    ["check --json", "--help", "plugins freeze", pytest.param("invoke . adder add 1 2", marks=COMPILES)],
)
def test_a_full_disk_is_named(home: Path, args: str) -> None:
    with_adder(home)
    done = shell(f"wasmplex {args} > /dev/full")
    assert done.returncode == 1
    assert done.stderr == b"error: standard output cannot be written: no space left on device\n"


def test_standard_output_that_is_closed_is_named(home: Path) -> None:
    done = shell("wasmplex check >&-")
    assert done.returncode == 1
    assert done.stderr == b"error: standard output cannot be written: it is closed\n"


@pytest.mark.parametrize("closed", ["<&- 2>&-", "2> /dev/full"])
def test_what_is_not_needed_may_be_closed(home: Path, closed: str) -> None:
    assert shell(f"wasmplex check {closed}").stdout.endswith(b"ok: 1 workload\n")
    assert shell(f"wasmplex check nowhere.toml {closed}").returncode == 2


@pytest.mark.slow
@pytest.mark.parametrize(
    "args",
    [
        "",
        pytest.param(
            "--workers 2",
            marks=pytest.mark.skipif(not everything(), reason="starts workers: make test-all does"),
        ),
    ],
    ids=["alone", "workers"],
)
def test_a_host_serves_and_ends_well_though_its_streams_are_closed(home: Path, args: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    (home / "lab.wasm").symlink_to((home / "kv.wasm").resolve().with_name("lab.wasm"))
    (home / "host.toml").write_text(
        f"[http]\nlisten = '127.0.0.1:{port}'\n[workload.lab]\ncomponent = 'lab.wasm'\ntrigger.http = {{}}\n"
    )
    program = f"{sys.executable} -c 'from wasmplex.cli import main; main()'"
    with subprocess.Popen(["bash", "-c", f"exec {program} run {args} <&- >&- 2>&-"]) as host:
        try:
            until = time.monotonic() + 60
            while True:
                try:
                    with urllib.request.urlopen(f"http://127.0.0.1:{port}/hello", timeout=20) as answer:
                        assert answer.status == 200
                    break
                except OSError:
                    assert host.poll() is None
                    assert time.monotonic() < until
                    time.sleep(0.05)
            host.terminate()
            assert host.wait(timeout=60) == 0
        finally:
            host.kill()


@pytest.mark.parametrize(("name", "encoding"), [("ž".encode(), "latin-1"), (b"caf\xe9", "utf-8")])
def test_an_encoding_that_does_not_have_it_all(home: Path, name: bytes, encoding: str) -> None:
    """Text gets escapes, JSON stays JSON; a name on disk need not even be text."""
    place = home / os.fsdecode(name)
    place.mkdir()
    for file in ("host.toml", "kv.wasm"):
        shutil.copy(home / file, place)
    env = {"PYTHONIOENCODING": encoding, "PLACE": str(place)}
    done = shell('wasmplex check --json "$PLACE"', **env)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.decode(encoding))["workloads"][0]["component"] == str(place / "kv.wasm")
    assert shell('wasmplex check "$PLACE"', **env).returncode == 0
    assert shell('wasmplex check "$PLACE"/nowhere.toml', **env).returncode == 2


def test_a_slow_reader_of_a_pipe_that_does_not_block_gets_everything(home: Path) -> None:
    """Whoever shares a terminal or a pipe may have made it non-blocking, Node.js for one."""
    os.set_blocking((pipe := os.pipe())[1], False)
    with subprocess.Popen(
        [*PROGRAM, "inspect", "kv.wasm", "--wit"], stdout=pipe[1], stderr=subprocess.PIPE,
    ) as process, open(pipe[0], "rb") as out:  # fmt: skip  # noqa: PTH123
        filled = 0
        try:
            while True:
                filled += os.write(pipe[1], b"\n" * 4096)
        except BlockingIOError:
            os.close(pipe[1])
        time.sleep(0.5)
        said = out.read()
        assert process.wait(timeout=30) == 0, process.stderr and process.stderr.read()
    assert said[:filled].strip() == b""
    assert b"keyvalue" in said[filled:]


GREETING = """\
import atexit, os, subprocess, sys
atexit.register(print, "good-bye")
print("hello from", __name__)
os.write(1, b"hello from C\\n")
subprocess.run(["echo", "hello from a child"])
saved = sys.stdout
from wasmplex.plugin import BackendProvider, Backend, hookimpl

class Noisy(Backend):
    async def close(self): saved.write("closed\\n")

class Provider(BackendProvider):
    name, capability = "noisy", "keyvalue"
    async def open(self, settings, context):
        sys.__stdout__.write("opened\\n")
        return Noisy()

@hookimpl
def wasmplex_backends():
    print("hello from a hook", file=sys.stdout, flush=True)
    return [Provider()]
"""


@pytest.mark.parametrize(
    "args",
    [
        ["check", "--json", "--connect"], ["doctor", "--json"], ["explain", ".", "cache", "--json"],
        ["invoke", ".", "adder", "add", "1", "2"],
    ],
)  # fmt: skip
def test_what_is_for_programs_is_not_for_plugins_to_print(process: Cli, home: Path, args: list[str]) -> None:
    (home / "noisy.py").write_text(GREETING)
    with_adder(home)
    text = (home / "host.toml").read_text().replace('"memory"', '"noisy"')
    (home / "host.toml").write_text('plugins = ["./noisy.py"]\n' + text)
    ended = process(*args)
    json.loads(ended.out)
    assert "good-bye" in ended.err
    for greeting in ("hello from wasmplex_plugin", "hello from C", "hello from a child", "from a hook"):
        assert greeting in ended.err
    assert ("opened" in ended.err) is (args[0] == "doctor" or "--connect" in args)


def test_the_command_of_a_plugin_prints_as_it_likes(process: Cli, tmp_path: Path) -> None:
    distribution(tmp_path / "site", b"[wasmplex.commands]\ngreet = greeter\n")
    (tmp_path / "site" / "greeter.py").write_text(
        "import click\nfrom wasmplex.plugin import hookimpl\nprint('imported')\n"
        "@click.command('greet')\ndef greet(): print('hello')\n"
        "@hookimpl\ndef wasmplex_commands(): return [greet]\n"
    )
    ended = process("greet", env={"PYTHONPATH": str(tmp_path / "site")})
    assert (ended.code, ended.out, ended.err) == (0, "hello\n", "imported\n")
