"""The Postgres backend keeps the contract, on every server that is there."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import pytest
from host_plugin_postgres import PostgresProvider
from wasmplex.testing import EVENT_LOOPS, PostgresConformance
from wasmplex.testing.loops import EventLoop, everything
from wasmplex.testing.postgres import ContractDriver
from wasmplex.testing.servers import PostgresServer

VARIABLE = "WASMPLEX_TEST_POSTGRES"


class TestPostgres(PostgresConformance):
    provider = PostgresProvider()
    examples = 10 if everything() else 3
    # Guests of the draft are in tests/test_postgres_run.py as well.
    drivers = PostgresConformance.drivers if everything() else PostgresConformance.drivers[:2]

    if not everything():

        @pytest.fixture(scope="class")
        @classmethod
        def anyio_backend(cls) -> EventLoop:
            """Run on one event loop."""
            return next(iter(EVENT_LOOPS.values()))

    @pytest.fixture
    def settings(self, postgres_server: PostgresServer) -> Mapping[str, Any]:
        return {"url": postgres_server.url}


class TestOlderPostgres(PostgresConformance):
    """PostgreSQL 15, as Debian has it."""

    provider = PostgresProvider()
    examples = 1
    drivers = (ContractDriver,)

    @pytest.fixture(scope="class")
    @classmethod
    def anyio_backend(cls) -> EventLoop:
        """Run on one event loop: it is the server that is another one."""
        return next(iter(EVENT_LOOPS.values()))

    @pytest.fixture
    def settings(self, older_server: PostgresServer) -> Mapping[str, Any]:
        return {"url": older_server.url}


@pytest.mark.skipif(VARIABLE not in os.environ, reason=f"{VARIABLE} names no server")
class TestNamedPostgres(PostgresConformance):
    """Whatever server the environment names."""

    provider = PostgresProvider()
    drivers = (ContractDriver,)
    examples = 2

    @pytest.fixture
    def settings(self) -> Mapping[str, Any]:
        return {"url": os.environ[VARIABLE]}
