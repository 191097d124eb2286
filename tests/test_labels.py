"""One interface, several labels, several backends: guests of each toolchain, run by the host."""

import sqlite3
from pathlib import Path

import guests
import pytest
from wasmplex.host import Host

pytestmark = pytest.mark.anyio

STORE = "wasi:keyvalue/store@0.2.0-draft"
LABELLED = """
[workload.kv]
component = "{component}"

[workload.kv.import.cache]
{cache_from}
backend = "memory"

[workload.kv.import.store]
{store_from}
backend = "sqlite"
path = "store.db"
namespace = "shared"

# The same file, so that the test can write what the guest reads.
[workload.seed]
component = "{seed}"

[workload.seed.default."wasi:keyvalue"]
backend = "sqlite"
path = "store.db"
namespace = "shared"
"""


def config(folder: Path, component: Path, *, stand_ins: bool = False) -> Path:
    """Write a host.toml; with `stand_ins` the labels come from interfaces named after them."""

    def comes_from(label: str) -> str:
        return f'from = "labels:kv/{label}@0.1.0"\ninterface = "{STORE}"' if stand_ins else ""

    text = LABELLED.format(
        component=component,
        seed=guests.path("kvfull"),
        cache_from=comes_from("cache"),
        store_from=comes_from("store"),
    )
    path = folder / "host.toml"
    path.write_text(text)
    return path


async def read_through(host: Host) -> list[str]:
    """Write into the store by another workload, then let the guest read it twice."""
    assert await host.call("seed", "run", "orders set k1 value one") == "ok"
    return [await host.call("kv", "run", key) for key in ("none such", "k1", "k1")]


async def test_two_labels_of_a_guest_in_c_are_two_backends(tmp_path: Path) -> None:
    async with Host.from_config(config(tmp_path, guests.path("kv"))) as host:
        assert await read_through(host) == ["none", "miss:value one", "hit:value one"]
    with sqlite3.connect(tmp_path / "store.db") as database:
        assert "\n".join(database.iterdump()).count(b"value one".hex().upper()) == 1
    database.close()


async def test_a_memory_cache_is_cold_and_a_sqlite_store_is_not_after_a_restart(tmp_path: Path) -> None:
    path = config(tmp_path, guests.path("kv"))
    async with Host.from_config(path) as host:
        await read_through(host)
    async with Host.from_config(path) as host:
        assert [await host.call("kv", "run", "k1") for _ in "12"] == ["miss:value one", "hit:value one"]


@pytest.mark.slow  # the first run compiles the guest, and then the component
@pytest.mark.timeout(300)
async def test_labels_come_from_stand_in_interfaces(tmp_path: Path) -> None:
    path = config(tmp_path, guests.compiled("qjs-kv"), stand_ins=True)
    async with Host.from_config(path) as host:
        assert await read_through(host) == ["none", "miss:value one", "hit:value one"]


@pytest.mark.parametrize("backend", ['backend = "memory"', 'backend = "sqlite"\npath = "kv.db"'])
async def test_store_atomics_and_batch_share_the_bucket(tmp_path: Path, backend: str) -> None:
    path = tmp_path / "host.toml"
    path.write_text(
        f'[workload.kv]\ncomponent = "{guests.path("kvfull")}"\n'
        f'[workload.kv.default."wasi:keyvalue"]\n{backend}\n'
    )
    conversation = [
        ("b get k", "none"),
        ("b set k a value", "ok"),
        ("b get k", "some a value"),
        ("b exists k", "true"),
        ("b increment n 41", "41"),
        ("b increment n 1", "42"),
        ("b get n", "some 42"),
        ("b set-many x 1 y 2", "ok"),
        ("b get-many y nope x y", "y=2 - x=1 y=2"),
        ("b delete-many x y", "ok"),
        ("b keys", "k n"),
        ("other keys", ""),
        ("b delete k", "ok"),
        ("b exists k", "false"),
    ]
    async with Host.from_config(path) as host:
        answers = [(line, await host.call("kv", "run", line)) for line, _ in conversation]
        refused = await host.call("kv", "run", "b increment k2 9223372036854775808")
    assert [
        (line, " ".join(sorted(a.split())) if "keys" in line else a) for line, a in answers
    ] == conversation
    assert refused.startswith("other: ")
