"""One process that serves a configuration, alone or as one of several workers.

When the configuration is read again, a new host starts beside the old one, on the same sockets and with the
same open backends where their settings are the same; the old one then answers what it has begun, and ends.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from itertools import chain
from typing import TYPE_CHECKING

import anyio

from wasmplex.backends import BackendPool
from wasmplex.cli.admin import Admin
from wasmplex.cli.garbage import settle
from wasmplex.cli.listening import ADMIN, Addresses, Taken
from wasmplex.cli.logs import say
from wasmplex.cli.orders import Orders
from wasmplex.cli.progress import compiling
from wasmplex.cli.reloading import refused
from wasmplex.errors import BackendError, FailureError, GuestError, UsageError
from wasmplex.host import Host, Part
from wasmplex.logs import get_logger
from wasmplex.metering import of_backends, of_workloads
from wasmplex.metrics import Family, Figures, merged, of_build, of_process
from wasmplex.watchdog import Watchdog, end_leaked_tasks

if TYPE_CHECKING:
    from anyio.abc import TaskGroup, TaskStatus

    from wasmplex.cli.setup import Planned, Setup
    from wasmplex.cli.worker import Worker
    from wasmplex.plugins.identity import PluginIdentity

__all__ = ["serve"]

log = get_logger("wasmplex.host")


async def serve(setup: Setup, worker: Worker | None = None) -> int:
    """Serve until a signal or the parent of a worker says to stop; return the exit code.

    :param worker: what this process is of several, if it is
    """
    async with anyio.create_task_group() as tasks:
        orders = Orders(tasks.cancel_scope, quiet=worker is not None)
        tasks.start_soon(orders.listen)
        if worker is not None:
            tasks.start_soon(worker.live)
            tasks.start_soon(worker.obey, orders)
        await _Serving(setup, worker, orders, tasks).run()
        tasks.cancel_scope.cancel()
    orders.leave_if_interrupted()
    return 0


class _Serving:
    """The hosts of this process, of which one serves and those before it end."""

    def __init__(self, setup: Setup, worker: Worker | None, orders: Orders, tasks: TaskGroup) -> None:
        self._setup = setup
        self._worker = worker
        self._orders = orders
        self._tasks = tasks
        self._addresses = Addresses()
        self._owners: dict[str, PluginIdentity] = {}
        self._relieved = orders.relieved if worker is not None else anyio.Event()
        self._admin = Admin(self._figures, lambda: orders.serving and not orders.stop.is_set())
        self._counted = Figures()
        self._running: list[Host] = []
        self._pool: BackendPool | None = None
        if worker is not None:
            worker.collect = self._families

    async def run(self) -> None:
        """Serve until all hosts have ended."""
        planned = await self._setup.read(first=True)
        async with AsyncExitStack() as stack:
            stack.enter_context(self._addresses)
            if self._worker is None:  # before anything is compiled, for what is taken is then said at once
                self._keep(await self._addresses.take(planned.assembly))
            stack.push_async_callback(end_leaked_tasks, lambda: self._owners, asyncio.all_tasks())
            if self._worker is not None and self._worker.hang_timeout and not self._setup.dev:
                await stack.enter_async_context(Watchdog(lambda: self._owners, self._worker.hang_timeout / 2))
            self._pool = await stack.enter_async_context(BackendPool(planned.assembly.config.base))
            self._hosts = await stack.enter_async_context(anyio.create_task_group())
            host = await self._start(planned, self._addresses.taken, self._relieved)
            if self._worker is not None:
                self._worker.announce(_urls(host))
                return
            say(_serves(host))
            self._tasks.start_soon(self._orders.until_stopped, self._keep_current)
            if self._setup.changes is not None:
                self._tasks.start_soon(self._setup.changes.wait, self._orders.reload)

    async def _keep_current(self) -> None:
        """Have a new host take over whenever the configuration is to be read again."""
        while True:
            await self._orders.wait_for_reload()
            try:
                planned = await self._setup.read()
                host = await self._take_over(planned)
            except Exception as error:  # noqa: BLE001  whatever it is, what is served goes on
                refused(error)
            else:
                self._setup.set_up_log(planned.assembly.config)
                say(f"reloaded: {_serves(host)}")

    async def _take_over(self, planned: Planned) -> Host:
        taken = await self._addresses.take(planned.assembly)
        relieved = anyio.Event()
        try:
            host = await self._start(planned, taken, relieved)
        except BaseException:
            self._addresses.drop(taken)
            raise
        self._keep(taken)
        self._relieved.set()
        self._relieved = relieved
        return host

    def _keep(self, taken: Mapping[str, Taken]) -> None:
        self._addresses.keep(taken)
        self._admin.move(taken[ADMIN].sockets if ADMIN in taken else (), self._tasks)

    # ------------------------------------------------------------ figures

    async def _figures(self) -> list[Family]:
        return self._families()

    def _families(self) -> list[Family]:
        """Return the figures of this process: those of all hosts in it together."""
        workloads = [of_workloads(host.workloads.values()) for host in self._running]
        backends = [] if self._pool is None else of_backends(self._pool.statistics())
        counted = [*self._counted.families(), *merged(chain(*workloads)), *backends]
        return [*counted, *of_process(), of_build()]

    # ------------------------------------------------------------ one host

    async def _start(self, planned: Planned, taken: Mapping[str, Taken], relieved: anyio.Event) -> Host:
        """Start a host and return it when it serves."""
        host: Host = await self._hosts.start(self._live, planned, taken, relieved)
        return host

    async def _live(
        self,
        planned: Planned,
        taken: Mapping[str, Taken],
        relieved: anyio.Event,
        *,
        task_status: TaskStatus[Host],
    ) -> None:
        started = False

        def on_started() -> None:
            nonlocal started
            if not self._orders.serving:
                settle()
            started = self._orders.serving = True
            task_status.started(host)

        try:
            async with AsyncExitStack() as stack:
                host = await self._opened(stack, planned)
                try:
                    await host.serve(
                        self._orders.stop,
                        relieved=relieved,
                        started=on_started,
                        drain_timeout=self._setup.drain_timeout,
                        part=self._part(stack, taken),
                    )
                except FailureError as error:
                    if started or isinstance(error, (BackendError, GuestError)):
                        raise
                    # A trigger that cannot start: what it was told to do is wrong.
                    raise UsageError(error.diagnostics) from error
        except Exception:
            if self._worker is not None or not relieved.is_set():
                raise
            log.exception("a host failed when another one had taken over")
        if relieved.is_set():
            settle()

    async def _opened(self, stack: AsyncExitStack, planned: Planned) -> Host:
        assembly, registry = planned
        with compiling(len(assembly.workloads), bar=not self._orders.serving) as progress:
            host = Host(
                assembly.config,
                registry=registry,
                assembly=assembly,
                backends=self._pool,
                figures=self._counted if assembly.config.admin is not None else None,
                dev=self._setup.dev,
                progress=progress,
            )
            await stack.enter_async_context(host)
        self._running.append(host)
        stack.callback(self._running.remove, host)
        self._owners |= registry.owners()
        return host

    def _part(self, stack: AsyncExitStack, taken: Mapping[str, Taken]) -> Part:
        if self._worker is not None:
            return Part(self._worker.sockets, rest=self._worker.number == 1)
        sockets = {
            name: [stack.enter_context(sock.dup()) for sock in one.sockets]
            for name, one in taken.items()
            if name != ADMIN
        }
        return Part(sockets)


def _urls(host: Host) -> Sequence[str]:
    return [str(report.get("url") or name) for name, report in host.addresses.items()]


def _serves(host: Host) -> str:
    return f"{host.config.name} serves {', '.join(host.workloads)}: {', '.join(_urls(host))}"
