"""Asynchronous interfaces under a guest that a toolchain made: its own event loop, its own bindings."""

from collections.abc import AsyncIterator
from pathlib import Path

import guests
import pytest
from host_plugin_memory import MemoryProvider
from wasmplex.host import Host
from wasmplex.testing import Delayed, plugin
from wasmplex.testing.loops import EventLoop, usual

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.slow,  # the first run compiles the guest, and then the component
    pytest.mark.timeout(300),
]

CONFIG = """
[workload.kv]
component = "{component}"

[workload.kv.import.fast]
from = "tests:toolchains/fast"
interface = "wasmcloud:keyvalue/store@0.2.0"
interfaces = ["store", "atomics", "cas", "batch"]
backend = "delayed"
buckets = ["b"]
max_value = 1000

[workload.kv.import.slow]
from = "tests:toolchains/slow"
interface = "wasmcloud:keyvalue/store@0.2.0"
interfaces = ["store", "atomics", "cas", "batch"]
backend = "sqlite"
path = "slow.db"
"""


@pytest.fixture(scope="module", params=usual().values(), ids=list(usual()))
def anyio_backend(request: pytest.FixtureRequest) -> EventLoop:
    loop: EventLoop = request.param
    return loop


@pytest.fixture(scope="module")
async def host(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Host]:
    """Run the guest in Python: once for all tests, for compiling it takes its time."""
    folder: Path = tmp_path_factory.mktemp("async")
    (folder / "host.toml").write_text(CONFIG.format(component=guests.compiled("py-kv-async")))
    delayed = Delayed(MemoryProvider(), 0.02)
    async with Host.from_config(folder / "host.toml", plugins=[plugin(delayed)]) as running:
        yield running


async def test_calls_of_two_stores_are_in_flight_at_once(host: Host) -> None:
    assert await host.call("kv", "run", "together") == "100"


async def test_what_has_no_label_takes_the_buckets_of_both(host: Host) -> None:
    assert await host.call("kv", "run", "everywhere") == " ".join(
        ["42 CasResult_Swapped CasResult_Stale b'new'"] * 2
    )


async def test_errors_are_the_cases_of_the_package(host: Host) -> None:
    await host.call("kv", "run", "everywhere")  # now there is a key that may not be made once more
    assert await host.call("kv", "run", "refused") == " ".join(
        [
            "Error_InvalidArgument", "Error_QuotaExceeded", "Error_PreconditionFailed",
            "Error_PreconditionFailed", "Error_InvalidArgument", "Error_NoSuchStore",
        ]
    )  # fmt: skip
