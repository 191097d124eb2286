"""Fixtures for the tests that cross packages."""

import pytest


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"
