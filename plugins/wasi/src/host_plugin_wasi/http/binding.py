"""What all versions of ``wasi:http`` have in common: an interface of types, and one that sends requests."""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, NamedTuple

from wasmplex.plugin import BoundInterfaces

from host_plugin_wasi.http.allowlist import AllowedHosts
from host_plugin_wasi.http.client import Gate, OutgoingHandler
from host_plugin_wasi.http_settings import OutgoingSettings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from wasmplex.plugin import HostFunctions, ImportRequest, WorkloadContext

__all__ = ["Sender", "bind_http"]


class Sender(NamedTuple):
    """The interface by which guests send requests.

    :ivar interface: its name
    :ivar function: the name of its one function, and of the method that serves it
    :ivar make: makes what keeps the connections of one import
    """

    interface: str
    function: str
    make: Callable[[AllowedHosts, OutgoingSettings, Callable[[], None]], OutgoingHandler]


class _Interfaces(BoundInterfaces):
    """The interfaces of one workload. Each import that sends has connections of its own."""

    def __init__(
        self, types: HostFunctions, sender: Sender, workload: WorkloadContext, closing: AsyncExitStack
    ) -> None:
        self._types = types
        self._sender = sender
        self._allowed = AllowedHosts(workload.grants.allowed_hosts, workload.name)
        self._gate = Gate.of(workload)
        self._closing = closing

    def serve(self, request: ImportRequest) -> HostFunctions:
        """Return the functions of an interface."""
        sender = self._sender
        if request.name != sender.interface:
            return self._types if request.name == "types" else {}
        settings = request.settings if isinstance(request.settings, OutgoingSettings) else OutgoingSettings()
        handler = sender.make(self._allowed, settings, self._gate.admit)
        self._gate.handlers.append(handler)
        self._closing.push_async_callback(handler.close)
        return {sender.function: getattr(handler, sender.function)}


@asynccontextmanager
async def bind_http(
    types: HostFunctions, sender: Sender, workload: WorkloadContext
) -> AsyncIterator[BoundInterfaces]:
    """Bind ``wasi:http`` for a workload; its connections are its own, and are closed with it.

    :raises wasmplex.errors.ConfigError: if ``allowed_hosts`` has an entry that is not a host
    """
    async with AsyncExitStack() as closing:
        yield _Interfaces(types, sender, workload, closing)
