"""What plugins may do wrong, and what becomes of it: the host stays up and says whose mistake it is."""

from __future__ import annotations

import importlib.util
import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import anyio
import pytest
import wasmplex.testing
from wasmplex import binding
from wasmplex.errors import BackendError, PluginError, WasmplexError
from wasmplex.host import Host
from wasmplex.values import Err

pytestmark = pytest.mark.anyio

GUESTS = Path(__file__).parents[2] / "tests" / "guests" / "built"
CONFIG = f"""
[workload.kv]
component = "{GUESTS}/kv.wasm"
[workload.kv.import.cache]
backend = "memory"
[workload.kv.import.store]
backend = "bad"
"""
FORWARD = f"""
[workload.kv]
component = "{Path(wasmplex.testing.__file__).parent}/guests/keyvalue-labelled.wasm"
[workload.kv.import.kit]
backend = "bad"
"""
BACKEND = """
import anyio, asyncio, time
from wasmplex.capabilities.keyvalue import Bucket, KeyValueBackend, Page
from wasmplex.plugin import BackendProvider, InterfaceProvider, hookimpl

class Good(Bucket):
    async def get(self, key): return None
    async def set(self, key, value, *, ttl_ms=None, if_not_exists=False): pass
    async def delete(self, key): pass
    async def list_keys(self, prefix, cursor, limit): return Page([])

class Open(KeyValueBackend):
    bucket = Good
    async def open_bucket(self, namespace, name): return self.bucket()
    async def has_bucket(self, namespace, name): return False
    async def close(self): pass

class Bad(BackendProvider):
    name, capability, features = "bad", "keyvalue", frozenset({"increment"})
    async def open(self, settings, context): return Open()

@hookimpl
def wasmplex_backends(): return [Bad()]
"""


@pytest.fixture
def plugin(tmp_path: Path) -> Iterator[Any]:
    """Write a plugin's code and import it as a module of its own."""
    made: list[str] = []

    def make(change: str = "") -> ModuleType:
        path = tmp_path / "bad_plugin.py"
        path.write_text(BACKEND + change)
        spec = importlib.util.spec_from_file_location("bad_plugin", path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules["bad_plugin"] = module
        made.append("bad_plugin")
        spec.loader.exec_module(module)
        return module

    yield make
    for name in made:
        sys.modules.pop(name, None)


def host(tmp_path: Path, module: object, config: str = CONFIG, **options: Any) -> Host:
    (tmp_path / "host.toml").write_text(config)
    return Host.from_config(tmp_path / "host.toml", plugins=[module], **options)


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        ("async def get(self, key): raise RuntimeError('wings fell off')\nGood.get = get", "RuntimeError"),
        ("async def get(self, key): return 'text'\nGood.get = get", "TypeError"),
        ("async def get(self, key): return 1 / 0\nGood.get = get", "ZeroDivisionError"),
    ],
)
async def test_an_operation_that_goes_wrong_is_a_typed_error_for_the_guest(
    tmp_path: Path, plugin: Any, caplog: pytest.LogCaptureFixture, change: str, cause: str
) -> None:
    async with host(tmp_path, plugin(change), FORWARD) as running:
        for _ in range(2):  # the workload lives on
            with pytest.raises(Err) as caught:
                await running.call("kv", "tests:guests/forward#get", "bucket", "k")
            assert cause in str(caught.value.value)
            assert "wings" not in str(caught.value.value)
    assert "plugin bad_plugin (in process): key-value get failed with an untyped error" in caplog.text


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        ("async def open(self, settings, context): raise OSError('no')\nBad.open = open", "OSError: no"),
        ("async def open(self, settings, context): return 5\nBad.open = open", "returned int"),
        ("async def open(self, settings, context): raise SystemExit(3)\nBad.open = open", "SystemExit"),
    ],
)
async def test_opening_that_goes_wrong(tmp_path: Path, plugin: Any, change: str, cause: str) -> None:
    with pytest.raises(BackendError) as caught:
        async with host(tmp_path, plugin(change)):
            pass
    text = caught.value.render()
    assert cause in text
    assert "in process" in text
    assert "host.toml" in text


@pytest.mark.parametrize("error", ["raise KeyError('x')", "raise SystemExit(1)"])
async def test_closing_that_goes_wrong_is_logged(
    tmp_path: Path, plugin: Any, caplog: pytest.LogCaptureFixture, error: str
) -> None:
    async with host(tmp_path, plugin(f"async def close(self): {error}\nOpen.close = close")) as running:
        await running.call("kv", "run", "k")
    assert "backend bad failed to close" in caplog.text


PROVIDER = """
class Provider(InterfaceProvider):
    package, version, interfaces = "wasi:keyvalue", "0.2.0-draft", frozenset({"store", "atomics", "batch"})
    capability = "keyvalue"
    def bind(self, workload): %s
@hookimpl
def wasmplex_interfaces(): return [Provider()]
"""
SERVE = "def serve(self, request):"
CONTEXT = """
import contextlib
from wasmplex.plugin import BoundInterfaces
class Bound(BoundInterfaces):
    %s
@contextlib.asynccontextmanager
async def bound():
    %s
"""


@pytest.mark.parametrize(
    ("bind", "context", "cause"),
    [
        ("raise LookupError('lost')", "", "LookupError: lost"),
        ("return 5", "", "AttributeError"),
        ("return bound()", CONTEXT % (f"{SERVE} pass", "yield 5"), "which is no BoundInterfaces"),
        (
            "return bound()",
            CONTEXT % (f"{SERVE} pass", "await anyio.sleep(60); yield Bound()"),
            "did not return",
        ),
        ("return bound()", CONTEXT % (f"{SERVE} return 5", "yield Bound()"), "which is no mapping"),
        ("return bound()", CONTEXT % (f"{SERVE} raise KeyError('k')", "yield Bound()"), "KeyError: 'k'"),
        ("return bound()", CONTEXT % (f"async {SERVE} return {{}}", "yield Bound()"), "serve() is async"),
    ],
)
async def test_an_interface_that_goes_wrong_is_named(
    tmp_path: Path, plugin: Any, monkeypatch: pytest.MonkeyPatch, bind: str, context: str, cause: str
) -> None:
    monkeypatch.setattr(binding, "_TIMEOUT", 0.2)
    with pytest.raises(PluginError) as caught:
        async with host(tmp_path, plugin(context + PROVIDER % bind)):
            pass
    assert cause in caught.value.render()
    assert "plugin bad_plugin (in process)" in caught.value.render()


async def test_a_host_function_that_raises_is_blamed_on_its_plugin(
    tmp_path: Path, plugin: Any, caplog: pytest.LogCaptureFixture
) -> None:
    change = CONTEXT % (f"{SERVE} return Functions()", "yield Bound()") + PROVIDER % "return bound()"
    change += """
def fails(*args): raise RuntimeError("wings fell off")
class Functions(dict):
    def __contains__(self, name): return True
    def __getitem__(self, name): return fails
    def get(self, name, default=None): return fails
"""
    async with host(tmp_path, plugin(change)) as running:
        with pytest.raises(WasmplexError):
            await running.call("kv", "run", "k")
    (record,) = [r for r in caplog.records if r.name == "wasmplex.host" and r.levelno == logging.ERROR]
    assert record.getMessage().startswith("plugin bad_plugin (in process): ")


async def test_a_plugin_that_blocks_the_loop_is_named_in_development(
    tmp_path: Path, plugin: Any, caplog: pytest.LogCaptureFixture
) -> None:
    change = """
async def get(self, key):
    end = time.monotonic() + 0.6
    while time.monotonic() < end: pass
Good.get = get
"""
    async with host(tmp_path, plugin(change), dev=True) as running:
        await anyio.sleep(0.1)
        await running.call("kv", "run", "k")
        await anyio.sleep(0.1)
    lines = [line for line in caplog.messages if "blocks the event loop" in line and "bad_plugin" in line]
    assert lines[0].startswith("plugin bad_plugin (in process) blocks the event loop")
    assert "bad_plugin.py" in lines[0]


async def test_a_task_that_is_left_running_is_named_and_ended(
    tmp_path: Path, plugin: Any, caplog: pytest.LogCaptureFixture
) -> None:
    change = """
async def forever():
    while True: await anyio.sleep(0.01)
async def open(self, settings, context):
    self.task = asyncio.create_task(forever(), name="left over")
    return Open()
Bad.open = open
"""
    module = plugin(change)
    async with host(tmp_path, module):
        pass
    assert "plugin bad_plugin (in process) left a task running: left over; it is cancelled" in caplog.text
