"""What ``check --connect`` and ``doctor`` do with a configuration: all that ``run`` does short of serving."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from wasmplex.cli.progress import compiling
from wasmplex.errors import UsageError

if TYPE_CHECKING:
    from wasmplex.assembly import Assembly
    from wasmplex.backends.probing import Probed
    from wasmplex.config import HostConfig
    from wasmplex.errors import WasmplexError
    from wasmplex.plugins.registry import Registry

__all__ = ["Asked", "ask_backends", "examine", "require_workloads"]


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


async def ask_backends(assembly: Assembly) -> list[Asked]:
    """Open and ask the backend of every binding, all at once, whatever becomes of the others."""
    import anyio

    from wasmplex.backends import BackendPool
    from wasmplex.backends.probing import probe

    found: dict[int, Asked] = {}
    async with BackendPool(assembly.config.base) as pool, anyio.create_task_group() as tasks:

        async def ask(workload: str, name: str, route: Any) -> None:
            origin, where = str(route.plugin), str(route.where)
            probed = await probe(
                pool, route.provider, route.settings, plugin=origin, where=where, hidden=route.hidden
            )
            found[id(route)] = Asked(workload, name, probed)

        for planned in assembly.components:
            for route in planned.plan.backends:
                names = [r.import_.name for r in planned.plan.routes if route in r.backends]
                names += [f"trigger {r.name}" for r in planned.plan.triggers if r.backend is route]
                tasks.start_soon(ask, planned.config.name, ", ".join(names), route)
    return sorted(found.values(), key=lambda asked: asked[:2])


async def examine(assembly: Assembly, registry: Registry) -> list[WasmplexError]:
    """Compile and link everything; return what would keep triggers from serving.

    :param registry: the one that the assembly was made with
    :raises WasmplexError: what would keep the host from starting
    """
    from wasmplex.host import Host

    with compiling(len(assembly.workloads)) as progress:
        async with Host(assembly.config, registry=registry, progress=progress, assembly=assembly) as host:
            return await host.examine()
