"""Backends that misbehave on purpose, or tell what was done with them, around any other backend.

They are providers like any other, of the same capability as the one inside:
``registry.add(plugin(Delayed(MemoryProvider(), 0.02)))``, and a binding says ``backend = "delayed"`` with the
settings of the backend inside.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import anyio

from wasmplex.plugins.backends import BackendProvider, OpenContext
from wasmplex.plugins.hooks import hookimpl
from wasmplex.settings import Settings
from wasmplex.testing.proxies import proxy

__all__ = ["Delayed", "Faulty", "Hang", "Operation", "Recording", "plugin"]


def plugin(*providers: BackendProvider[Any]) -> object:
    """Return a plugin object that registers `providers`."""

    class Plugin:
        @hookimpl
        def wasmplex_backends(self) -> Iterable[BackendProvider[Any]]:
            return providers

    return Plugin()


class _Double(BackendProvider[Settings]):
    """A provider that passes everything on to `inner`, having awaited `before`."""

    def __init__(self, inner: BackendProvider[Any], name: str) -> None:
        # Class variables of an ordinary provider; of these there may be several with one class.
        own = {"name": name, "settings": inner.settings, "features": inner.features}
        vars(self).update(own, capability=inner.capability, durability=inner.durability)
        self._inner = inner

    async def before(self, operation: str, args: tuple[Any, ...]) -> None:
        """Do what the double is for."""

    async def open(self, settings: Settings, context: OpenContext) -> Any:
        """Open the backend inside, and return it with the double around it."""
        await self.before("open", (settings,))
        return proxy(await self._inner.open(settings, context), self.before)


class Delayed(_Double):
    """Adds a delay before every operation, and before every piece of a stream.

    :param inner: the provider of the backend behind it
    :param delay: seconds; may be changed at any time
    """

    def __init__(self, inner: BackendProvider[Any], delay: float = 0.02, *, name: str = "delayed") -> None:
        super().__init__(inner, name)
        self.delay = delay

    async def before(self, operation: str, args: tuple[Any, ...]) -> None:
        """Wait, except when something is opened."""
        if not operation.startswith("open"):
            await anyio.sleep(self.delay)


class Hang:
    """A fault: the operation never answers; only cancelling ends it."""


class Faulty(_Double):
    """Makes chosen operations fail or hang.

    .. code-block:: python

        faulty.at("get", ConnectionResetError("gone"), times=2)
        faulty.at("set", Hang())

    :param inner: the provider of the backend behind it
    """

    def __init__(self, inner: BackendProvider[Any], *, name: str = "faulty") -> None:
        super().__init__(inner, name)
        self._faults: dict[str, list[Exception | Hang | None]] = {}
        self._always: dict[str, Exception | Hang] = {}

    def at(
        self, operation: str, fault: Exception | Hang, *, times: int | None = None, after: int = 0
    ) -> None:
        """Make an operation fail (``open``, ``open_bucket``, ``get``, ``watch:next``, ...).

        :param times: how often, after what was planned before; None for always
        :param after: how often it succeeds before
        """
        planned = self._faults.setdefault(operation, [])
        planned.extend([None] * after)
        if times is None:
            self._always[operation] = fault
        else:
            planned.extend([fault] * times)

    def clear(self) -> None:
        """Plan no more faults; what hangs goes on hanging."""
        self._faults.clear()
        self._always.clear()

    async def before(self, operation: str, args: tuple[Any, ...]) -> None:
        """Raise or hang if that is planned."""
        planned = self._faults.get(operation)
        fault = planned.pop(0) if planned else self._always.get(operation)
        if isinstance(fault, Hang):
            await anyio.sleep_forever()
        elif fault is not None:
            raise fault


class Operation(NamedTuple):
    """One operation that a `Recording` was asked for."""

    name: str
    args: tuple[Any, ...]


class Recording(_Double):
    """Keeps what it was asked for.

    :param inner: the provider of the backend behind it
    :ivar operations: everything in order, ``open`` first
    """

    def __init__(self, inner: BackendProvider[Any], *, name: str = "recording") -> None:
        super().__init__(inner, name)
        self.operations: list[Operation] = []

    async def before(self, operation: str, args: tuple[Any, ...]) -> None:
        """Note the operation."""
        self.operations.append(Operation(operation, args))

    def names(self) -> list[str]:
        """Return the names of the operations, in order."""
        return [operation.name for operation in self.operations]
