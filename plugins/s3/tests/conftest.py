"""Fixtures for the tests of the S3 plugin."""

from __future__ import annotations

import pytest
from wasmplex.testing.loops import EVENT_LOOPS, EventLoop


@pytest.fixture(params=EVENT_LOOPS.values(), ids=list(EVENT_LOOPS))
def anyio_backend(request: pytest.FixtureRequest) -> EventLoop:
    loop: EventLoop = request.param
    return loop
