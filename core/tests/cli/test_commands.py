"""What each command prints when all is well, and its own errors."""

from __future__ import annotations

import json
import sqlite3
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest
from wasmplex.cli.root import root
from wasmplex.component import read

from .conftest import GUESTS

Cli = Callable[..., Any]

STORE = "wasi:keyvalue/store@0.2.0-draft"


def ok(ended: Any) -> str:
    assert (ended.code, ended.err) == (0, "")
    return str(ended.out)


# ------------------------------------------------------------ help


def every_command() -> list[str]:
    context = click.Context(root)
    names = []
    for name in root.list_commands(context):
        command = root.get_command(context, name)
        names.append(name)
        if isinstance(command, click.Group):
            names += [f"{name} {inner}" for inner in command.commands]
    return names


def test_the_commands_are_those_that_were_promised(cli: Cli) -> None:
    promised = {
        "run",
        "check",
        "explain",
        "inspect",
        "label",
        "invoke",
        "plugins",
        "plugins list",
        "plugins show",
        "doctor",
        "new plugin",
    }
    assert promised <= set(every_command())
    text = ok(cli("--help"))
    assert all(f"  {name} " in text for name in promised if " " not in name)


@pytest.mark.parametrize("name", every_command())
def test_every_help_text_has_an_example(cli: Cli, name: str) -> None:
    text = ok(cli(*name.split(), "--help"))
    _, _, examples = text.partition("\nExample")
    assert "...\n" not in text.partition("\nCommands:\n")[2]  # what does not fit is cut off
    assert f"  wasmplex {name.split()[0]}" in examples


def test_version(cli: Cli) -> None:
    assert ok(cli("--version")).startswith("wasmplex 0.")


# ------------------------------------------------------------ import


SPIN = """\
spin_manifest_version = 2
application.name = "shop"
[[trigger.http]]
route = "/..."
component = "w"
[component.w]
source = "kv.wasm"
environment = { A = "a\\tb\\u001b[2J\\u0600\\U000E0041" }
"""
WASMCLOUD = """\
apiVersion: runtime.wasmcloud.dev/v1alpha1
kind: WorkloadDeployment
metadata: { name: shop }
spec: { template: { spec: { components: [{ name: w, image: kv.wasm }] } } }
"""


@pytest.mark.parametrize(("name", "manifest"), [("spin.toml", SPIN), ("w.yaml", WASMCLOUD)])
def test_import_prints_the_file_that_it_would_write(cli: Cli, home: Path, name: str, manifest: str) -> None:
    (home / name).write_text(manifest)
    printed, wrote = cli("import", name), cli("import", name, "-o", "made.toml")
    assert (printed.code, wrote.code) == (0, 0), printed.err
    assert len(printed.out.splitlines()) > 3
    assert tomllib.loads(printed.out) == tomllib.loads((home / "made.toml").read_text())
    assert printed.out.replace("\n", "").isprintable()


# ------------------------------------------------------------ check


def test_check_shows_who_serves_what(cli: Cli, home: Path) -> None:
    text = ok(cli("check"))
    lines = [line.split() for line in text.splitlines()]
    assert lines[0] == ["workload", "kv:", str(home / "kv.wasm")]
    assert lines[1][:4] == ["IMPORT", "INTERFACE", "SERVED", "BY"]
    assert lines[2][:4] == ["cache", STORE, "backend", "memory"]
    assert lines[2][-3:] == ["kv/cache", "host.toml:4", "(workload.kv.import.cache)"]
    assert lines[3][:4] == ["store", STORE, "backend", "sqlite"]
    assert text.endswith("ok: 1 workload\n")
    assert not (home / "store.db").exists()


def test_check_connects_if_asked(cli: Cli, home: Path) -> None:
    ok(cli("check", "host.toml", "--connect"))
    assert (home / "store.db").exists()


def test_check_in_json(cli: Cli, home: Path) -> None:
    said = json.loads(ok(cli("check", str(home), "--json")))
    assert said["ok"] is True
    (workload,) = said["workloads"]
    assert [(row["import"], row["interface"], row["served_by"]) for row in workload["imports"]] == [
        ("cache", STORE, "backend memory"),
        ("store", STORE, "backend sqlite"),
    ]
    assert workload["triggers"] == []


def test_check_tells_problems_in_json_and_nowhere_else(cli: Cli, home: Path) -> None:
    (home / "host.toml").write_text("[host]\nnmae = 1\n[engin]\n")
    ended = cli("check", "--json")
    said = json.loads(ended.out)
    assert ended.code == 2
    assert said["ok"] is False
    assert said["problems"][0] == {
        "what": 'unknown key "nmae"',
        "where": "host.toml:2 (host.nmae)",
        "why": "",
        "fix": "did you mean 'name'?",
    }
    assert ended.err == ""


@pytest.mark.parametrize(
    ("args", "what"),
    [
        (("explain", "none.toml", "cache"), 'the configuration "none.toml" cannot be read'),
        (("explain", "host.toml"), "the argument LABEL is missing"),
        (("inspect", "host.toml"), "this is not a component"),
        (("inspect", "kv.wasm", "--wit"), "--wit and --json exclude each other"),
        (("plugins", "show", "nope"), "no plugin 'nope' is installed"),
        (("messages", "dead", "host.toml", "kv"), "the workload 'kv' has no trigger.messaging"),
    ],
)
def test_what_is_wrong_is_json_alone(cli: Cli, args: tuple[str, ...], what: str) -> None:
    ended = cli(*args, "--json")
    said = json.loads(ended.out)
    assert (ended.code, ended.err, said["ok"]) == (2, "", False)
    assert [problem["what"] for problem in said["problems"]] == [what]


def test_a_trigger_is_shown(cli: Cli, home: Path) -> None:
    (home / "host.toml").write_text("[workload.hello]\ncomponent = 'hello.wasm'\ntrigger.http = {}\n")
    assert "trigger http calls wasi:http/incoming-handler@0.2.0" in ok(cli("check"))
    (trigger,) = json.loads(ok(cli("check", "--json")))["workloads"][0]["triggers"]
    assert (trigger["trigger"], trigger["plugin"]) == ("http", "wasmplex==0.1.0")


# ------------------------------------------------------------ explain


def test_explain_follows_an_import_to_its_end(cli: Cli, home: Path) -> None:
    rows = dict(line.split(None, 1) for line in ok(cli("explain", "host.toml", "store")).splitlines())
    assert rows["import"] == "store"
    assert rows["interface"] == STORE
    assert rows["binding"] == "host.toml:7 (workload.kv.import.store)"
    assert rows["backend"].startswith("sqlite  from host-plugin-sqlite==")
    assert rows["namespace"] == "kv/store"
    assert rows["path"] == "= store.db"


def test_explain_tells_the_namespace_once(cli: Cli, home: Path) -> None:
    text = (home / "host.toml").read_text()
    (home / "host.toml").write_text(
        text.replace('backend = "memory"', 'backend = "memory"\nnamespace = "mine"')
    )
    assert ok(cli("explain", "host.toml", "cache")).count("namespace") == 1


def test_explain_in_json_and_without_secrets(cli: Cli, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DB", "hunter2.db")
    text = (home / "host.toml").read_text().replace('"store.db"', '{ env = "DB" }')
    (home / "host.toml").write_text(text)
    said = ok(cli("explain", "host.toml", "kv/store", "--json"))
    assert "hunter2" not in said
    (step,) = json.loads(said)
    assert step["settings"] == {"path": '{ env = "DB" }'}
    assert step["backend"]["distribution"].startswith("host-plugin-sqlite==")
    assert "hunter2" not in ok(cli("explain", "host.toml", "store"))


def test_explain_of_a_backend_for_each_bucket(cli: Cli, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DB", "hunter2.db")
    two = 'buckets = { a = "memory", b = { backend = "sqlite", path = { env = "DB" } } }'
    (home / "host.toml").write_text((home / "host.toml").read_text().replace('backend = "memory"', two))
    (step,) = json.loads(ok(cli("explain", "host.toml", "cache", "--json")))
    assert step["backend"] is None
    assert {name: one["settings"] for name, one in step["backends"].items()} == {
        "a": {},
        "b": {"path": '{ env = "DB" }'},
    }
    said = ok(cli("explain", "host.toml", "cache")) + ok(cli("check"))
    assert "opened as   b" in said
    assert "backend sqlite for b" in said
    assert "hunter2" not in said


def test_a_trigger_needs_a_bucket_that_has_a_backend(cli: Cli, home: Path) -> None:
    (home / "watch.wasm").symlink_to(GUESTS / "kvwatch.wasm")
    text = """
        [workload.w]
        component = "watch.wasm"
        trigger.watch = { label = "watched", bucket = "inbox" }
        default."wasi:keyvalue".backend = "memory"
        import.watched.buckets = { inbox = "memory", other = "memory" }
    """
    (home / "host.toml").write_text(text)
    assert "trigger watch calls wasi:keyvalue/watcher@0.2.0-draft, through watched" in ok(cli("check"))
    (home / "host.toml").write_text(text.replace('bucket = "inbox"', 'bucket = "inbx"'))
    ended = cli("check")
    assert ended.code == 2
    assert 'error: trigger.watch names "inbx", which has no backend' in ended.err
    assert "did you mean 'inbox'?" in ended.err


def test_explain_of_what_nobody_imports(cli: Cli) -> None:
    ended = cli("explain", "host.toml", "stroe")
    assert (ended.code, ended.err.splitlines()[0]) == (2, "error: no workload imports 'stroe'")
    assert "did you mean 'store'?" in ended.err


# ------------------------------------------------------------ inspect, label


def test_inspect(cli: Cli) -> None:
    assert ok(cli("inspect", "kv.wasm")) == (
        "imports:\n"
        "NAME   INTERFACE                        KIND      FUNCTIONS  RESOURCES\n"
        "cache  wasi:keyvalue/store@0.2.0-draft  instance  3          1\n"
        "store  wasi:keyvalue/store@0.2.0-draft  instance  2          1\n"
        "\n"
        "exports:\n"
        "NAME  KIND  FUNCTIONS\n"
        "run   func  1\n"
        "\n"
        "needs wasm proposals: component-model-implements\n"
    )


def test_inspect_as_wit_and_json(cli: Cli) -> None:
    assert f"import cache: {STORE.replace('/store', '/store')};" in ok(cli("inspect", "kv.wasm", "--wit"))
    said = json.loads(ok(cli("inspect", "kv.wasm", "--json")))
    assert [item["label"] for item in said["imports"]] == ["cache", "store"]


def test_label(cli: Cli, home: Path) -> None:
    ended = cli("label", "hello.wasm", "wasi:io/error@0.2.0=errors=demo:x/errors", "-o", "out.wasm")
    assert (ended.code, ended.out) == (0, "")
    assert ended.err == "out.wasm: errors implements demo:x/errors\n"
    imports = {item.name: item.implements for item in read((home / "out.wasm").read_bytes()).imports}
    assert imports["errors"] == "demo:x/errors"
    # In place, and without an interface: the label stands for what the import was.
    ended = cli("label", "out.wasm", "wasi:io/streams@0.2.0=streams", "-o", "out.wasm")
    assert ended.code == 0
    imports = {item.name: item.implements for item in read((home / "out.wasm").read_bytes()).imports}
    assert imports["streams"] == "wasi:io/streams@0.2.0"


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (["x"], "'x' is not OLD=LABEL or OLD=LABEL=INTERFACE"),
        (["a=b=c=d"], "'a=b=c=d' is not OLD=LABEL"),
        (["wasi:io/error@0.2.0=a", "wasi:io/error@0.2.0=b"], "'wasi:io/error@0.2.0' is given two labels"),
        (["wasi:io/eror@0.2.0=a"], "did you mean 'wasi:io/error@0.2.0'?"),
    ],
)
def test_labels_that_are_wrong(cli: Cli, home: Path, labels: list[str], said: str) -> None:
    ended = cli("label", "hello.wasm", *labels, "-o", "out.wasm")
    assert ended.code == 2
    assert said in ended.err
    assert not (home / "out.wasm").exists()


def test_label_writes_nothing_that_cannot_be_read(cli: Cli, home: Path) -> None:
    (home / "odd.wasm").write_bytes((home / "hello.wasm").read_bytes() + b"\7\2\1\xff")
    ended = cli("label", "odd.wasm", "wasi:io/error@0.2.0=a", "-o", "out.wasm")
    assert ended.code == 2
    assert not (home / "out.wasm").exists()


def test_label_leaves_nothing_behind_where_it_cannot_write(cli: Cli, home: Path) -> None:
    before = set(home.iterdir())
    ended = cli("label", "hello.wasm", "wasi:io/error@0.2.0=a", "-o", "no/out.wasm")
    assert (ended.code, ended.err) == (
        2,
        "error: no/out.wasm cannot be written\n  because: no such file or directory\n  try: mkdir -p no\n",
    )
    (home / "folder").mkdir()
    ended = cli("label", "hello.wasm", "wasi:io/error@0.2.0=a", "-o", "folder")
    assert ended.code == 2
    assert set(home.iterdir()) - before == {home / "folder"}


# ------------------------------------------------------------ plugins


def test_plugins(cli: Cli) -> None:
    lines = [line.split() for line in ok(cli("plugins", "list")).splitlines()]
    assert lines[0][:4] == ["NAME", "STATE", "DISTRIBUTION", "VERSION"]
    assert ["memory", "available", "host-plugin-memory", "0.1.0", "backend", "memory"] in lines
    said = {row["name"]: row for row in json.loads(ok(cli("plugins", "--json")))}
    assert said["sqlite"]["state"] == "ready"  # it was imported, to see whether it works
    assert said["check"]["builtin"] is True
    assert said["memory"]["capabilities"] == {"memory": ["keyvalue", "blobstore", "messaging"]}


def test_plugins_says_what_backends_are_for(cli: Cli, home: Path) -> None:
    listed, imported = ok(cli("plugins", "list")), ok(cli("plugins"))
    assert "\navailable: installed, not imported" in listed
    assert "backend memory (keyvalue, blobstore, messaging)\n" in imported
    assert imported.endswith("\nready: imported, and it works\n")
    (home / "host.toml").write_text(
        '[workload.kv]\ncomponent = "kv.wasm"\nimport.cache = { backend = "filesystem" }\n'
        'import.store = { backend = "memory" }\n'
    )
    said = cli("check").err
    assert "error: backend 'filesystem' is for blobstore, not for keyvalue\n" in said
    tried = said.partition("  try: one that is for keyvalue: ")[2].strip().split(", ")
    assert {"memory", "sqlite"} <= {*tried}
    assert not {"filesystem", "s3", "postgres"} & {*tried}


def test_plugins_show(cli: Cli) -> None:
    assert "backend memory: keyvalue" in ok(cli("plugins", "show", "memory"))
    assert ok(cli("plugins", "show", "host-plugin-memory")).startswith("name            memory\n")
    (said,) = json.loads(ok(cli("plugins", "--json", "show", "sqlite")))
    assert said["offers"] == {"wasmplex.plugins": ["sqlite"]}
    ended = cli("plugins", "show", "memroy")
    assert (ended.code, ended.err) == (
        2,
        "error: no plugin 'memroy' is installed\n  try: did you mean 'memory'?\n",
    )
    assert "did you mean" not in cli("plugins", "show", "invok").err  # which is a command


def test_no_plugins(cli: Cli) -> None:
    assert "disabled" in ok(cli("--no-plugins", "plugins"))
    ended = cli("--no-plugins", "check")
    assert ended.code == 2
    assert "disabled" in ended.err


# ------------------------------------------------------------ invoke

DIVIDE = """\
(component
  (core module $m
    (memory (export "memory") 1)
    (func (export "divide") (param i32 i32) (result i32)
      (if (i32.eqz (local.get 1))
        (then (i32.store8 (i32.const 0) (i32.const 1)) (i32.store (i32.const 4) (local.get 0)))
        (else
          (i32.store8 (i32.const 0) (i32.const 0))
          (i32.store (i32.const 4) (i32.div_s (local.get 0) (local.get 1)))))
      (i32.const 0))
    (func (export "add") (param i32 i32 i32) (result i32)
      (i32.add (local.get 0) (i32.mul (local.get 1) (local.get 2))))
    (func (export "trap") unreachable))
  (core instance $i (instantiate $m))
  (func (export "divide") (param "a" s32) (param "b" s32) (result (result s32 (error s32)))
    (canon lift (core func $i "divide") (memory (core memory $i "memory"))))
  (func $add (param "a" s32) (param "b" (option s32)) (result s32) (canon lift (core func $i "add")))
  (func (export "trap") (canon lift (core func $i "trap")))
  (instance $api (export "add" (func $add)))
  (export "demo:calc/api@1.0.0" (instance $api))
)
"""


@pytest.fixture
def calc(home: Path) -> None:
    import wasmtime

    (home / "calc.wasm").write_bytes(wasmtime.wat2wasm(DIVIDE))
    (home / "host.toml").write_text("[workload.calc]\ncomponent = 'calc.wasm'\n")


@pytest.mark.usefixtures("calc")
@pytest.mark.parametrize(
    ("args", "code", "out"),
    [
        (["divide", "7", "2"], 0, "ok(3)\n"),
        (["divide", "-7", "2"], 0, "ok(-3)\n"),
        (["divide", "7", "0"], 1, "err(7)\n"),
        (["add", "1", "some(2)"], 0, "3\n"),
        (["add", "1", "2"], 0, "3\n"),
        (["add", "1"], 0, "1\n"),
        (["demo:calc/api@1.0.0#add", "1", "none"], 0, "1\n"),
    ],
)
def test_invoke(cli: Cli, args: list[str], code: int, out: str) -> None:
    ended = cli("invoke", "host.toml", "calc", *args)
    assert (ended.code, ended.out, ended.err) == (code, out, "")


@pytest.mark.usefixtures("calc")
@pytest.mark.parametrize(
    ("args", "said"),
    [
        (
            ["divide", "x", "9999999999"],
            (
                "error: argument 1 of divide is not a s32\n"
                "  at: a, column 1\n"
                "  because: a whole number (s32) is wanted, not 'x'\n"
                "error: argument 2 of divide is not a s32\n"
                "  at: b, column 1\n"
                "  because: 9999999999 is out of range for s32: -2147483648 to 2147483647\n"
            ),
        ),
        (
            ["divide", "1"],
            "error: divide takes 2 arguments, not 1\n  because: it is divide(a: s32, b: s32)\n",
        ),
        (["divid"], "error: the component exports no function 'divid'\n  try: did you mean 'divide'?\n"),
    ],
)
def test_invoke_with_what_does_not_fit(cli: Cli, args: list[str], said: str) -> None:
    ended = cli("invoke", "host.toml", "calc", *args)
    assert (ended.code, ended.out, ended.err) == (2, "", said)


@pytest.mark.usefixtures("calc")
def test_invoke_of_what_traps(cli: Cli) -> None:
    ended = cli("invoke", "host.toml", "calc", "trap")
    assert ended.code == 1
    assert ended.err.startswith("error: ")
    assert len(ended.err.splitlines()) <= 5


def test_invoke_reaches_the_backends(cli: Cli, home: Path) -> None:
    ended = cli("invoke", "host.toml", "kv", "run", '"key"')
    assert (ended.code, ended.out, ended.err) == (0, '"none"\n', "")
    with sqlite3.connect(home / "store.db") as db:
        assert db.execute("select count(*) from sqlite_master").fetchone()[0] > 0
    db.close()


def test_invoke_says_how_text_is_quoted(cli: Cli) -> None:
    ended = cli("invoke", "host.toml", "kv", "run", "key")
    assert ended.code == 2
    assert ended.err.endswith("""  try: '"key"'\n""")


def test_invoke_of_an_unknown_workload(cli: Cli) -> None:
    ended = cli("invoke", "host.toml", "vk", "run")
    assert (ended.code, ended.err.splitlines()[0]) == (2, "error: there is no workload 'vk'")


# ------------------------------------------------------------ wasm proposals


def test_proposals_from_file_environment_and_command_line(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    ok(cli("check", "--wasm-proposal", "threads,-GC", "--wasm-proposal", "tail_call"))
    ended = cli("check", "--wasm-proposal", "thraeds,gcc")
    assert ended.code == 2
    assert "unknown wasm proposal 'thraeds'" in ended.err
    monkeypatch.setenv("WASMPLEX_WASM_PROPOSALS", "gc nonsense")
    assert "unknown wasm proposal 'nonsense'" in cli("check").err
