"""Fixtures for the unit tests of the core."""

from __future__ import annotations

import pytest
from wasmplex.testing.loops import EventLoop, usual


@pytest.fixture(params=usual().values(), ids=list(usual()))
def anyio_backend(request: pytest.FixtureRequest) -> EventLoop:
    loop: EventLoop = request.param
    return loop
