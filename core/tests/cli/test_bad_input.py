"""Whatever is wrong: a few lines on standard error, the right exit code, no traceback."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from wasmplex.errors import Diagnostic

Cli = Callable[..., Any]


def refused(ended: Any, code: int = 2, problems: int = 1) -> str:
    """Check what holds for every error; return its text."""
    assert ended.code == code
    assert "Traceback" not in ended.err
    assert ended.err.count("error: ") == problems, ended.err
    assert len(ended.err.splitlines()) <= 5 * problems
    return str(ended.err)


@pytest.mark.parametrize("command", [["check"], ["run"], ["explain", "host.toml", "x"]])
def test_a_missing_component(cli: Cli, home: Path, command: list[str]) -> None:
    (home / "kv.wasm").rename(home / "kv.txt")
    text = refused(cli(*command))
    assert 'component = "kv.wasm" cannot be used' in text
    assert "did you mean" not in text
    assert "host.toml:2 (workload.kv.component)" in text


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "empty"),
        (b"\0asm\1\0\0\0", "core WebAssembly module"),
        (b"hello", "not"),
        (None, "ends"),
    ],
)
def test_a_file_that_is_no_component(cli: Cli, home: Path, data: bytes | None, said: str) -> None:
    if data is None:
        data = (home / "kv.wasm").read_bytes()[:-100]
    (home / "kv.wasm").unlink()
    (home / "kv.wasm").write_bytes(data)
    assert said in refused(cli("check"))
    assert said in (text := refused(cli("inspect", "kv.wasm")))
    assert "\n  at: kv.wasm" in text
    assert "\n  at: kv.wasm" in refused(cli("label", "kv.wasm", "a=b", "-o", "new.wasm"))


@pytest.mark.parametrize("name", ["/dev/zero", "pipe", "a\\u0000b"])
def test_a_component_without_an_end(cli: Cli, home: Path, name: str) -> None:
    """Nobody reads it: what reads a pipe would wait, and what reads a device takes all memory."""
    os.mkfifo(home / "pipe")
    (home / "b.toml").write_text(f'[workload.b]\ncomponent = "{name}"\n')
    assert re.search("cannot be used|must not hold a NUL", refused(cli("check", "b.toml")))
    if name == "/dev/zero":
        assert "it is a device" in refused(cli("inspect", name))


def test_inspecting_what_is_not_there(cli: Cli) -> None:
    assert refused(cli("inspect", "vk.wasm")) == (
        "error: vk.wasm cannot be read\n"
        "  because: no such file or directory\n"
        "  try: did you mean 'kv.wasm'?\n"
    )
    assert "is a directory" in refused(cli("inspect", "."))


@pytest.mark.parametrize("args", [["inspect", "nothere.wasm"], ["run", "nosuch.toml"], ["check", "b.toml"]])
def test_a_file_is_not_meant_for_its_suffix_alone(cli: Cli, home: Path, args: list[str]) -> None:
    (home / "core.wasm").touch()
    (home / "u.toml").touch()
    (home / "b.toml").write_text("[workload.b]\ncomponent = 'nothere.wasm'\n")
    assert "did you mean" not in refused(cli(*args))


def test_a_directory_to_write_into_that_cannot_be_made(cli: Cli, home: Path) -> None:
    (home / "file").touch()
    assert refused(cli("new", "host", "kv.wasm", "--into", "file/h")) == (
        "error: file/h cannot be made\n  because: not a directory\n"
    )


def test_a_directory_to_write_into_is_made(cli: Cli, home: Path) -> None:
    assert cli("new", "host", "kv.wasm", "--into", "deploy/h").code == 0
    assert 'component = "../../kv.wasm"' in (home / "deploy/h/host.toml").read_text()
    assert cli("new", "host", "nothere.wasm", "--into", "other").code == 2
    assert not (home / "other").exists()


def test_what_a_toolchain_exports_for_itself_is_nothing_to_invoke(cli: Cli, home: Path) -> None:
    import wasmtime

    lifted = (
        '(component (core module $m (func (export "f"))) (core instance $i (instantiate $m))'
        ' (func $f (canon lift (core func $i "f"))) (export "init" (func $f)) %s)'
    )
    (home / "x.wasm").write_bytes(wasmtime.wat2wasm(lifted % ""))
    assert "invoke" not in refused(cli("run", "x.wasm"))
    (home / "x.wasm").write_bytes(wasmtime.wat2wasm(lifted % '(export "other" (func $f))'))
    assert "wasmplex invoke x.wasm x other" in refused(cli("run", "x.wasm"))


@pytest.mark.parametrize(
    ("old", "new", "said", "problems"),
    [
        ('"memory"', '"memroy"', "did you mean 'memory'?", 1),
        ("import.cache", "import.cahce", "did you mean 'cache'?", 1),
        ("path =", "pth =", "did you mean 'path'?", 1),  # the path is not missing, too
        ('path = "store.db"', "", 'try: path = "..."', 1),
        ('component = "kv.wasm"', 'componnt = "kv.wasm"', "did you mean 'component'?", 1),
        ('"kv.wasm"', '"host.toml"', ", byte 0x0, host.toml:2 (workload.kv.component)", 1),
        ('backend = "memory"\n', "", "cache", 1),
        ("[workload.kv]", "[workload.kv]\nlimit = 1", "did you mean 'limits'?", 1),
        ("[workload.kv]", "[workload.kv]\nlimits.memory = '1 lb'", "not a size", 1),
        ("[workload.kv]", "[htpp]\n[workload.kv]", "did you mean 'http'?", 1),
        ("[workload.kv]", "[workload.kv]\ntrigger.htpp = {}", "did you mean 'http'?", 1),
        ("[workload.kv]", "[workload.kv", "not valid TOML", 1),
        ('"store.db"', '{ env = "NO_SUCH_VARIABLE" }', "export NO_SUCH_VARIABLE=...", 1),
    ],
)
def test_a_configuration_that_is_wrong(
    cli: Cli, home: Path, old: str, new: str, said: str, problems: int
) -> None:
    text = (home / "host.toml").read_text()
    (home / "host.toml").write_text(text.replace(old, new))
    assert said in refused(cli("check"), problems=problems)


def test_an_import_that_nobody_serves(cli: Cli, home: Path) -> None:
    import wasmtime

    wat = '(component (import "demo:a/b@1.0.0" (instance (export "f" (func)))))'
    (home / "x.wasm").write_bytes(wasmtime.wat2wasm(wat))
    (home / "host.toml").write_text("[workload.x]\ncomponent = 'x.wasm'\n")
    assert "demo:a/b@1.0.0" in refused(cli("check"))


def test_a_backend_that_cannot_be_opened(cli: Cli, home: Path) -> None:
    text = (home / "host.toml").read_text().replace("store.db", "no/such/directory/store.db")
    (home / "host.toml").write_text(text)
    assert "sqlite" in refused(cli("check", "--connect"), code=1)
    assert "sqlite" in refused(cli("invoke", "host.toml", "kv", "run", '"x"'), code=1)


def test_a_port_in_use(cli: Cli, home: Path) -> None:
    (home / "host.toml").write_text("[workload.hello]\ncomponent = 'hello.wasm'\ntrigger.http = {}\n")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        assert address in refused(cli("run", "--listen", address))


def test_nothing_to_run(cli: Cli, home: Path) -> None:
    assert "no workload has a trigger" in refused(cli("run"))
    (home / "host.toml").write_text("")
    for command in ("run", "check", "doctor"):
        assert "there is no workload to run" in refused(cli(command))
    (home / "host.toml").unlink()
    assert "no configuration in the directory" in refused(cli("run"))


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["chekc"], "error: there is no command 'chekc'\n  try: did you mean 'check'?\n"),
        (["check", "--jsn"], "error: no such option '--jsn'"),
        (["explain", "host.toml"], "error: the argument LABEL is missing\n  try: wasmplex explain --help\n"),
        (["run", "--drain-timeout", "soon"], "error: --drain-timeout 'soon' is not a duration"),
        (["run", "--listen", "nowhere"], 'listen = "nowhere" is not valid\n  at: the command line'),
        (["run", "--log-level", "loud"], "error: --log-level 'loud' is none of"),
    ],
)
def test_a_command_line_that_is_wrong(cli: Cli, home: Path, args: list[str], said: str) -> None:
    (home / "host.toml").write_text("[workload.hello]\ncomponent = 'hello.wasm'\ntrigger.http = {}\n")
    assert said in refused(cli(*args))


# ------------------------------------------------------------ plugins that are broken


@pytest.fixture
def broken(home: Path) -> dict[str, str]:
    """A plugin that raises when it is imported, installed; returns the environment that has it."""
    packages = home / "packages"
    info = packages / "broken_plugin-1.0.dist-info"
    info.mkdir(parents=True)
    (packages / "broken_plugin.py").write_text("raise RuntimeError('wings fell off')\n")
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken-plugin\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[wasmplex.plugins]\nbroken = broken_plugin\n[wasmplex.commands]\nfly = broken_plugin\n"
    )
    return {"PYTHONPATH": os.pathsep.join(filter(None, (str(packages), os.environ.get("PYTHONPATH"))))}


def test_a_broken_plugin_that_nobody_uses_stops_nobody(process: Cli, broken: dict[str, str]) -> None:
    assert process("check", env=broken).code == 0
    listed = process("plugins", "list", env=broken)
    assert listed.code == 0
    (line,) = [line for line in listed.out.splitlines() if line.startswith("broken ")]
    assert "available" in line  # nothing is imported for a list
    shown = process("plugins", "show", "broken", "--traceback", env=broken)
    assert "failed" in shown.out
    assert "wings fell off" in shown.out
    assert "broken_plugin.py" in shown.out
    assert "(from broken-plugin==1.0)" in process("--help", env=broken).out


def test_a_broken_plugin_that_is_used(process: Cli, home: Path, broken: dict[str, str]) -> None:
    text = (home / "host.toml").read_text().replace('"memory"', '"broken"')
    (home / "host.toml").write_text(text)
    assert "wings fell off" in refused(process("check", env=broken))
    assert "wings fell off" in refused(process("fly", env=broken))


# ------------------------------------------------------------ mistakes of our own


def test_a_mistake_of_our_own_is_said_to_be_one(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import wasmplex.component

    def fail(wasm: bytes) -> None:
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr(wasmplex.component, "read", fail)
    text = refused(cli("inspect", "kv.wasm"), code=1)
    assert text.startswith("error: wasmplex itself failed: ZeroDivisionError: division by zero\n")
    monkeypatch.setenv("WASMPLEX_TRACEBACK", "1")
    assert "Traceback" in cli("inspect", "kv.wasm").err


def test_errors_of_a_group_are_all_said() -> None:
    from wasmplex.cli.failure import Failure
    from wasmplex.errors import BackendError, UsageError

    group = ExceptionGroup("x", [UsageError("a"), ExceptionGroup("y", [BackendError("b")])])
    found = Failure.of(group)
    assert found.diagnostics == (Diagnostic("a"), Diagnostic("b"))
    assert found.exit_code == 1


EVERYWHERE = """\
[htpp]
[http]
lisen = "127.0.0.1:0"
[workload.kv]
compnent = "kv.wasm"
instances = { max = "many" }
trigger.http = { paht = "/" }
[workload.kv.import.cache]
backend = "memory"
max_entries = "many"
[workload.kv.import.store]
bakend = "memory"
[workload.gone]
component = "gone.wasm"
trigger.cron = { shedule = "0 3 * * *" }
default."wasi:keyvalue" = { backend = "memory", max_entrys = 3 }
"""


@pytest.mark.parametrize("command", ["check", "run", "doctor"])
def test_all_that_is_wrong_is_said_at_once(cli: Cli, home: Path, command: str) -> None:
    (home / "host.toml").write_text(EVERYWHERE)
    ended = cli(command)
    assert ended.code == 2
    said = ended.err + ended.out
    lines = [int(line) for line in re.findall(r"at: host\.toml:([0-9]+)", said)]
    assert lines == [1, 3, 5, 6, 7, 10, 12, 14, 15, 16], said


def test_what_follows_from_a_mistake_is_not_another(cli: Cli, home: Path) -> None:
    (home / "host.toml").write_text(
        '[workload.kv]\ncompnent = "kv.wasm"\n[workload.kv.imprt.cache]\nbackend = "memory"\n'
        '[workload.kv.import.store]\nbackend = "memory"\neviction = "lur"\n'
    )
    lines = re.findall(r"at: host\.toml:([0-9]+)", refused(cli("check"), problems=3))
    assert lines == ["2", "3", "7"]
    (home / "host.toml").write_text(
        'plugins = ["gone.py"]\n[mine]\n[workload.kv]\ncomponent = "kv.wasm"\ntrigger.mine = {}\n'
    )
    assert "gone.py" in refused(cli("check"))
    (home / "gone.py").write_text("import no_such_library\n")
    text = refused(cli("check"))
    assert text.startswith("error: plugin 'gone' cannot be used\n")
    assert "no_such_library" in text
