"""A component without a configuration: it gets one, which can be written to a file."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import guests
import pytest
from wasmtime import wat2wasm

Cli = Callable[..., Any]
Run = Callable[..., Any]

KV = """\
[workload.kv]
component = "kv.wasm"

[workload.kv.import.cache]
backend = "memory"

[workload.kv.import.store]
backend = "memory"
"""


@pytest.fixture
def alone(home: Path) -> Path:
    """The directory without its host.toml."""
    (home / "host.toml").unlink()
    return home


def test_a_component_is_served_as_it_is(cli: Cli, alone: Path, run_host: Run) -> None:
    running = run_host("hello.wasm", "--listen", "127.0.0.1:0")
    url = running.wait_for(r" serves hello: (\S+)")
    with urllib.request.urlopen(url, timeout=20) as answer:
        assert answer.status == 200
    said = "".join(running.said)
    assert said.startswith(
        "hello.wasm has no configuration; it gets the one that `wasmplex new host hello.wasm` "
    )
    assert '  component = "hello.wasm"\n  trigger.http = {}\n' in said
    assert "in memory" not in said  # it keeps nothing


def test_what_it_keeps_is_said_to_be_in_memory(cli: Cli, alone: Path) -> None:
    ended = cli("check", "kv.wasm", "--json")
    assert ended.code == 0
    (workload,) = json.loads(ended.out)["workloads"]
    assert [(row["import"], row["served_by"]) for row in workload["imports"]] == [
        ("cache", "backend memory"),
        ("store", "backend memory"),
    ]
    assert "".join(f"  {line}".rstrip() + "\n" for line in KV.splitlines()) in ended.err
    assert ended.err.endswith("what cache and store keep is in memory, and gone when this ends\n")


def test_the_configuration_can_be_written(cli: Cli, alone: Path) -> None:
    (alone / "deploy").mkdir()
    assert cli("new", "host", "kv.wasm").out == "made host.toml. Next:\n  wasmplex check host.toml\n"
    assert (alone / "host.toml").read_text() == KV
    assert cli("check").code == 0
    assert cli("new", "host", "kv.wasm", "--into", "deploy").code == 0
    assert 'component = "../kv.wasm"' in (alone / "deploy/host.toml").read_text()
    assert cli("check", "deploy").code == 0
    again = cli("new", "host", "kv.wasm")
    assert (again.code, again.err) == (2, "error: host.toml exists already\n  try: choose another --into\n")


def test_other_commands_take_a_component_too(cli: Cli, alone: Path) -> None:
    assert cli("invoke", "kv.wasm", "kv", "run", '"x"') == (0, '"none"\n', "")
    assert "backend     memory" in cli("explain", "kv.wasm", "cache").out
    assert "all is well" in cli("doctor", "kv.wasm").out


def test_what_nothing_would_call_is_not_run(cli: Cli, alone: Path) -> None:
    ended = cli("run", "kv.wasm")
    assert ended.code == 2
    assert ended.err == (
        "error: nothing would ever call kv.wasm\n"
        "  because: no trigger calls what it exports: run\n"
        "  try: wasmplex invoke kv.wasm kv run\n"
    )


@pytest.mark.parametrize(
    ("guest", "trigger", "told", "once"),
    [
        ("command", "cron", '{ schedule = "0 3 * * *" }', "wasmplex invoke command.wasm command run"),
        ("handler", "messaging", '{ subjects = ["orders.>"], backend = "memory" }', ""),
        ("kvwatch", "watch", '{ bucket = "orders" }', "wasmplex invoke kvwatch.wasm kvwatch write"),
    ],
)
def test_a_trigger_that_has_to_be_told_more_is_named_and_drafted(
    cli: Cli, alone: Path, guest: str, trigger: str, told: str, once: str
) -> None:
    (alone / f"{guest}.wasm").write_bytes(guests.component(guest))
    ended = cli("run", f"{guest}.wasm")
    assert ended.code == 2
    assert f"  because: trigger.{trigger} calls " in ended.err
    assert f"wasmplex new host {guest}.wasm, then uncomment trigger.{trigger} " in ended.err
    assert once in ended.err
    assert "uncommented there. Next:\n" in cli("new", "host", f"{guest}.wasm").out
    line = f"trigger.{trigger} = {told}"
    written = (alone / "host.toml").read_text()
    assert f"\n# {line}\n" in written
    assert f"  try: {line} in [workload.{guest}]\n" in cli("run").err
    (alone / "host.toml").write_text(written.replace("# trigger", "trigger"))
    checked = cli("check")
    assert (checked.code, checked.err) == (0, "")
    assert f"trigger {trigger} calls " in checked.out


def test_an_import_that_nobody_serves_comes_before_triggers(cli: Cli, alone: Path) -> None:
    text = '(component (import "acme:geo/lookup" (instance (export "f" (func)))))'
    (alone / "uns.wasm").write_bytes(bytes(wat2wasm(text)))
    said = "nobody serves the import acme:geo/lookup: no plugin offers acme:geo"
    assert cli("run", "uns.wasm").err.startswith(f"error: {said}\n")
    made = cli("new", "host", "uns.wasm")
    assert (made.code, made.err.splitlines()[0].startswith(f"note: {said}; install a plugin")) == (0, True)
    assert cli("run").err.startswith(f"error: {said}\n")
    (alone / "none.wasm").write_bytes(bytes(wat2wasm("(component)")))
    assert "  because: it exports nothing\n" in cli("run", "none.wasm").err


@pytest.mark.parametrize("name", ["1 2.wasm", "-_.wasm", "Ä.wasm", f"{'n' * 90}.wasm", "kv"])
def test_any_file_name_will_do(cli: Cli, alone: Path, name: str) -> None:
    (alone / "kv.wasm").rename(alone / name)
    ended = cli("check", f"./{name}")
    assert ended.code == 0, ended.err


def test_where_there_is_nothing_yet_the_first_step_is_said(cli: Cli, alone: Path) -> None:
    (alone / "kv.wasm").unlink()
    assert cli("run").err.endswith(
        "  try: wasmplex new host hello.wasm writes one; wasmplex run hello.wasm needs none\n"
    )
    assert cli().err.endswith("\n\nBegin with:\n  wasmplex run hello.wasm\n  wasmplex new host hello.wasm\n")
    (alone / "hello.wasm").unlink()
    assert "wasmplex run COMPONENT.wasm needs none" in cli("check").err
    (alone / "host.toml").write_text(KV)
    assert cli().err.endswith("\n\nBegin with:\n  wasmplex check\n")


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("none.wasm", None, "error: none.wasm cannot be read\n  because: no such file or directory\n"),
        ("core.wasm", b"\0asm\1\0\0\0", "error: this is a core WebAssembly module, not a component\n  at: "),
        ("host.bin", b"\xd1\0", "error: host.bin is not UTF-8 text\n  at: host.bin:1\n  because: the byte "),
    ],
)  # fmt: skip
def test_what_is_no_component_is_no_configuration(
    cli: Cli, alone: Path, name: str, data: bytes | None, said: str
) -> None:
    if data is not None:
        (alone / name).write_bytes(data)
    ended = cli("run", name)
    assert ended.code == 2
    assert ended.err.startswith(said), ended.err
    assert "iconv" not in ended.err


def test_a_device_is_not_to_be_renamed(cli: Cli) -> None:
    assert "mv " not in cli("check", "/dev/null").err
