"""Fixtures for the tests of the NATS plugin: one server for all of them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from wasmplex.testing.loops import EVENT_LOOPS, EventLoop
from wasmplex.testing.servers import NatsServer


@pytest.fixture(params=EVENT_LOOPS.values(), ids=list(EVENT_LOOPS))
def anyio_backend(request: pytest.FixtureRequest) -> EventLoop:
    loop: EventLoop = request.param
    return loop


@pytest.fixture(scope="session")
def nats_server() -> Iterator[NatsServer]:
    # Tests write thousands of keys: syncing each would measure the disk. The fault tests do sync.
    with NatsServer("s3cr3t/p@ss", sync=None) as server:
        yield server
