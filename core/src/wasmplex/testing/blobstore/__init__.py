"""The conformance kit for blob-store backends.

.. code-block:: python

    from host_plugin_filesystem import FilesystemProvider
    from wasmplex.testing import BlobStoreConformance

    class TestFilesystem(BlobStoreConformance):
        provider = FilesystemProvider()

        @pytest.fixture
        def settings(self):
            return {"root": "blobs"}
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, ClassVar

import pytest

from wasmplex.capabilities.blobstore import FEATURES
from wasmplex.testing.blobstore.container_tests import ContainerTests, GrantTests
from wasmplex.testing.blobstore.driver import Bench, BlobStoreDriver, ContractDriver, Handle, Store
from wasmplex.testing.blobstore.guests import (
    AsyncGuestDriver,
    GuestDriver,
    LabelledAsyncGuestDriver,
    LabelledGuestDriver,
)
from wasmplex.testing.blobstore.machine import BlobStoreMachine
from wasmplex.testing.blobstore.object_tests import ObjectTests, PlaceTests
from wasmplex.testing.blobstore.transfer_tests import TransferTests
from wasmplex.testing.kit import Driver, LifecycleTests, Refused, by_transport, long, refused, run_machine

__all__ = [
    "EVERY_DRIVER", "AsyncGuestDriver", "Bench", "BlobStoreConformance", "BlobStoreDriver", "ContractDriver",
    "GuestDriver", "Handle", "LabelledAsyncGuestDriver", "LabelledGuestDriver", "Refused", "Store",
]  # fmt: skip

_GUESTS = (GuestDriver, LabelledGuestDriver, AsyncGuestDriver, LabelledAsyncGuestDriver)
EVERY_DRIVER: tuple[type[Driver[Any]], ...] = (ContractDriver, *by_transport(*_GUESTS))
"""All ways to reach a backend, with each guest's bytes crossing in both ways."""


class BlobStoreConformance(
    ContainerTests, GrantTests, ObjectTests, PlaceTests, TransferTests, LifecycleTests, kit=True
):
    """Tests that a provider keeps the blob-store contract; subclass it once and set `provider`.

    The fixture ``settings`` may be defined: it returns the binding's settings as they would stand in a
    configuration file (default: none; relative paths start at ``tmp_path``).

    :cvar examples: how many runs of the state machine, and how many more through all guests together; each
        does up to 20 operations
    """

    pytestmark = pytest.mark.anyio

    capability = "blobstore"
    known_features = FEATURES
    bench_type = Bench
    contract_driver = ContractDriver
    drivers: ClassVar[tuple[type[Driver[Any]], ...]] = (ContractDriver, *_GUESTS)
    spreads = True
    examples: ClassVar[int] = 12

    async def exercise(self, bench: Bench) -> None:
        """Write, read and list."""
        container = await bench.container()
        await container.put("k", b"v" * 300_000)
        await container.get("k", 5, 10)
        await container.abandon("k", b"w" * 300_000)
        await container.names()

    async def provoke(self, bench: Bench) -> Refused:
        """Write an object over the limit."""
        container = await bench.container(max_object=1)
        error = await refused("quota-exceeded", container.put("k", b"22"))
        assert "write-data" in error.text or not error.text  # an interface may have the case alone
        return error

    async def bind(self, bench: Bench) -> None:
        """Bind a store."""
        await bench.store()

    def undeclared(self, bench: Bench) -> Mapping[str, Callable[[Any], Awaitable[Any]]]:
        """Return nothing: no operation is for some backends only."""
        return {}

    @long
    async def test_the_store_agrees_with_a_model(
        self, bench: Bench, driver_type: type[Driver[Any]], request: pytest.FixtureRequest
    ) -> None:
        """All of it, in any order, by several clients, while operations are cancelled."""
        guests = sum(driver.guest for driver in self.drivers)
        examples = self.examples if driver_type is ContractDriver else max(self.examples // guests, 1)
        abilities = self._features(request) | driver_type.words
        await run_machine(BlobStoreMachine, bench, abilities, examples, 20)
