"""The conformance kit for key-value backends.

.. code-block:: python

    from host_plugin_redis import RedisProvider
    from wasmplex.testing import KeyValueConformance

    class TestRedis(KeyValueConformance):
        provider = RedisProvider()

        @pytest.fixture
        def settings(self, redis_url):
            return {"url": redis_url}
"""

from __future__ import annotations

import gc
import threading
from asyncio import all_tasks
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest

from wasmplex.capabilities.keyvalue import FEATURES
from wasmplex.errors import UsageError
from wasmplex.settings import SecretStr
from wasmplex.testing.conformance import needs
from wasmplex.testing.keyvalue.async_guests import AsyncGuestDriver, LabelledAsyncGuestDriver
from wasmplex.testing.keyvalue.atomics_tests import AtomicsTests, BatchTests
from wasmplex.testing.keyvalue.driver import Bench, ContractDriver, Driver, Handle, Probe, Refused, Store
from wasmplex.testing.keyvalue.expiry_tests import ExpiryTests
from wasmplex.testing.keyvalue.feature_tests import FeatureTests, WatchTests
from wasmplex.testing.keyvalue.guests import GuestDriver, LabelledGuestDriver, by_transport
from wasmplex.testing.keyvalue.machine import run_machine
from wasmplex.testing.keyvalue.store_tests import StoreTests, refused
from wasmplex.testing.loops import everything

__all__ = [
    "EVERY_DRIVER", "AsyncGuestDriver", "Bench", "ContractDriver", "Driver", "GuestDriver", "Handle",
    "KeyValueConformance", "LabelledAsyncGuestDriver", "LabelledGuestDriver", "Probe", "Refused", "Store",
]  # fmt: skip

_GUESTS = (GuestDriver, LabelledGuestDriver, AsyncGuestDriver, LabelledAsyncGuestDriver)
EVERY_DRIVER: tuple[type[Driver], ...] = (ContractDriver, *by_transport(*_GUESTS))
"""All ways to reach a backend, with each guest's bytes crossing in both ways.

Which way they cross is the host's own matter, so that for most backends the kit's choice is enough.
"""


class KeyValueConformance(
    StoreTests, ExpiryTests, AtomicsTests, BatchTests, WatchTests, FeatureTests, kit=True
):
    """Tests that a provider keeps the key-value contract; subclass it once and set `provider`.

    Two fixtures may be defined. ``settings`` returns the binding's settings as they would stand in a
    configuration file (default: none; relative paths start at ``tmp_path``). ``probe`` returns a `Probe` that
    reaches the stored data past the backend (default: None, and tests that need one are skipped).

    :cvar examples: how many runs of the state machine, and how many more through all guests together; each
        does up to 25 operations
    :cvar drivers: the ways in which the backend is reached
    """

    pytestmark = pytest.mark.anyio

    examples: ClassVar[int] = 30
    drivers: ClassVar[tuple[type[Driver], ...]] = (ContractDriver, *_GUESTS)

    @pytest.fixture
    def settings(self) -> Mapping[str, Any]:
        """Return no settings: the backend's defaults."""
        return {}

    @pytest.fixture
    def probe(self) -> Probe | None:
        """Return no probe."""
        return None

    @pytest.fixture
    async def bench(
        self, settings: Mapping[str, Any], driver_type: type[Driver], tmp_path: Path
    ) -> AsyncIterator[Bench]:
        """Open the backend, and close it when the test is done."""
        async with Bench.open(self.provider, settings, driver_type, tmp_path) as bench:
            yield bench

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Run each test with every driver that has words for what it needs, and on every event loop.

        Guests are the same on all loops, so they run on the first alone unless everything is asked for.
        """
        loops = self._loops() if "anyio_backend" in metafunc.fixturenames else {}
        if "driver_type" not in metafunc.fixturenames:
            if loops:
                metafunc.parametrize("anyio_backend", list(loops.values()), ids=list(loops), indirect=True)
            return
        needed = set(getattr(metafunc.function, "needs", ()))
        usable = [driver for driver in self.drivers if driver.requires <= self.provider.features]
        drivers = [driver for driver in usable if driver.expresses >= needed]
        names = {driver: driver.__name__.removesuffix("Driver") for driver in drivers}
        if not loops:
            metafunc.parametrize("driver_type", drivers, ids=list(names.values()))
            return
        first = next(iter(loops))
        runs = {
            f"{names[driver]}-{name}": (driver, loop)
            for driver in drivers
            for name, loop in loops.items()
            if name == first or driver is ContractDriver or everything()
        }
        metafunc.parametrize(
            ("driver_type", "anyio_backend"), list(runs.values()), ids=list(runs), indirect=["anyio_backend"]
        )

    def _supported(self, request: pytest.FixtureRequest) -> frozenset[str]:
        if "driver_type" not in request.fixturenames:
            return self.provider.features
        bench: Bench | None = request.getfixturevalue("bench") if "bench" in request.fixturenames else None
        features = bench.backend.features if bench else self.provider.features
        expresses: frozenset[str] = request.getfixturevalue("driver_type").expresses
        return (features & expresses) | (expresses - FEATURES)

    async def test_the_store_agrees_with_a_model(
        self, bench: Bench, driver_type: type[Driver], request: pytest.FixtureRequest
    ) -> None:
        """All of it, in any order, by several clients, while time passes and operations are cancelled."""
        guests = sum(driver is not ContractDriver for driver in self.drivers)
        examples = self.examples if driver_type is ContractDriver else max(self.examples // guests, 1)
        await run_machine(bench, self._supported(request), examples)

    async def test_what_is_not_declared_is_not_bound(
        self, settings: Mapping[str, Any], tmp_path: Path
    ) -> None:
        """A workload that needs what a backend does not declare is refused when it is bound."""
        for driver in self.drivers:
            if missing := driver.requires - self.provider.features:
                async with Bench.open(self.provider, settings, driver, tmp_path) as bench:
                    with pytest.raises(UsageError) as error:
                        await bench.store()
                assert all(feature in str(error.value) for feature in missing)

    # ------------------------------------------------------------ past the backend

    async def test_what_is_stored_is_what_was_set(self, bench: Bench, probe: Probe | None) -> None:
        """set: the store itself holds the value, and what others store is seen."""
        probe = probe or pytest.skip("no probe")
        bucket = await bench.bucket("b")
        await bucket.set("k", b"\0value")
        assert await probe.get(bench.namespace, "b", "k") == b"\0value"
        await probe.set(bench.namespace, "b", "k", b"theirs")
        assert await bucket.get("k") == b"theirs"
        await bucket.delete("k")
        assert await probe.get(bench.namespace, "b", "k") is None

    @needs("increment")
    async def test_a_counter_is_stored_as_text(self, bench: Bench, probe: Probe | None) -> None:
        """increment: counter is decimal ASCII on every backend."""
        probe = probe or pytest.skip("no probe")
        bucket = await bench.bucket("b")
        await bucket.increment("n", 42)
        assert await probe.get(bench.namespace, "b", "n") == b"42"
        await probe.set(bench.namespace, "b", "n", b"100")
        assert await bucket.increment("n", 1) == 101

    # ------------------------------------------------------------ life cycle

    async def test_closing_leaves_nothing_behind(self, settings: Mapping[str, Any], tmp_path: Path) -> None:
        """Closing leaves nothing behind: no connection, task, thread or file handle."""

        async def use() -> None:
            async with Bench.open(self.provider, settings, ContractDriver, tmp_path) as bench:
                bucket = await bench.bucket()
                await bucket.set("k", b"v")
                await bucket.list_keys()

        await use()  # what is imported and started once stays
        before, threads = _held(), set(threading.enumerate())
        for _ in range(5):
            await use()
        for thread in set(threading.enumerate()) - threads:
            thread.join(1)  # it may be about to end
        after = _held()
        assert all(now <= then for now, then in zip(after, before, strict=True)), (
            f"tasks, threads and open files were {before} and are {after}"
        )

    async def test_errors_and_status_keep_secrets(
        self, bench: Bench, settings: Mapping[str, Any], tmp_path: Path
    ) -> None:
        """An error's text names the operation and the cause, never a secret or a path of the host."""
        bucket = await bench.bucket(max_value=1)
        error = await refused("quota-exceeded", bucket.set("k", b"22"))
        assert "set" in error.text or not error.text  # an interface may have the case alone
        model = self.provider.settings(**settings)
        secrets = [value.get_secret_value() for _, value in model if isinstance(value, SecretStr)]
        for text in (str(error), repr(bench.backend)):
            assert not [secret for secret in secrets if secret in text]
        assert str(tmp_path) not in str(error)


def _held() -> tuple[int, int, int]:
    """Count the tasks, the threads and the open files of this process."""
    gc.collect()
    descriptors = Path("/proc/self/fd")
    files = len(list(descriptors.iterdir())) if descriptors.is_dir() else 0
    return len(all_tasks()), threading.active_count(), files
