"""The conformance kit for Postgres backends.

.. code-block:: python

    from host_plugin_postgres import PostgresProvider
    from wasmplex.testing import PostgresConformance

    class TestPostgres(PostgresConformance):
        provider = PostgresProvider()

        @pytest.fixture
        def settings(self, url):
            return {"url": url}
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, ClassVar

import pytest

from wasmplex.testing.kit import Driver, LifecycleTests, Refused, long, refused, run_machine
from wasmplex.testing.postgres.driver import Bench, ContractDriver, Database, Found, PostgresDriver
from wasmplex.testing.postgres.guests import DraftGuestDriver, GuestDriver
from wasmplex.testing.postgres.machine import PostgresMachine
from wasmplex.testing.postgres.query_tests import ErrorTests, QueryTests
from wasmplex.testing.postgres.session_tests import SessionTests
from wasmplex.testing.postgres.value_tests import ValueTests

__all__ = [
    "Bench", "ContractDriver", "Database", "DraftGuestDriver", "Found", "GuestDriver", "PostgresConformance",
    "PostgresDriver", "Refused",
]  # fmt: skip


class PostgresConformance(QueryTests, ErrorTests, SessionTests, ValueTests, LifecycleTests, kit=True):
    """Tests that a provider keeps the Postgres contract; subclass it once and set `provider`.

    The fixture ``settings`` returns the binding's settings as they would stand in a configuration file: of a
    database whose user may make tables, types and roles.

    :cvar examples: how many runs of the state machine, each of up to 25 operations
    """

    pytestmark = pytest.mark.anyio

    capability = "postgres"
    known_features = frozenset()
    bench_type = Bench
    contract_driver = ContractDriver
    drivers: ClassVar[tuple[type[Driver[Any]], ...]] = (ContractDriver, GuestDriver, DraftGuestDriver)
    examples: ClassVar[int] = 20

    async def exercise(self, bench: Bench) -> None:
        """Query."""
        database = await bench.database()
        await database.query("SELECT generate_series(1, 100)")
        await database.batch("SELECT 1")

    async def provoke(self, bench: Bench) -> Refused:
        """Give too few parameters."""
        error = await refused("invalid-params", (await bench.database()).query("SELECT $1::int"))
        assert "query" in error.text
        return error

    async def bind(self, bench: Bench) -> None:
        """Bind a database."""
        await bench.database()

    def undeclared(self, bench: Bench) -> Mapping[str, Callable[[Any], Awaitable[Any]]]:
        """Return nothing: every backend has all of it."""
        return {}

    @long
    async def test_the_database_agrees_with_a_model(
        self, bench: Bench, driver_type: type[Driver[Any]]
    ) -> None:
        """Transactions of several guests, in any order, some at once, some left open, some cancelled."""
        examples = self.examples if driver_type is ContractDriver else max(self.examples // 5, 1)
        await run_machine(PostgresMachine, bench, driver_type.words, examples)
