"""Whatever is wrong with what it is given, `wasmplex run` says so in a few lines, and leaves nothing open."""

import asyncio
import contextlib
import gc
import os
import socket
import subprocess
import threading
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

import anyio
import guests
import pytest
import wasmtime
from host_plugin_memory import MemoryProvider
from serving import COMMAND, serving
from wasmplex.capabilities.keyvalue import KeyValueBackend
from wasmplex.errors import BackendError, ComponentError, FailureError, LinkError, WasmplexError
from wasmplex.host import Host
from wasmplex.plugin import BackendProvider, OpenContext, Settings
from wasmplex.testing import Faulty, plugin

pytestmark = pytest.mark.anyio

WORKERS = ("AnyIO worker", "asyncio_")
CONFIG = """\
[http]
listen = "127.0.0.1:0"

[workload.shop]
component = "shop.wasm"
trigger.http = { path = "/" }

[workload.shop.import.cache]
backend = "memory"

[workload.shop.import.store]
backend = "sqlite"
path = "store.db"
"""


class Ended(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "host.toml").write_text(CONFIG)
    (tmp_path / "shop.wasm").write_bytes(guests.component("kvhttp"))
    return tmp_path


def change(home: Path, old: str, new: str) -> None:
    path = home / "host.toml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def wasmplex(home: Path, *args: str, env: dict[str, str] | None = None) -> Ended:
    everything = {**os.environ, **(env or {})}
    done = subprocess.run(
        [COMMAND, *args], cwd=home, env=everything, capture_output=True, text=True, timeout=50
    )
    return Ended(done.returncode, done.stdout, done.stderr)


def refused(
    home: Path, code: int = 2, problems: int = 1, env: dict[str, str] | None = None, lines: int = 5
) -> str:
    """Run the host, which has to refuse, and return what it said."""
    ended = wasmplex(home, "run", env=env)
    assert ended.code == code, ended.err
    assert ended.out == ""
    assert "Traceback" not in ended.err
    assert ended.err.count("error: ") == problems, ended.err
    assert len(ended.err.splitlines()) <= lines * problems, ended.err
    assert not [*home.glob("store.db-*")], "the database was left open"
    return ended.err


# ---------------------------------------------------------------- components


def test_a_component_that_is_missing(home: Path) -> None:
    (home / "shop.wasm").rename(home / "shoop.wasm")
    said = refused(home)
    assert 'component = "shop.wasm" cannot be used' in said
    assert "'shoop.wasm'" in said


@pytest.mark.parametrize("share", [0.001, 0.1, 0.5, 0.99])
def test_a_component_that_is_cut_off(home: Path, share: float) -> None:
    whole = guests.component("kvhttp")
    (home / "shop.wasm").write_bytes(whole[: int(len(whole) * share)])
    assert "shop.wasm" in refused(home)


def test_a_core_module(home: Path) -> None:
    (home / "shop.wasm").write_bytes(wasmtime.wat2wasm("(module)"))
    assert "core WebAssembly module" in refused(home)


def test_a_component_that_does_not_compile(home: Path) -> None:
    """Its types can be read, and what is wrong with its code comes to light late, with the backends open."""
    (home / "shop.wasm").write_bytes(uncompilable())
    assert "shop" in refused(home)


def uncompilable() -> bytes:
    """Return a component whose function in the core leaves nothing where it owes a number."""
    whole = guests.component("kvhttp")
    text = b"(component (core module (func (result i32) i32.const 77)))"
    valid = bytes(wasmtime.wat2wasm(text))
    at = valid.index(b"\x41\xcd\x00\x0b")  # i32.const 77, end
    broken = valid[:at] + b"\x01\x01\x01\x0b" + valid[at + 4 :]  # nop, nop, nop, end
    return whole + broken[8:]  # a component's sections may follow one another in any order


# ---------------------------------------------------------------- bindings


def test_an_import_that_nobody_serves(home: Path) -> None:
    text = '(component (import "demo:a/b@1.0.0" (instance (export "f" (func)))))'
    (home / "shop.wasm").write_bytes(guests.component("kvhttp") + bytes(wasmtime.wat2wasm(text))[8:])
    said = refused(
        home, lines=9
    )  # its type is the first of the component: the store's, as that of a stand-in
    assert "demo:a/b@1.0.0" in said
    assert '[workload.shop.import.b]\n      from = "demo:a/b@1.0.0"' in said


def test_a_label_without_a_binding(home: Path) -> None:
    change(home, '[workload.shop.import.cache]\nbackend = "memory"\n', "")
    assert "cache" in refused(home)


def test_a_binding_without_an_import(home: Path) -> None:
    change(home, "[workload.shop.import.store]", '[workload.shop.import.audit]\nbackend = "memory"\n\n'
           "[workload.shop.import.store]")  # fmt: skip
    assert "audit" in refused(home)


@pytest.mark.parametrize(
    ("old", "new", "nearest"),
    [
        ("listen =", "lisen =", "listen"),
        ("component =", "components =", "component"),
        ("path = \"store.db\"", "path = \"store.db\"\njurnal = 1", "host.toml:14"),
        ('"memory"', '"memry"', "memory"),
        ('"sqlite"\npath = "store.db"', '"sqllite"', "sqlite"),
        ("trigger.http", "trigger.htp", "http"),
    ],
)  # fmt: skip
def test_an_unknown_name(home: Path, old: str, new: str, nearest: str) -> None:
    change(home, old, new)
    said = refused(home)
    assert nearest in said
    assert not (home / "store.db").exists(), "nothing is opened for a configuration that is wrong"


# ---------------------------------------------------------------- what only opening shows


def test_a_backend_that_cannot_be_opened(home: Path) -> None:
    change(home, '"store.db"', '"no/such/directory/store.db"')
    said = refused(home, code=1)
    assert "sqlite" in said
    assert "host.toml:11" in said


def test_a_file_that_is_no_database(home: Path) -> None:
    (home / "store.db").write_bytes(b"certainly not a database" * 100)
    assert "sqlite" in refused(home, code=1)


def test_a_port_in_use(home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        change(home, "127.0.0.1:0", address)
        said = refused(home)
    assert address in said
    assert "in use" in said


# ---------------------------------------------------------------- plugins


@pytest.fixture
def broken(home: Path) -> dict[str, str]:
    """A plugin that raises when it is imported, installed; returns the environment that has it."""
    packages = home / "packages"
    info = packages / "host_plugin_broken-1.0.dist-info"
    info.mkdir(parents=True)
    (packages / "host_plugin_broken.py").write_text("raise RuntimeError('wings fell off')\n")
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: host-plugin-broken\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[wasmplex.plugins]\nbroken = host_plugin_broken\n")
    return {"PYTHONPATH": os.pathsep.join(filter(None, (str(packages), os.environ.get("PYTHONPATH"))))}


def test_a_plugin_that_raises_when_it_is_imported(home: Path, broken: dict[str, str]) -> None:
    change(home, '"memory"', '"broken"')
    said = refused(home, env=broken)
    assert "wings fell off" in said
    assert "host-plugin-broken" in said


def test_a_broken_plugin_that_is_not_named_stops_nobody(home: Path, broken: dict[str, str]) -> None:
    with (
        serving(home / "host.toml", **broken) as url,
        urllib.request.urlopen(f"{url}/k", timeout=30) as answer,
    ):
        assert answer.status == 200
    listed = wasmplex(home, "plugins", env=broken)
    assert listed.code == 0
    (line,) = [line for line in listed.out.splitlines() if line.startswith("broken ")]
    assert "failed" in line
    assert "wings fell off" in line


# ---------------------------------------------------------------- everything opened is closed


class Counted(BackendProvider[Settings]):
    """A key-value backend that knows how often it was opened and closed."""

    capability = "keyvalue"
    name = "counted"
    settings = Settings
    features = MemoryProvider.features

    def __init__(self) -> None:
        self.opened = self.closed = 0

    async def open(self, settings: Settings, context: OpenContext) -> KeyValueBackend:
        memory = await MemoryProvider().open(MemoryProvider.settings(), context)
        close = memory.close

        async def count() -> None:
            self.closed += 1
            await close()

        memory.close = count  # type: ignore[method-assign]
        self.opened += 1
        return memory


@pytest.fixture
def counted(home: Path) -> Counted:
    change(home, '"memory"', '"counted"')
    return Counted()


def held() -> set[str]:
    """Return the files, sockets and threads of this process, without those of the event loop."""
    found: set[str] = set()
    sockets = 0
    for entry in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            name = str(entry.readlink())
            # Sockets by how many there are: uvloop has two, others each time it is run.
            sockets += name.startswith("socket:")
            found.add(f"socket {sockets}" if name.startswith("socket:") else name)
    found |= {thread.name for thread in threading.enumerate()}
    return {name for name in found if not name.startswith(("anon_inode:", "pipe:", "/proc/", *WORKERS))}


@pytest.fixture
async def _leaves_nothing(counted: Counted) -> AsyncIterator[None]:
    """Compare threads and open files before and after the test."""
    before = held()
    yield
    assert counted.opened == counted.closed == 1
    gc.collect()  # the frames of the exception hold what was local to them
    with anyio.move_on_after(5):  # a thread ends a little after it has said that it does
        while held() - before:  # noqa: ASYNC110  nobody tells when a thread has ended
            await anyio.sleep(0.01)
    assert not held() - before


async def fails(home: Path, error: type[WasmplexError], *plugins: object) -> None:
    async def serve() -> None:
        async with Host.from_config(home / "host.toml", plugins=plugins) as host:
            await host.serve()

    tasks = asyncio.all_tasks()
    with pytest.raises(error), anyio.fail_after(30):
        await serve()
    assert asyncio.all_tasks() <= tasks


@pytest.mark.usefixtures("_leaves_nothing")
async def test_a_backend_is_closed_if_another_does_not_open(home: Path, counted: Counted) -> None:
    faulty = Faulty(MemoryProvider())
    faulty.at("open", BackendError("it is down"))
    change(home, '"sqlite"\npath = "store.db"', '"faulty"')
    await fails(home, BackendError, counted, plugin(faulty))


@pytest.mark.usefixtures("_leaves_nothing")
async def test_backends_are_closed_if_the_component_does_not_compile(home: Path, counted: Counted) -> None:
    (home / "shop.wasm").write_bytes(uncompilable())
    await fails(home, ComponentError, counted)


@pytest.mark.usefixtures("_leaves_nothing")
async def test_backends_are_closed_if_an_import_has_another_type(home: Path, counted: Counted) -> None:
    text = '(component (import "wasi:random/random@0.2.3" (instance (export "get-random-u64" (func)))))'
    (home / "shop.wasm").write_bytes(guests.component("kvhttp") + bytes(wasmtime.wat2wasm(text))[8:])
    await fails(home, LinkError, counted)


@pytest.mark.usefixtures("_leaves_nothing")
async def test_backends_are_closed_if_the_port_is_in_use(home: Path, counted: Counted) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        change(home, "127.0.0.1:0", f"127.0.0.1:{taken.getsockname()[1]}")
        await fails(home, FailureError, counted)
