"""One running workload: its backends, its linked component, its instances."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import replace
from functools import partial
from typing import Any, Final, TypeAlias, cast

import anyio
import anyio.to_thread

from wasmplex.assembly import PlannedWorkload
from wasmplex.backends import BackendPool
from wasmplex.binding import Served, serve
from wasmplex.bridge import (
    Bridged,
    BridgedInstance,
    InPlaceBytes,
    SharedInstance,
    bridge,
    guarded,
    in_place,
    locate,
    needing,
    required,
    wanted,
)
from wasmplex.component import lazytables, read
from wasmplex.component.shape import Import, Shape
from wasmplex.config.model import InstancesConfig
from wasmplex.engine import Engine, Instance, Linked
from wasmplex.engine.accounts import Tenant
from wasmplex.engine.ahead import Ahead
from wasmplex.engine.ahead import Coming as InstanceComing
from wasmplex.engine.engine import Progress
from wasmplex.engine.text import assemble
from wasmplex.errors import ComponentError
from wasmplex.instances import Coming, InstancePool, PoolStatistics
from wasmplex.layering import Layered, layered
from wasmplex.loans import Loan, PooledInstance
from wasmplex.metrics import Figures
from wasmplex.plugins.contracts import HostFunctions
from wasmplex.scopes import TaskScope
from wasmplex.sharing import SharedPool
from wasmplex.strategy import Strategy, strategy
from wasmplex.threads import OwnThread

__all__ = ["RunningWorkload", "calls_served", "open_workload"]


CONCURRENCY: Final = 16
"""Calls that one instance is in at once where its interface allows that and nobody has said otherwise."""

_USUAL: Final = 100
_ROUNDS: Final = 32
"""How often an instance is used for as many calls as it is in at once, where nobody has said otherwise."""

_Create: TypeAlias = Callable[[], Awaitable[PooledInstance]]


class RunningWorkload:
    """A workload whose backends are open and whose component is linked. Made by `open_workload`."""

    def __init__(
        self,
        planned: PlannedWorkload,
        served: Served,
        create: _Create,
        begin: Callable[[], Coming] | None = None,
        on_error: Callable[[BaseException], None] | None = None,
    ) -> None:
        config = planned.config
        self.planned = planned
        self.name = config.name
        self.shape: Shape = planned.shape
        self.imports: Mapping[str, HostFunctions] = served.imports
        self.sources = served.sources
        self.timeout = config.limits.timeout
        self.max_body = config.limits.max_body
        self._thread = OwnThread()
        self._what = f"workload {config.name!r}"
        self._pool = _pool(planned, create, begin, on_error)

    def __repr__(self) -> str:
        s = self._pool.statistics()
        return f"<RunningWorkload {self.name}: {s.live} instances, {s.idle} idle, {s.waiting} calls waiting>"

    def instance(self, within: TaskScope | None = None) -> Loan:
        """Borrow an instance for one call; see `wasmplex.plugin.Workload`.

        :raises wasmplex.errors.UsageError: in a thread that is not the host's
        """
        self._thread.require(self._what)
        return self._pool.lend(within)

    async def call(self, export: str, *args: Any) -> Any:
        """Call an export in an instance of its own choosing, under the workload's deadline.

        :param export: ``"run"``, or ``"wasi:http/incoming-handler@0.2.2#handle"``
        :raises wasmplex.values.Err: if the function returned the err case of its result
        :raises wasmplex.errors.GuestError: if it trapped, outlived its deadline, or no instance is free
        :raises wasmplex.errors.UsageError: in a thread that is not the host's
        """
        async with self.instance() as instance:
            return await instance.call(export, *args)

    def statistics(self) -> PoolStatistics:
        """Return how many instances live, idle and were made, and how many calls wait."""
        return self._pool.statistics()

    async def drain(self) -> None:
        """Take no new calls and return when none is under way. The caller brings the deadline."""
        await self._pool.drain()

    def end_idle(self) -> bool:
        """End an instance that nobody uses, to have its memory; say whether there was one."""
        return self._pool.end_idle()

    def close(self) -> None:
        """Drop the instances."""
        self._pool.close()

    async def settle(self) -> None:
        """Wait, after `close`, until nothing is being made any more."""
        await self._pool.settle()


def _pool(
    planned: PlannedWorkload,
    create: _Create,
    begin: Callable[[], Coming] | None,
    on_error: Callable[[BaseException], None] | None,
) -> InstancePool | SharedPool:
    instances = planned.config.instances
    if planned.plan.goes_on:
        concurrency = instances.concurrency or (CONCURRENCY if planned.plan.shares_instances else 1)
        return SharedPool(
            cast("Callable[[], Awaitable[SharedInstance]]", create),
            maximum=instances.max,
            reuse=calls_served(instances, concurrency),
            concurrency=concurrency,
            queue=instances.queue,
            timeout=planned.config.limits.timeout,
            name=planned.config.name,
            on_error=on_error,
        )
    return InstancePool(
        create,
        maximum=instances.max,
        reuse=calls_served(instances),
        queue=instances.queue,
        timeout=planned.config.limits.timeout,
        name=planned.config.name,
        on_error=on_error,
        begin=begin,
    )


def calls_served(instances: InstancesConfig, concurrency: int = 1) -> int:
    """Return how many calls an instance serves: more by default where it is in many at once.

    To make one, and begin with it, costs as much as 20 or 30 calls.
    """
    if instances.reuse is not None:
        return instances.reuse
    return max(_USUAL, _ROUNDS * concurrency)


@asynccontextmanager
async def open_workload(
    planned: PlannedWorkload,
    engine: Engine,
    pool: BackendPool,
    progress: Progress | None = None,
    on_error: Callable[[BaseException], None] | None = None,
    figures: Figures | None = None,
) -> AsyncIterator[RunningWorkload]:
    """Open the backends of a workload, compile and link its component.

    :param on_error: told of whatever ends a call of the workload
    :param figures: where calls of host functions are counted, if they are
    :raises wasmplex.errors.BackendError: if a backend cannot be opened
    :raises wasmplex.errors.ComponentError: if the component cannot be compiled
    :raises wasmplex.errors.LinkError: if an import cannot be served with the type it has
    :raises wasmplex.errors.PluginError: if a plugin does not do what its contract says
    """
    async with AsyncExitStack() as stack:
        served = await serve(planned, pool, stack, figures)
        tenant = engine.memory.tenant()
        stack.callback(engine.memory.leave, tenant)
        with _located(planned):
            linkable = await anyio.to_thread.run_sync(layered, planned, served)
            create, begin = await _link(planned, linkable, engine, progress, tenant)
        workload = RunningWorkload(planned, served, create, begin, on_error)
        tenant.reclaim = workload.end_idle
        try:
            yield workload
        finally:
            workload.close()
            await workload.settle()
            with anyio.CancelScope(shield=True):
                await engine.swept()


@contextmanager
def _located(planned: PlannedWorkload) -> Iterator[None]:
    """Say of what is wrong with a component which file it is, and which workload's."""
    try:
        yield
    except ComponentError as error:
        config = planned.config
        where = f"{config.component}, {config.table.where('component')}"
        raise ComponentError([replace(d, where=d.where or where) for d in error.diagnostics]) from error


async def _link(
    planned: PlannedWorkload,
    linkable: Layered,
    engine: Engine,
    progress: Progress | None,
    tenant: Tenant,
) -> tuple[_Create, Callable[[], Coming] | None]:
    """Compile and link a component, with adapters if it needs them.

    :param tenant: whose memory its instances take
    :return: what makes instances, and what begins to make them ahead of calls, if anything does
    """
    chosen = strategy(planned, engine.settings)
    guest, shape, imports = linkable.wasm, linkable.shape, linkable.imports
    if chosen.lazy_tables:
        guest = await _quick_to_make(guest)
    want = _bridged_imports(linkable.direct) if chosen.bytes_bridged else required
    guest, placed = await anyio.to_thread.run_sync(_fronted, guest, shape, chosen, want)
    if placed is not None:
        shape, imports = placed.shape, placed.imports(imports)
    bridged = bridge(
        guest, shape, imports, assemble, want,
        chosen.transport, vectors=chosen.vectors, twins=chosen.twins, goes_on=planned.plan.goes_on,
    )  # fmt: skip
    if bridged is not None:
        guest, shape, imports = bridged.wasm, read(bridged.wasm, composed=True), bridged.link(imports)
    elif guest is not linkable.wasm:
        shape = replace(shape, capacity=read(guest).capacity)
    often = planned.config.instances.reuse == 1
    compiled = await engine.compile(guest, shape, progress, mapped=chosen.kept_memories, often=often)
    name, limits, finder = planned.config.name, planned.config.limits, locate if placed else None
    linked = engine.link(compiled, imports, name, limits, tenant, finder)
    if planned.plan.goes_on:
        assert bridged is not None  # noqa: S101  what goes on is called through an adapter
        return partial(_bridged_instance, linked.instantiate, bridged, SharedInstance), None
    is_ahead = chosen.made_ahead and (bridged is None or bridged.start is None)
    return _making(linked, await engine.ahead(linked) if is_ahead else None, bridged)


def _making(
    linked: Linked, ahead: Ahead | None, bridged: Bridged | None
) -> tuple[_Create, Callable[[], Coming] | None]:
    """Return what makes instances that are in one call each, and what begins to make them ahead of calls."""
    make = linked.instantiate if ahead is None else ahead.make
    begin = None if ahead is None else ahead.begin
    if bridged is None:
        return make, begin
    return partial(_bridged_instance, make, bridged, BridgedInstance), begin and partial(
        _BridgedComing, begin, bridged
    )


class _BridgedComing:
    """A bridged instance that is being made in another thread."""

    def __init__(self, begin: Callable[[], InstanceComing], bridged: Bridged) -> None:
        coming = begin()
        self._coming, self._bridged = coming, bridged
        self.done, self.when_done = coming.done, coming.when_done

    def result(self) -> BridgedInstance:
        return BridgedInstance(self._coming.result(), self._bridged)


async def _quick_to_make(wasm: bytes) -> bytes:
    """Return a component with what takes long when an instance is made put off until it is needed."""
    return await anyio.to_thread.run_sync(lazytables.lazy, wasm, assemble) or wasm


def _bridged_imports(direct: frozenset[str]) -> Callable[[Import], bool]:
    """Return which imports go through the bridge where it is not only for what cannot do without."""
    return lambda item: required(item) or (item.name not in direct and wanted(item))


def _fronted(
    wasm: bytes, shape: Shape, chosen: Strategy, want: Callable[[Import], bool]
) -> tuple[bytes, InPlaceBytes | None]:
    """Return a component with what belongs in front of the functions that are linked directly.

    :param want: which imports go through the bridge; those that share resources with them follow
    """
    bridged = needing(shape, want)
    direct = [item.name for item in shape.imports if item not in bridged]
    placed = in_place(wasm, direct, assemble) if chosen.bytes_in_place else None
    if placed is not None:
        wasm = placed.wasm
    if chosen.arguments_weighed:
        unused = [(owner, of) for (owner, _), of in placed.functions.items() if of] if placed else []
        wasm = guarded(wasm, direct, assemble, unused)
    return wasm, placed


async def _bridged_instance(
    make: Callable[[], Awaitable[Instance]], bridged: Bridged, kind: type[BridgedInstance]
) -> BridgedInstance:
    instance = kind(await make(), bridged)
    if bridged.start is not None:
        try:
            await instance.call(bridged.start)
        except BaseException:
            instance.close()
            raise
    return instance
