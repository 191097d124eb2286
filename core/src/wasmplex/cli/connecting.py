"""What ``check --connect`` and ``doctor`` do with a configuration: all that ``run`` does short of serving."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from math import inf
from typing import TYPE_CHECKING, Any, NamedTuple

from wasmplex.cli.progress import compiling
from wasmplex.errors import UsageError

if TYPE_CHECKING:
    from wasmplex.assembly import Assembly
    from wasmplex.backends import BackendPool
    from wasmplex.backends.probing import Probed
    from wasmplex.config import HostConfig
    from wasmplex.errors import WasmplexError
    from wasmplex.plugins.registry import Registry

__all__ = ["Asked", "ask_backends", "backends_of", "examine", "require_workloads"]


class Asked(NamedTuple):
    """How the backend of a binding answered.

    :ivar imports: what it serves, in words
    """

    workload: str
    imports: str
    probed: Probed


def require_workloads(config: HostConfig) -> None:
    """Refuse a configuration without workloads, unless there is more to say about it.

    :raises UsageError: if it has none
    """
    if not config.workloads and not config.problems:
        raise UsageError("there is no workload to run", where=str(config.path), fix="[workload.NAME]")


@asynccontextmanager
async def backends_of(assembly: Assembly, registry: Registry) -> AsyncIterator[BackendPool]:
    """Keep open what `ask_backends` has opened, so that `examine` need not open it once more."""
    import asyncio

    from wasmplex.backends import BackendPool
    from wasmplex.watchdog import end_leaked_tasks

    async with AsyncExitStack() as stack:
        stack.push_async_callback(end_leaked_tasks, registry.owners, asyncio.all_tasks())
        pool = BackendPool(assembly.config.base, idle_ttl=inf, max_idle=sys.maxsize)
        yield await stack.enter_async_context(pool)


async def ask_backends(assembly: Assembly, pool: BackendPool) -> list[Asked]:
    """Open and ask the backend of every binding, all at once, whatever becomes of the others."""
    import anyio

    from wasmplex.backends.probing import probe

    found: dict[int, Asked] = {}
    async with anyio.create_task_group() as tasks:

        async def ask(workload: str, name: str, route: Any) -> None:
            origin, where = str(route.plugin), str(route.where)
            probed = await probe(
                pool, route.provider, route.settings, plugin=origin, where=where, hidden=route.hidden
            )
            found[id(route)] = Asked(workload, name, probed)

        for planned in assembly.components:
            for route in planned.plan.backends:
                users = planned.plan.users(route)
                names = [name if kind == "import" else f"{kind} {name}" for kind, name in users]
                tasks.start_soon(ask, planned.config.name, ", ".join(names), route)
    return sorted(found.values(), key=lambda asked: asked[:2])


async def examine(assembly: Assembly, registry: Registry, pool: BackendPool) -> list[WasmplexError]:
    """Compile and link everything; return what would keep triggers from serving.

    :param registry: the one that the assembly was made with
    :raises WasmplexError: what would keep the host from starting
    """
    from wasmplex.host import Host

    with compiling(len(assembly.workloads)) as progress:
        async with Host(
            assembly.config, registry=registry, progress=progress, assembly=assembly, backends=pool
        ) as host:
            return await host.examine()
