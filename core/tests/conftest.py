"""Fixtures for the unit tests of the core."""

from __future__ import annotations

import pytest
from hypothesis import settings

# How long one example takes says more about the machine than about the code.
settings.register_profile("wasmplex", deadline=None)
settings.load_profile("wasmplex")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"
