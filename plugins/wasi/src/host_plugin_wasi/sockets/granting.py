"""The network of a workload, where the configuration grants it: for both versions of ``wasi:sockets``."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from host_plugin_wasi.allowance import Allowance
from host_plugin_wasi.sockets.handles import Sockets
from host_plugin_wasi.sockets.lookup import Resolver

if TYPE_CHECKING:
    from wasmplex.plugin import WorkloadContext

__all__ = ["granted"]


@asynccontextmanager
async def granted(workload: WorkloadContext) -> AsyncIterator[tuple[Sockets, Resolver] | None]:
    """Give what sockets are made and names looked up with; None without the grant.

    Sockets that are still open at the end are closed.
    """
    if workload.grants.network != "allow":
        yield None
        return
    sockets, resolver = Sockets(Allowance.of(workload)), Resolver()
    try:
        yield sockets, resolver
    finally:
        resolver.close()
        sockets.close()
