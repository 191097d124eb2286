"""Every test that runs a guest through the bridge runs once for each transport."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from . import echo


@pytest.fixture(scope="module", params=["strings", "memory"])
def transport(request: pytest.FixtureRequest) -> Iterator[str]:
    echo.TRANSPORT = request.param
    yield request.param
    echo.TRANSPORT = "strings"
