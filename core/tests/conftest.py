"""Fixtures for the unit tests of the core."""

from __future__ import annotations

import pytest
from hypothesis import settings
from wasmplex.testing.loops import EventLoop, usual

# How long one example takes says more about the machine than about the code.
settings.register_profile("wasmplex", deadline=None)
settings.load_profile("wasmplex")


@pytest.fixture(params=usual().values(), ids=list(usual()))
def anyio_backend(request: pytest.FixtureRequest) -> EventLoop:
    loop: EventLoop = request.param
    return loop
