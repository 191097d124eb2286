"""The key-value doubles, as plugins of a host and by themselves."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest
from host_plugin_memory import MemoryProvider, MemorySettings
from wasmplex.capabilities.keyvalue import KeyValueBackend, StoreUnavailable, Swapped
from wasmplex.errors import BackendError
from wasmplex.host import Host
from wasmplex.plugin import OpenContext
from wasmplex.plugins.circuit import Circuit
from wasmplex.plugins.registry import Registry
from wasmplex.testing import Delayed, FakeClock, Faulty, Recording, plugin
from wasmplex.testing.doubles import Hang
from wasmplex.testing.proxies import proxy

pytestmark = pytest.mark.anyio

GUESTS = Path(__file__).parents[3] / "tests" / "guests" / "built"
CONTEXT = OpenContext(Path())


def host(folder: Path, backend: str, provider: object) -> Host:
    (folder / "host.toml").write_text(
        f"""
        [workload.kv]
        component = "{GUESTS}/kvfull.wasm"
        [workload.kv.default."wasi:keyvalue"]
        backend = "{backend}"
        max_entries = 1000
        """
    )
    return Host.from_config(folder / "host.toml", plugins=[provider])


async def test_a_double_is_a_backend_like_any_other(tmp_path: Path) -> None:
    delayed = Delayed(MemoryProvider(), 0.02)
    async with host(tmp_path, "delayed", plugin(delayed)) as running:
        start = anyio.current_time()
        assert await running.call("kv", "run", "b set k v") == "ok"
        assert await running.call("kv", "run", "b get k") == "some v"
        assert anyio.current_time() - start >= 0.04


async def test_a_fault_reaches_the_guest_as_its_error(tmp_path: Path) -> None:
    faulty = Faulty(MemoryProvider())
    async with host(tmp_path, "faulty", plugin(faulty)) as running:
        faulty.at("get", StoreUnavailable("gone"), times=1)
        assert await running.call("kv", "run", "b get k") == "other: store unavailable: get: gone"
        assert await running.call("kv", "run", "b get k") == "none"


async def test_a_backend_that_does_not_open(tmp_path: Path) -> None:
    faulty = Faulty(MemoryProvider())
    faulty.at("open", BackendError("it is down"))
    with pytest.raises(BackendError, match="it is down"):
        async with host(tmp_path, "faulty", plugin(faulty)):
            pass


def test_several_doubles_have_names_of_their_own() -> None:
    inner = MemoryProvider()
    slow, slower = Delayed(inner, 0.1, name="slow"), Delayed(inner, 0.2, name="slower")
    registry = Registry()
    registry.add(plugin(slow, slower))
    assert registry.backend("slow", "keyvalue") is slow
    assert registry.backend("slower", "keyvalue") is slower
    assert slow.features == inner.features
    assert slow.settings is MemorySettings


async def opened(provider: Faulty | Delayed | Recording) -> KeyValueBackend:
    backend: KeyValueBackend = await provider.open(MemorySettings(), CONTEXT)
    return backend


async def test_everything_is_passed_on() -> None:
    backend = await opened(Faulty(MemoryProvider()))
    backend.clock = clock = FakeClock()
    bucket = await backend.open_bucket("n", "b")
    await bucket.set("k", b"1", ttl_ms=10)
    assert await bucket.increment("k", 1) == 2
    assert await bucket.exists("k")
    entry = await bucket.current("k")
    assert entry is not None
    clock.advance(10)
    assert await bucket.get("k") is None
    await bucket.set_many([("a", b"1"), ("b", b"2")])
    assert await bucket.get_many(["b", "x"]) == [b"2", None]
    assert await bucket.swap("a", b"9", require_value=b"1") == Swapped()
    assert (await bucket.list_keys("", None, 10)).keys == ["a", "b"]
    await bucket.delete("a")
    await bucket.delete_many(["b"])
    assert await backend.has_bucket("n", "b") is False
    await backend.probe()
    await backend.close()


async def test_faults_come_as_planned() -> None:
    faulty = Faulty(MemoryProvider())
    bucket = await (await opened(faulty)).open_bucket("n", "b")
    faulty.at("get", ConnectionResetError(), times=2)
    faulty.at("get", TimeoutError(), times=1)
    for expected in (ConnectionResetError, ConnectionResetError, TimeoutError):
        with pytest.raises(expected):
            await bucket.get("k")
    assert await bucket.get("k") is None
    faulty.at("set", Hang())
    with anyio.move_on_after(0.02) as scope:
        await bucket.set("k", b"")
    assert scope.cancelled_caught
    faulty.clear()
    await bucket.set("k", b"")


async def test_a_recording_tells_what_was_asked_for() -> None:
    recording = Recording(MemoryProvider())
    backend = await opened(recording)
    bucket = await backend.open_bucket("n", "b")
    await bucket.set("k", b"v", ttl_ms=5)
    async with bucket.watch() as changes:
        await bucket.delete("k")
        assert (await anext(changes)).key == "k"
    assert recording.names() == ["open", "open_bucket", "set", "watch", "delete", "watch:next"]
    assert recording.operations[2].args == ("k", b"v")


async def test_a_stream_breaks_in_its_midst() -> None:
    faulty = Faulty(MemoryProvider())
    faulty.at("watch:next", StoreUnavailable("lost"), times=1, after=1)
    bucket = await (await opened(faulty)).open_bucket("n", "b")
    async with bucket.watch() as changes:
        await bucket.set("a", b"1")
        await bucket.set("b", b"2")
        assert (await anext(changes)).key == "a"
        with pytest.raises(StoreUnavailable):
            await anext(changes)


async def test_what_has_no_contract_has_no_proxy() -> None:
    async def before(operation: str, args: tuple[object, ...]) -> None:
        raise AssertionError

    with pytest.raises(TypeError, match="there is no contract"):
        proxy(object(), before)


async def test_a_proxy_has_a_circuit_of_its_own() -> None:
    """The host that opened the proxy watches over it; another may watch over what is inside."""
    backend = await opened(Delayed(MemoryProvider(), 0))
    backend.circuit = circuit = Circuit()
    again = proxy(backend, Recording(MemoryProvider()).before)
    assert again.circuit is None
    assert backend.circuit is circuit
