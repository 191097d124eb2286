"""The fixture ``wasm_host``. pytest imports this module in every run, so it imports nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from wasmplex.testing.hosting import HostFactory

__all__ = ["wasm_host"]


@pytest.fixture
def wasm_host(tmp_path: Path) -> Iterator[HostFactory]:
    """Start hosts with components and the backends that a test wants; they stop when the test ends."""
    from wasmplex.testing.hosting import host_factory

    with host_factory(tmp_path) as factory:
        yield factory
