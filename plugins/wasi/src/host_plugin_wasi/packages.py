"""The WIT packages served: names, versions and interfaces, and where the implementation of each is."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager, nullcontext
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar

from wasmplex.plugin import BoundInterfaces, ImportRequest, InterfaceProvider, WorkloadContext

from host_plugin_wasi.http_settings import OutgoingSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from wasmplex.plugin import HostFunctions

__all__ = ["PROVIDERS", "VERSION", "IoProvider", "Tables", "methods"]

VERSION = "0.2.12"
"""The highest version served. Later 0.2.x add functions only, so it serves every guest of the track."""


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


class _LazyProvider(InterfaceProvider):
    """A provider whose implementation is imported when the first workload is bound."""

    version = VERSION
    module: ClassVar[str]
    """The module of this package with the function ``bind(workload)``."""

    def bind(self, workload: WorkloadContext) -> AbstractAsyncContextManager[BoundInterfaces]:
        module = import_module(f"host_plugin_wasi.{self.module}")
        context: AbstractAsyncContextManager[BoundInterfaces] = module.bind(workload)
        return context


class IoProvider(_LazyProvider):
    """``wasi:io``."""

    package = "wasi:io"
    interfaces = frozenset({"error", "poll", "streams"})
    module = "io_interfaces"


class ClocksProvider(_LazyProvider):
    """``wasi:clocks``."""

    package = "wasi:clocks"
    interfaces = frozenset({"monotonic-clock", "timezone", "wall-clock"})
    module = "clocks"


class RandomProvider(_LazyProvider):
    """``wasi:random``."""

    package = "wasi:random"
    interfaces = frozenset({"insecure", "insecure-seed", "random"})
    module = "random"


class CliProvider(_LazyProvider):
    """``wasi:cli``."""

    package = "wasi:cli"
    interfaces = frozenset({
        "environment", "exit", "stderr", "stdin", "stdout", "terminal-input", "terminal-output",
        "terminal-stderr", "terminal-stdin", "terminal-stdout",
    })  # fmt: skip
    module = "cli"


class FilesystemProvider(_LazyProvider):
    """``wasi:filesystem``."""

    package = "wasi:filesystem"
    interfaces = frozenset({"preopens", "types"})
    module = "filesystem"


class SocketsProvider(_LazyProvider):
    """``wasi:sockets``."""

    package = "wasi:sockets"
    interfaces = frozenset({
        "instance-network", "ip-name-lookup", "network", "tcp", "tcp-create-socket", "udp",
        "udp-create-socket",
    })  # fmt: skip
    module = "sockets"


class HttpProvider(_LazyProvider):
    """``wasi:http``."""

    package = "wasi:http"
    interfaces = frozenset({"outgoing-handler", "types"})
    settings = OutgoingSettings
    module = "http"


PROVIDERS: tuple[type[InterfaceProvider], ...] = (
    IoProvider, ClocksProvider, RandomProvider, CliProvider, FilesystemProvider, SocketsProvider,
    HttpProvider,
)  # fmt: skip
