"""The fixture ``wasm_host``: what it is told of imports, in whichever way, is what serves them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from host_plugin_memory import MemoryProvider
from wasmplex.testing import Recording
from wasmplex.testing.hosting import HostFactory

GUESTS = Path(__file__).parents[3] / "tests" / "guests" / "built"


@pytest.fixture
def kv(tmp_path: Path) -> Path:
    """A component that gets a key from ``cache``, then from ``store``."""
    return Path(shutil.copy(GUESTS / "kv.wasm", tmp_path))


def test_a_double_may_stand_in_a_table_with_other_keys(wasm_host: HostFactory, kv: Path) -> None:
    store = Recording(MemoryProvider())
    host = wasm_host(kv, cache="memory", store={"backend": store, "namespace": "elsewhere", "timeout": "3s"})
    assert host.call("run", "a key") == "none"
    assert store.operations


def test_bindings_may_stand_in_the_workload(wasm_host: HostFactory, kv: Path) -> None:
    cache, store = Recording(MemoryProvider()), Recording(MemoryProvider())
    host = wasm_host(kv, workload={"import": {"cache": {"backend": cache}, "store": "memory"}}, store=store)
    assert host.call("run", "a key") == "none"
    assert cache.operations
    assert store.operations


def test_defaults_may_stand_in_the_workload(wasm_host: HostFactory, kv: Path) -> None:
    from wasmplex.errors import UsageError

    with pytest.raises(UsageError, match="no unlabelled import of wasi:keyvalue"):
        wasm_host(kv, cache="memory", store="memory", workload={"default": {"wasi:keyvalue": "memory"}})
