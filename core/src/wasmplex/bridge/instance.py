"""A live instance of a bridged component."""

from __future__ import annotations

from typing import Any, Protocol

from wasmplex.bridge.session import Session

__all__ = ["BridgedInstance", "EngineInstance"]


class EngineInstance(Protocol):
    """What is needed of the engine's instance."""

    state: dict[Any, Any]

    @property
    def workload(self) -> str:
        """Name of the workload it belongs to."""

    @property
    def poisoned(self) -> bool:
        """True once it can run no more calls."""

    async def call(self, export: str, *args: Any) -> Any:
        """Call an export."""

    def close(self) -> None:
        """End the instance."""


class BridgedInstance:
    """An instance and its session, which end together."""

    def __init__(self, inner: EngineInstance) -> None:
        self._inner = inner
        self.state = inner.state
        self.call = inner.call

    @property
    def workload(self) -> str:
        """Name of the workload it belongs to."""
        return self._inner.workload

    @property
    def poisoned(self) -> bool:
        """True once it can run no more calls."""
        return self._inner.poisoned

    def close(self) -> None:
        """End the instance: what runs on the guest's behalf is cancelled, what it held is dropped."""
        session: Session | None = self.state.get(Session)
        if session is not None:
            session.close()
        self._inner.close()
