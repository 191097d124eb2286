"""``doctor``, ``plugins`` and ``check --connect``: what is wrong, with the line to type, and exit codes."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .conftest import GUESTS

Cli = Callable[..., Any]

SILENT = """
import anyio
from wasmplex.plugin import Backend, BackendProvider, SecretStr, Settings, hookimpl
from wasmplex.capabilities.keyvalue import KeyValueBackend

class Open(KeyValueBackend):
    def __init__(self, settings): self.settings = settings
    async def open_bucket(self, namespace, name): raise NotImplementedError
    async def has_bucket(self, namespace, name): return False
    async def close(self): pass
    async def probe(self): raise ConnectionRefusedError(f"{self.settings.url.get_secret_value()} refused")

class Keys(Settings):
    url: SecretStr

class Silent(BackendProvider):
    name, capability, settings, features = "silent", "keyvalue", Keys, frozenset({"increment"})
    async def open(self, settings, context): return Open(settings)

@hookimpl
def wasmplex_backends(): return [Silent()]
"""


CLOSED = """
from host_plugin_memory import MemoryMessagingProvider
from host_plugin_memory.broker import MemoryBroker
from wasmplex.plugin import ConfigError, hookimpl

class Full(MemoryBroker):
    async def examine(self, namespace, subscription):
        raise ConfigError(f"no room for {', '.join(subscription.subjects)}")

class Closed(MemoryMessagingProvider):
    name = "closed"
    async def open(self, settings, context): return Full(settings, self.features)

@hookimpl
def wasmplex_backends(): return [Closed()]
"""


def use_silent(home: Path, module: str = SILENT) -> None:
    (home / "silent.py").write_text(module)
    text = (home / "host.toml").read_text()
    silent = 'backend = "silent"\nurl = "redis://me:hunter2@db"'
    (home / "host.toml").write_text(
        'plugins = ["./silent.py"]\n' + text.replace('backend = "sqlite"\npath = "store.db"', silent)
    )


def test_all_is_well(cli: Cli) -> None:
    ended = cli("doctor")
    assert (ended.code, ended.err) == (0, "")
    for part in ("wasmtime", "host-plugin-sqlite==", "cache   memory", "store   sqlite", "all is well"):
        assert part in ended.out


def test_without_a_configuration_plugins_are_examined(cli: Cli, home: Path) -> None:
    (home / "host.toml").unlink()
    found = json.loads(cli("doctor", "--json").out)
    assert found["ok"] is True
    assert found["backends"] == []
    assert {"memory", "sqlite"} <= {plugin["name"] for plugin in found["plugins"]}


def test_a_backend_that_does_not_answer(cli: Cli, home: Path) -> None:
    use_silent(home)
    ended = cli("doctor")
    assert ended.code == 1
    assert "error: backend 'silent' does not answer" in ended.err
    assert "because: ConnectionRefusedError" in ended.err
    assert "try: check that it is up" in ended.err
    assert "hunter2" not in ended.out + ended.err
    row = next(row for row in json.loads(cli("doctor", "--json").out)["backends"] if row["import"] == "store")
    assert (row["ok"], row["plugin"]) == (False, "plugin silent (silent.py)")
    assert " silent (silent.py) " in ended.out
    assert "plugin silent" not in ended.out


def test_how_workloads_are_run_is_said_where_it_is_not_as_usual(cli: Cli, home: Path) -> None:
    assert "is run with" not in cli("doctor").out.lower()
    (home / "host.toml").write_text("[engine]\noptimize = false\n" + (home / "host.toml").read_text())
    ended = cli("doctor")
    assert "IS RUN WITH" in ended.out
    assert "kv        bytes through strings" in ended.out
    assert json.loads(cli("doctor", "--json").out)["strategies"] == {"kv": "bytes through strings"}


def test_check_connect_asks_the_backends(cli: Cli, home: Path) -> None:
    use_silent(home)
    assert cli("check").code == 0
    ended = cli("check", "--connect")
    assert ended.code == 1
    assert "backend 'silent' does not answer" in ended.err
    assert "hunter2" not in ended.out + ended.err


def test_check_connect_says_what_would_keep_triggers_from_serving(cli: Cli, home: Path) -> None:
    """Each with its place, and the exit code that `run` has."""
    bucket = '{ backend = "memory", buckets = ["a"] }'
    (home / "host.toml").write_text(
        f'plugins = ["closed.py"]\n[workload.w]\ncomponent = "{GUESTS}/kvwatch.wasm"\n'
        'trigger.watch = { label = "watched", bucket = "b" }\n'
        f'import.watched = {bucket}\ndefault."wasi:keyvalue" = {bucket}\n'
        f'[workload.m]\ncomponent = "{GUESTS}/sink.wasm"\n'
        'trigger.messaging = { backend = "closed", subjects = ["orders.>"] }\n'
    )
    (home / "closed.py").write_text(CLOSED)
    assert cli("check").code == 0
    ended = cli("check", "--connect")
    assert (ended.code, ended.err.count("error: ")) == (2, 2), ended.err
    assert "error: the bucket 'b' cannot be watched: no-such-store\n  at: host.toml:4" in ended.err
    assert "error: no room for orders.>\n  at: host.toml:9 (workload.m.trigger.messaging)" in ended.err


COUNTING = """
import sys
from host_plugin_memory import MemoryProvider
from wasmplex.plugin import hookimpl

class Counting(MemoryProvider):
    name = "counting"
    async def open(self, settings, context):
        print("one is opened", file=sys.stderr)
        return await super().open(settings, context)

@hookimpl
def wasmplex_backends(): return [Counting()]
"""


@pytest.mark.parametrize("command", [("check", "--connect"), ("doctor",)], ids=" ".join)
def test_each_backend_is_opened_once(cli: Cli, home: Path, command: tuple[str, ...]) -> None:
    """What was asked stays open for what is linked: a server may have room for few connections."""
    text = (home / "host.toml").read_text().replace('"memory"', '"counting"')
    (home / "host.toml").write_text('plugins = ["counting.py"]\n' + text)
    (home / "counting.py").write_text(COUNTING)
    ended = cli(*command)
    assert ended.code == 0, ended.err
    assert ended.err.count("one is opened") == 1


def test_doctor_asks_what_check_connect_asks(cli: Cli, home: Path) -> None:
    """That backends answer is not enough where a broker has no room for a subscription."""
    (home / "host.toml").write_text(
        f'plugins = ["closed.py"]\n[workload.w]\ncomponent = "{GUESTS}/handler.wasm"\n'
        '[workload.w.import.audit]\nbackend = "memory"\n'
        '[workload.w.default."wasmcloud:keyvalue"]\nbackend = "memory"\n'
        '[workload.w.trigger.messaging]\nbackend = "closed"\nsubjects = ["a"]\n'
    )
    (home / "closed.py").write_text(CLOSED)
    checked, examined = cli("check", "--connect"), cli("doctor")
    assert (checked.code, examined.code) == (2, 2), checked.err
    assert "no room for a" in checked.err
    assert "no room for a" in examined.err
    assert "all is well" not in examined.out
    assert "trigger messaging" in examined.out, "it says what each backend is for"


def test_all_backends_that_do_not_answer_are_said_at_once(cli: Cli, home: Path) -> None:
    text = (home / "host.toml").read_text().replace("store.db", "no/such/directory/a.db")
    second = text.partition("[workload.kv.import.store]")[2].replace("a.db", "b.db")
    text = text.replace('backend = "memory"\n', second)
    (home / "host.toml").write_text(text)
    for command in (("check", "--connect"), ("doctor",)):
        ended = cli(*command)
        assert ended.code == 1
        assert ended.err.count("error: ") == 2, ended.err
        assert "import.cache" in ended.err
        assert "import.store" in ended.err


@pytest.mark.parametrize("secret", ["", "me:hunter2@", "hunter2@"])
def test_the_server_of_a_url_from_the_environment_is_named(
    cli: Cli, home: Path, monkeypatch: pytest.MonkeyPatch, secret: str
) -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))  # nobody listens there
        server = f"127.0.0.1:{sock.getsockname()[1]}"
        monkeypatch.setenv("STORE_URL", f"nats://{secret}{server}")
        text = (home / "host.toml").read_text()
        url = 'backend = "nats"\nurl = { env = "STORE_URL" }'
        (home / "host.toml").write_text(text.replace('backend = "memory"', url))
        for command in (("check", "--connect"), ("doctor",)):
            ended = cli(*command)
            assert ended.code == 1
            assert f"cannot open the NATS store at nats://{server}\n" in ended.err
            assert "hunter2" not in ended.out + ended.err


def test_a_broken_plugin_is_shown_with_its_cause(cli: Cli, home: Path) -> None:
    use_silent(home, "import no_such_library")
    ended = cli("doctor")
    assert ended.code == 2
    assert "No module named 'no_such_library'" in ended.out + ended.err
    assert "WASMPLEX_DISABLE_PLUGINS=silent" in ended.err


def test_a_configuration_that_is_wrong(cli: Cli, home: Path) -> None:
    (home / "host.toml").write_text((home / "host.toml").read_text().replace('"memory"', '"memroy"'))
    ended = cli("doctor")
    assert ended.code == 2
    assert "did you mean 'memory'" in ended.err
    assert "host-plugin-memory==" in ended.out


@pytest.mark.parametrize(
    "args", [("plugins", "list"), ("plugins", "list", "--json"), ("plugins", "show", "memory")]
)
def test_listing_plugins_imports_none_and_showing_one_imports_one(args: tuple[str, ...]) -> None:
    code = (
        "import sys; from wasmplex.cli.dispatch import run; run(sys.argv[1:]);"
        "print([m for m in sys.modules if m.startswith('host_plugin_')], file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *args], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stderr.strip() == ("['host_plugin_memory']" if "show" in args else "[]")
