"""What commands print fits the terminal, as far as names that must stay whole let it."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .conftest import GUESTS, PROGRAM

Cli = Callable[..., Any]

COMMANDS = (
    "check",
    "check http.wasm",
    "explain host.toml cache",
    "inspect kv.wasm",
    "inspect http.wasm",
    "inspect streams.wasm",
    "plugins",
    "plugins list",
    "plugins show redis",
    "doctor host.toml",
)


@pytest.fixture
def there(home: Path) -> Path:
    for name, guest in (("http", "kvhttp"), ("streams", "proxy")):
        (home / f"{name}.wasm").symlink_to(GUESTS / f"{guest}.wasm")
    return home


@pytest.mark.parametrize("width", [60, 80])
@pytest.mark.parametrize("command", COMMANDS)
def test_lines_fit(cli: Cli, there: Path, monkeypatch: pytest.MonkeyPatch, command: str, width: int) -> None:
    wide = cli(*command.split())
    monkeypatch.setattr("wasmplex.cli.table.columns", lambda: width)
    ended = cli(*command.split())
    assert ended.code == 0
    text = ended.out
    for path, short in ((str(there), "/srv"), (sys.prefix, "/venv")):  # how long these are is nobody's doing
        text = text.replace(path, short)
    assert [line for line in text.splitlines() if len(line) > width] == []
    assert {word for word in wide.out.split() if not word.isupper() and not word.isdigit()} <= {
        *ended.out.split()
    }


def test_a_trigger_that_has_much_to_say(cli: Cli, there: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (there / "host.toml").write_text(
        f'[workload.w]\ncomponent = "{GUESTS}/handler.wasm"\n'
        '[workload.w.import.audit]\nbackend = "memory"\n'
        '[workload.w.default."wasmcloud:keyvalue"]\nbackend = "memory"\n'
        '[workload.w.trigger.messaging]\nthrough = "audit"\nsubjects = ["a"]\n'
    )
    monkeypatch.setattr("wasmplex.cli.table.columns", lambda: 50)
    text = cli("check").out
    assert "trigger messaging calls\n  wasmcloud:messaging/handler@0.3.0, through audit\n" in text


def test_a_check_at_60(cli: Cli, there: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wasmplex.cli.table.columns", lambda: 60)
    text = cli("check").out.replace(str(there), "/srv")
    assert (
        text
        == """\
workload kv: /srv/kv.wasm
cache
  interface: wasi:keyvalue/store@0.2.0-draft
  served by: backend memory
  plugin: host-plugin-memory==0.1.0  namespace: kv/cache
  configured at: host.toml:4 (workload.kv.import.cache)
store
  interface: wasi:keyvalue/store@0.2.0-draft
  served by: backend sqlite
  plugin: host-plugin-sqlite==0.1.0  namespace: kv/store
  configured at: host.toml:7 (workload.kv.import.store)
no trigger: nothing but `wasmplex invoke` calls it

ok: 1 workload
"""
    )


def test_a_file_gets_a_row_a_line(cli: Cli, there: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    rows = cli("check").out.splitlines()
    assert [row.split()[-1] for row in rows[2:4]] == [
        "(workload.kv.import.cache)",
        "(workload.kv.import.store)",
    ]


def test_what_needs_no_binding_takes_a_line_or_two(cli: Cli, there: Path) -> None:
    text = cli("check", "http.wasm").out
    assert "\nwithout a binding: wasi:io/error@0.2.2; there is nothing to serve in it but types\n" in text
    assert (
        "\nwithout a binding: wasi:io/streams@0.2.2, wasi:http/types@0.2.2; served by host-plugin-wasi=="
        in text
    )


def test_a_terminal_says_how_wide_it_is(there: Path) -> None:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 60, 0, 0))
    env = {key: value for key, value in os.environ.items() if key != "COLUMNS"}
    subprocess.run(
        [*PROGRAM, "check"], stdout=theirs, stderr=subprocess.PIPE, env=env, timeout=60, check=True
    )
    os.close(theirs)
    text = os.read(ours, 2**16).decode()
    os.close(ours)
    assert "\r\n  interface: wasi:keyvalue/store@0.2.0-draft\r\n" in text
