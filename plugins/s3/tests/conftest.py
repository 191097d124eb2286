"""Fixtures for the tests of the S3 plugin: one server for all of them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from wasmplex.testing.loops import EVENT_LOOPS, EventLoop
from wasmplex.testing.servers import S3Server


@pytest.fixture(params=EVENT_LOOPS.values(), ids=list(EVENT_LOOPS))
def anyio_backend(request: pytest.FixtureRequest) -> EventLoop:
    loop: EventLoop = request.param
    return loop


@pytest.fixture(scope="session")
def server() -> Iterator[S3Server]:
    with S3Server() as server:
        yield server
