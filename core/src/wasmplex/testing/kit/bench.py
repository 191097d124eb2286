"""A backend under test, open, with a namespace of its own and a clock that tests can turn."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, ClassVar, Generic, Self, TypeVar, cast
from uuid import uuid4

import anyio

from wasmplex.plugins.backends import Backend, BackendProvider, OpenContext
from wasmplex.testing.clock import FakeClock
from wasmplex.testing.kit.drivers import Driver

__all__ = ["Bench"]

D = TypeVar("D", bound=Driver[Any])

TOLERANCE_MS = 50
"""How late a backend's expiry may be."""


class Bench(Generic[D]):
    """What a test gets to work with. A kit derives from it what opens things of its capability.

    :cvar contract: the class that an open backend has to be of
    :ivar backend: the backend as the provider opened it
    :ivar driver: the way to it
    :ivar namespace: unique, so that what earlier runs left in a server is not seen
    :ivar exact: whether `passes` is exact to the millisecond; otherwise it is real time, and late
    """

    contract: ClassVar[type[Backend]]

    def __init__(self, backend: Any, driver: D) -> None:
        self.backend = backend
        self.driver = driver
        self.namespace = f"kit-{uuid4()}"
        self._clock = FakeClock()
        self.exact = getattr(backend, "clock", None) is not None
        if self.exact:
            backend.clock = self._clock

    @property
    def features(self) -> frozenset[str]:
        """What the open backend declares: the provider's features, or fewer where the server lacks some."""
        found: frozenset[str] = self.backend.features
        return found

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        provider: BackendProvider[Any],
        settings: Mapping[str, Any],
        driver: type[Driver[Any]],
        base: Path,
    ) -> AsyncIterator[Self]:
        """Open a backend from settings as they would stand in a configuration beside `base`."""
        backend = await provider.open(provider.settings(**settings), OpenContext(base, provider.name))
        try:
            assert isinstance(backend, cls.contract), f"{provider.name} opens no {cls.contract.__name__}"
            async with driver(backend) as opened:
                yield cls(backend, cast(D, opened))
        finally:
            await backend.close()

    async def passes(self, milliseconds: int) -> None:
        """Let time pass, and with real time what a backend's expiry may be late."""
        if self.exact:
            self._clock.advance(milliseconds)
        else:
            await anyio.sleep((milliseconds + TOLERANCE_MS) / 1000)
