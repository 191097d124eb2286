"""Fixtures for the tests of the Postgres plugin: one server for all of them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from wasmplex.testing.loops import EventLoop, usual
from wasmplex.testing.servers import PostgresServer, ServerMissing


@pytest.fixture(params=usual().values(), ids=list(usual()))
def anyio_backend(request: pytest.FixtureRequest) -> EventLoop:
    loop: EventLoop = request.param
    return loop


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    with PostgresServer("p0st/gr@s", {"max_connections": "200"}) as server:
        yield server


@pytest.fixture(scope="session")
def older_server() -> Iterator[PostgresServer]:
    """Debian's, which is built with TLS and libxml; skipped where it is not installed."""
    try:
        server = PostgresServer(program=PostgresServer.installed(15))
    except ServerMissing as error:
        pytest.skip(str(error))
    with server:
        yield server
