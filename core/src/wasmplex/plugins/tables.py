"""Interfaces whose functions are known before anything is bound, and providers that are imported late."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from importlib import import_module
from typing import Any, ClassVar

from wasmplex.plugins.contracts import (
    BoundInterfaces,
    HostFunctions,
    ImportRequest,
    InterfaceProvider,
    WorkloadContext,
)

__all__ = ["LazyProvider", "Tables", "methods"]


class Tables(BoundInterfaces):
    """Interfaces whose functions are known when the workload is bound: one table for each interface."""

    def __init__(self, tables: Mapping[str, HostFunctions]) -> None:
        self._tables = tables

    def serve(self, request: ImportRequest) -> HostFunctions:
        """Return the functions of the interface; none for one that has only types."""
        return self._tables.get(request.name, {})

    def context(self) -> AbstractAsyncContextManager[BoundInterfaces]:
        """Return itself as a context that has nothing to close."""
        return nullcontext(self)


def methods(resource: str, implementation: type, names: str) -> dict[str, Callable[..., Any]]:
    """Return the functions for a resource's methods, each the method of the Python class with that name.

    :param names: the WIT names, separated by spaces
    """
    return {
        f"[method]{resource}.{name}": getattr(implementation, name.replace("-", "_"))
        for name in names.split()
    }


class LazyProvider(InterfaceProvider):
    """A provider whose implementation is imported when the first workload is bound.

    :cvar module: the full name of the module that has the function ``bind(workload)``
    """

    module: ClassVar[str]

    def bind(self, workload: WorkloadContext) -> AbstractAsyncContextManager[BoundInterfaces]:
        """Import the implementation, and have it bind the package."""
        context: AbstractAsyncContextManager[BoundInterfaces] = import_module(self.module).bind(workload)
        return context
