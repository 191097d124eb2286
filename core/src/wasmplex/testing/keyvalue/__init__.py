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

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, ClassVar

import pytest

from wasmplex.capabilities.keyvalue import FEATURES, Bucket, Unsupported
from wasmplex.testing.keyvalue.async_guests import AsyncGuestDriver, LabelledAsyncGuestDriver
from wasmplex.testing.keyvalue.atomics_tests import AtomicsTests, BatchTests
from wasmplex.testing.keyvalue.driver import Bench, ContractDriver, Handle, KeyValueDriver, Probe, Store
from wasmplex.testing.keyvalue.expiry_tests import ExpiryTests
from wasmplex.testing.keyvalue.guests import GuestDriver, LabelledGuestDriver
from wasmplex.testing.keyvalue.machine import KeyValueMachine
from wasmplex.testing.keyvalue.store_tests import StoreTests
from wasmplex.testing.keyvalue.watch_tests import WatchTests
from wasmplex.testing.kit import (
    Driver,
    LifecycleTests,
    Refused,
    by_transport,
    long,
    needs,
    refused,
    run_machine,
)

__all__ = [
    "EVERY_DRIVER", "AsyncGuestDriver", "Bench", "ContractDriver", "GuestDriver", "Handle",
    "KeyValueConformance", "KeyValueDriver", "LabelledAsyncGuestDriver", "LabelledGuestDriver", "Probe",
    "Refused", "Store",
]  # fmt: skip

_GUESTS = (GuestDriver, LabelledGuestDriver, AsyncGuestDriver, LabelledAsyncGuestDriver)
EVERY_DRIVER: tuple[type[Driver[Any]], ...] = (ContractDriver, *by_transport(*_GUESTS))
"""All ways to reach a backend, with each guest's bytes crossing in both ways.

Which way they cross is the host's own matter, so that for most backends the kit's choice is enough.
"""


class KeyValueConformance(
    StoreTests, ExpiryTests, AtomicsTests, BatchTests, WatchTests, LifecycleTests, kit=True
):
    """Tests that a provider keeps the key-value contract; subclass it once and set `provider`.

    Two fixtures may be defined. ``settings`` returns the binding's settings as they would stand in a
    configuration file (default: none; relative paths start at ``tmp_path``). ``probe`` returns a `Probe` that
    reaches the stored data past the backend (default: None, and tests that need one are skipped).

    :cvar examples: how many runs of the state machine, and how many more through all guests together; each
        does up to 25 operations
    """

    pytestmark = pytest.mark.anyio

    capability = "keyvalue"
    known_features = FEATURES
    bench_type = Bench
    contract_driver = ContractDriver
    drivers: ClassVar[tuple[type[Driver[Any]], ...]] = (ContractDriver, *_GUESTS)
    examples: ClassVar[int] = 30

    @pytest.fixture
    def probe(self) -> Probe | None:
        """Return no probe."""
        return None

    async def exercise(self, bench: Bench) -> None:
        """Write and list."""
        bucket = await bench.bucket()
        await bucket.set("k", b"v")
        await bucket.list_keys()

    async def provoke(self, bench: Bench) -> Refused:
        """Set a value over the limit."""
        bucket = await bench.bucket(max_value=1)
        error = await refused("quota-exceeded", bucket.set("k", b"22"))
        assert "set" in error.text or not error.text  # an interface may have the case alone
        return error

    async def bind(self, bench: Bench) -> None:
        """Bind a store."""
        await bench.store()

    def undeclared(self, bench: Bench) -> Mapping[str, Callable[[Any], Awaitable[Any]]]:
        """Return what only backends with a feature may do."""
        operations: dict[str, Callable[[Any], Any]] = {
            "ttl": lambda bucket: bucket.set("k", b"v", ttl_ms=1000),
            "if-not-exists": lambda bucket: bucket.set("k", b"v", if_not_exists=True),
            "increment": lambda bucket: bucket.increment("k", 1),
            "cas": lambda bucket: bucket.swap("k", b"v", require_value=b""),
        }
        return {
            "watch": _watching_is_refused,
            **{name: partial(_is_refused, name, operation) for name, operation in operations.items()},
        }

    @long
    async def test_the_store_agrees_with_a_model(
        self, bench: Bench, driver_type: type[Driver[Any]], request: pytest.FixtureRequest
    ) -> None:
        """All of it, in any order, by several clients, while time passes and operations are cancelled."""
        guests = sum(driver.guest for driver in self.drivers)
        examples = self.examples if driver_type is ContractDriver else max(self.examples // guests, 1)
        abilities = self._features(request) | driver_type.words
        await run_machine(KeyValueMachine, bench, abilities, examples)

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


async def _raw(bench: Bench) -> Bucket:
    bucket: Bucket = await bench.backend.open_bucket(bench.namespace, "bucket")
    return bucket


async def _is_refused(feature: str, operation: Callable[[Any], Any], bench: Bench) -> None:
    raw = await _raw(bench)
    with pytest.raises(Unsupported):
        await operation(raw)
    if feature in bench.driver.features:
        error = await refused("other", operation(await bench.bucket()))
        assert feature in error.text
    assert await raw.get("k") is None


async def _watching_is_refused(bench: Bench) -> None:
    raw = await _raw(bench)
    with pytest.raises(Unsupported):
        raw.watch()
