"""Every test that runs a guest through the bridge runs once for each transport."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from wasmplex.engine import ticker

from . import echo


@pytest.fixture(scope="module", params=["strings", "memory"])
def transport(request: pytest.FixtureRequest) -> Iterator[str]:
    echo.TRANSPORT = request.param
    yield request.param
    echo.TRANSPORT = "strings"


@pytest.fixture
def uninterrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing but what is awaited pauses a guest, however busy the machine is."""
    for name in ("TICK_SECONDS", "CALM_TICK_SECONDS"):
        monkeypatch.setattr(ticker, name, 60.0)
