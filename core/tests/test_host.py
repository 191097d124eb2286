"""A host from a configuration file: real guest, real backends, calls, errors, closing."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import anyio
import pytest
from host_plugin_memory import MemoryProvider, MemorySettings
from wasmplex.errors import BackendError, PluginError, UsageError, WasmplexError
from wasmplex.host import Host

pytestmark = pytest.mark.anyio

GUESTS = Path(__file__).parents[2] / "tests" / "guests" / "built"
KV = f"""
[workload.kv]
component = "{GUESTS}/kv.wasm"
[workload.kv.import.cache]
backend = "memory"
[workload.kv.import.store]
backend = "sqlite"
path = "store.db"
"""


def write(directory: Path, text: str) -> Path:
    path = directory / "host.toml"
    path.write_text(text)
    return path


async def test_each_label_reaches_its_own_backend(tmp_path: Path) -> None:
    async with Host.from_config(write(tmp_path, KV)) as host:
        assert await host.call("kv", "run", "k1") == "none"
        statistics = host.statistics()
        assert statistics is not None
        assert statistics.total.open == 2
    assert statistics.providers.keys() == {"memory", "sqlite"}
    with sqlite3.connect(tmp_path / "store.db") as db:
        assert db.execute("select count(*) from sqlite_master").fetchone()[0] > 0
    db.close()


async def test_an_instance_is_reused_and_all_are_gone_afterwards(tmp_path: Path) -> None:
    async with Host.from_config(write(tmp_path, KV)) as host:
        workload = host.workload("kv")
        for _ in range(5):
            await host.call("kv", "run", "k1")
        assert workload.statistics().created == 1
    assert workload.statistics().live == 0


async def test_calls_run_side_by_side_in_instances_of_their_own(tmp_path: Path) -> None:
    async with Host.from_config(write(tmp_path, KV)) as host:
        async with anyio.create_task_group() as tasks:
            for n in range(20):
                tasks.start_soon(host.call, "kv", "run", f"k{n}")
        assert 1 < host.workload("kv").statistics().created <= 20


async def test_everything_wrong_is_reported_at_once(tmp_path: Path) -> None:
    text = KV.replace("import.store", "import.stroe").replace('"memory"', '"memroy"')
    (tmp_path / "core.wasm").write_bytes(b"\0asm\1\0\0\0")
    text += '[workload.other]\ncomponent = "core.wasm"\n'
    with pytest.raises(UsageError) as caught:
        async with Host.from_config(write(tmp_path, text)):
            pass
    text = caught.value.render()
    for part in ("stroe", "did you mean 'memory'", "core.wasm", "wasm-tools component new"):
        assert part in text


async def test_a_backend_that_cannot_be_opened_closes_what_was(tmp_path: Path) -> None:
    text = KV.replace("store.db", "no/such/directory/store.db")
    host = Host.from_config(write(tmp_path, text))
    with pytest.raises(BackendError) as caught:
        async with host:
            pass
    assert caught.value.exit_code == 1
    assert "host.toml" in caught.value.render()
    statistics = host.statistics()
    assert statistics is not None
    assert statistics.total.open == 0


async def test_an_unknown_workload_or_export_is_named(tmp_path: Path) -> None:
    async with Host.from_config(write(tmp_path, KV)) as host:
        with pytest.raises(UsageError, match=r"no workload 'kvs'.*\n.*did you mean 'kv'"):
            await host.call("kvs", "run", "k")
        with pytest.raises(WasmplexError, match="rum"):
            await host.call("kv", "rum", "k")


async def test_without_a_trigger_serve_waits_for_stop(tmp_path: Path) -> None:
    stop, started = anyio.Event(), anyio.Event()
    async with Host.from_config(write(tmp_path, KV)) as host, anyio.create_task_group() as tasks:

        async def serve() -> None:
            await host.serve(stop, started=started.set)

        tasks.start_soon(serve)
        await started.wait()
        stop.set()


TICK = """
import sys
from wasmplex.plugin import ExportAdapter, Trigger, hookimpl

class Tick(Trigger):
    name = "tick"
    def start(self, bindings, settings, sockets):
        {body}

class Adapter(ExportAdapter):
    trigger = "tick"
    interface = "wasi:http/incoming-handler@0.2.12"
    def adapt(self, export):
        async def handler(): pass
        return handler

@hookimpl
def wasmplex_triggers(): return [Tick()]
@hookimpl
def wasmplex_export_adapters(): return [Adapter()]
"""


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("raise LookupError('no clock')", r"its method start\(\) raised LookupError: no clock"),
        ("sys.exit(3)", r"its method start\(\) raised SystemExit: 3"),
        ("pass", r"its method start\(\) returned a value of type NoneType, not a RunningTrigger"),
        ("return Tick", r"its method start\(\) returned a value of type ABCMeta, not a RunningTrigger"),
    ],
)
async def test_a_trigger_that_cannot_be_started_is_named_with_its_plugin(
    tmp_path: Path, body: str, why: str
) -> None:
    (tmp_path / "ticking.py").write_text(TICK.format(body=body))
    text = (
        f"plugins = ['./ticking.py']\n[workload.w]\ncomponent = '{GUESTS}/hello.wasm'\ntrigger.tick = {{}}\n"
    )
    async with Host.from_config(write(tmp_path, text)) as host:
        with pytest.raises(PluginError, match=why) as raised:
            await host.serve(anyio.Event())
    assert "trigger 'tick' cannot be started" in str(raised.value)
    assert "ticking.py" in str(raised.value)


class Counted(MemoryProvider):
    name = "counted"


@pytest.mark.parametrize(
    ("settings", "kept"),
    [("", 0), ('backend_idle_ttl = "1h"', 3), ('backend_idle_ttl = "1h"\nbackend_max_idle = 1', 1)],
)
async def test_backends_without_a_binding_are_kept_as_the_configuration_says(
    tmp_path: Path, settings: str, kept: int
) -> None:
    provider = Counted()
    async with Host.from_config(write(tmp_path, f"[host]\n{settings}\n{KV}")) as host:
        assert host._pool is not None
        for size in (1, 2, 3):
            async with host._pool.lease(provider, MemorySettings(max_entries=size)):
                pass
        await anyio.wait_all_tasks_blocked()
        statistics = host.statistics()
        assert statistics is not None
        assert statistics.providers["counted"].open == kept
    statistics = host.statistics()
    assert statistics is not None
    assert statistics.total.open == 0
