"""The life of a host: from a configuration to workloads that answer, and back to nothing."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import anyio
from anyio.abc import TaskGroup

from wasmplex import config as configuration
from wasmplex.assembly import Assembly, assemble
from wasmplex.backends import BackendPool
from wasmplex.backends import PoolStatistics as BackendStatistics
from wasmplex.backends.probing import PROBE_TIMEOUT, Probed, probe
from wasmplex.config import HostConfig
from wasmplex.engine import Engine, EngineSettings, MemoryBudget
from wasmplex.errors import FailureError, PluginError, Trap, UsageError, WasmplexError, nearest
from wasmplex.logs import get_logger
from wasmplex.metering import cause_of, of_backends, of_workloads
from wasmplex.metrics import Family, Figures
from wasmplex.plugins.blame import blamed, files_of_traceback
from wasmplex.plugins.registry import Registry
from wasmplex.plugins.triggers import RunningTrigger, Trigger, TriggerBinding
from wasmplex.redaction import KNOWN, secrets_in
from wasmplex.threads import OwnThread
from wasmplex.watchdog import Watchdog, end_leaked_tasks
from wasmplex.workload import RunningWorkload, open_workload

__all__ = ["Host", "Part"]

log = get_logger("wasmplex.host")


@dataclass(frozen=True)
class Part:
    """What one process does of those that serve one configuration together.

    :ivar sockets: the triggers that every one of them serves, with what `Trigger.share` opened
    :ivar rest: whether it serves the other triggers as well, as one of them does
    """

    sockets: Mapping[str, Sequence[socket.socket]]
    rest: bool = True


class Host:
    """Runs the workloads of one configuration.

    .. code-block:: python

        async with Host.from_config("host.toml") as host:
            print(await host.call("shop", "run", "key"))

    Entering opens backends and links components, and starts no trigger: that is what `serve` does. A host
    belongs to the thread in which it is entered: in others everything asynchronous raises `UsageError`.

    :param settings: the configuration
    :param registry: where providers come from; None for the installed plugins
    :param plugins: providers, or modules with hooks, of this process; they go before installed ones
    :param environ: what ``{ env = ... }`` refers to
    :param wasm_proposals: proposals to switch on, or off with a leading ``-``, after the configuration's
    :param dev: watch the event loop, and say which plugin blocks it
    :param progress: is told what is being done while components compile: workload and a few words
    :param assembly: what `assemble` made of the configuration with this registry, if that has been done
    :param backends: where backends are opened, for hosts of one process that follow each other; it has been
        entered. None for a pool of its own
    :param figures: where is counted what the workloads do, for hosts that follow each other. None for figures
        of its own if the configuration has ``[admin]``, and for none otherwise
    """

    def __init__(
        self,
        settings: HostConfig,
        *,
        registry: Registry | None = None,
        plugins: Sequence[object] = (),
        environ: Mapping[str, str] | None = None,
        wasm_proposals: Sequence[str] = (),
        dev: bool = False,
        progress: Callable[[str, str], None] | None = None,
        assembly: Assembly | None = None,
        backends: BackendPool | None = None,
        figures: Figures | None = None,
    ) -> None:
        self.config = settings
        self.registry = registry or Registry()
        for plugin in plugins:
            self.registry.add(plugin)
        self._environ = os.environ if environ is None else environ
        self._wasm_proposals = tuple(wasm_proposals)
        self._dev = dev
        self._progress = progress
        self._stack = AsyncExitStack()
        self._thread = OwnThread()
        self._pool = self._shared = backends
        self._figures = Figures() if figures is None and settings.admin is not None else figures
        self._planned = assembly
        self._assembly: Assembly | None = None
        self._bindings: dict[str, list[TriggerBinding]] = {}
        self._triggers: dict[str, Trigger] = {}
        self._running: dict[str, RunningTrigger] = {}
        self.workloads: dict[str, RunningWorkload] = {}
        self.addresses: dict[str, Mapping[str, Any]] = {}
        """What each trigger reported when it was ready, ``{"http": {"url": ...}}``."""

    @classmethod
    def from_config(cls, path: Path | str, **options: Any) -> Self:
        """Read a configuration file, or the ``host.toml`` of a directory; see the class for `options`.

        :raises wasmplex.errors.ConfigError: with everything that is wrong in it
        """
        environ = options.get("environ")
        return cls(configuration.load(Path(path), os.environ if environ is None else environ), **options)

    def __repr__(self) -> str:
        return f"<Host {self.config.name}: {', '.join(self.workloads) or 'not running'}>"

    async def __aenter__(self) -> Self:
        """Open everything.

        :raises wasmplex.errors.WasmplexError: what kept it from starting; everything opened is closed again
        """
        self._thread = OwnThread()
        assembly = self._planned or await assemble(
            self.config, self.registry, self._environ, wasm_proposals=self._wasm_proposals
        )
        self._assembly = assembly
        async with AsyncExitStack() as stack:
            await self._open(stack, assembly)
            self._bind_triggers(assembly)
            self._stack = stack.pop_all()
        return self

    async def _open(self, stack: AsyncExitStack, assembly: Assembly) -> None:
        """Open the engine, the pool of backends, and all workloads."""
        if self._dev:
            await stack.enter_async_context(Watchdog(self.registry.owners))
        triggers = [route.settings for p in assembly.workloads for route in p.plan.triggers]
        stack.enter_context(KNOWN.holding(secrets_in([triggers, assembly.triggers])))
        if self._shared is None:
            stack.push_async_callback(end_leaked_tasks, self.registry.owners, asyncio.all_tasks())
        memory = MemoryBudget(assembly.memory, len(assembly.workloads))
        settings = EngineSettings(assembly.proposals, self.config.engine.cache)
        engine = await stack.enter_async_context(Engine(settings, self._on_drop, memory))
        if (pool := self._shared) is None:
            pool = await stack.enter_async_context(BackendPool(self.config.base))
        self._pool = pool
        pool.configure(idle_ttl=self.config.backends.idle_ttl, max_idle=self.config.backends.max_idle)
        for planned in assembly.workloads:
            name = planned.config.name
            opened = open_workload(
                planned, engine, pool, self._reporter(name), partial(self._on_error, name), self._figures
            )
            self.workloads[name] = await stack.enter_async_context(opened)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        """Close everything, the youngest first.

        :raises wasmplex.errors.UsageError: in a thread that is not the one it was entered in
        """
        self._thread.require("the host")
        self.workloads.clear()
        return await self._stack.__aexit__(kind, error, traceback)

    def _on_error(self, workload: str, error: BaseException) -> None:
        """Count what ended a call, and say whose code it was that failed in it, if it was a plugin's."""
        if self._figures is not None and (kind := cause_of(error)):
            self._figures.failures[workload, kind] += 1
        cause = error.__cause__ if isinstance(error, Trap) else None
        if cause is None or isinstance(cause, WasmplexError):
            return
        if owner := blamed(files_of_traceback(cause), self.registry.owners()):
            log.error("%s: %s", owner, error, exc_info=cause)

    def _on_drop(self, workload: str, error: BaseException) -> None:
        """Say whose resource it was that could not be dropped when its instance ended."""
        owner = blamed(files_of_traceback(error), self.registry.owners()) or "a plugin"
        log.error("%s: dropping a resource of workload %s failed", owner, workload, exc_info=error)

    def _reporter(self, name: str) -> Callable[[str], None] | None:
        progress = self._progress
        return None if progress is None else lambda text: progress(name, text)

    def _bind_triggers(self, assembly: Assembly) -> None:
        for planned in assembly.workloads:
            workload = self.workloads[planned.config.name]
            for route, source in zip(planned.plan.triggers, workload.sources, strict=True):
                self._triggers[route.name] = route.trigger
                handler = route.adapter.adapt(route.export)
                report = None
                if self._figures is not None:
                    report = partial(self._figures.delivered, workload.name, route.name)
                binding = TriggerBinding(workload, route.settings, handler, str(route.where), source, report)
                self._bindings.setdefault(route.name, []).append(binding)

    # ------------------------------------------------------------ use

    def workload(self, name: str) -> RunningWorkload:
        """Return a running workload.

        :raises wasmplex.errors.UsageError: if there is none of that name
        """
        try:
            return self.workloads[name]
        except KeyError:
            if name in self.config.workloads:
                what, fix = f"the host of workload {name!r} is not running", "async with host: ..."
            else:
                what, fix = f"there is no workload {name!r}", nearest(name, self.config.workloads)
            raise UsageError(what, fix=fix) from None

    async def call(self, workload: str, export: str, *args: Any) -> Any:
        """Call an export of a workload; see `RunningWorkload.call`.

        :raises wasmplex.errors.UsageError: if there is no such workload or export
        """
        return await self.workload(workload).call(export, *args)

    def trigger_bindings(self, trigger: str) -> Sequence[TriggerBinding]:
        """Return what a trigger has to serve, for those who serve it themselves."""
        return tuple(self._bindings.get(trigger, ()))

    def statistics(self) -> BackendStatistics | None:
        """Return how the backends fare; None before the host was entered."""
        return None if self._pool is None else self._pool.statistics()

    def metrics(self) -> list[Family]:
        """Return what Prometheus may be told of this host: see `wasmplex.metrics`."""
        counted = () if self._figures is None else self._figures.families()
        backends = () if self._pool is None else of_backends(self._pool.statistics())
        return [*counted, *of_workloads(self.workloads.values()), *backends]

    async def probe(self) -> list[Probed]:
        """Ask the backend of every binding whether it would answer now; see `wasmplex.backends.probing`."""
        self._thread.require("the host")
        assert self._assembly is not None  # noqa: S101  it is called inside the context
        assert self._pool is not None  # noqa: S101
        return [
            await probe(
                self._pool,
                route.provider,
                route.settings,
                plugin=str(route.plugin),
                where=str(route.where),
                hidden=route.hidden,
            )
            for planned in self._assembly.components
            for route in planned.plan.backends
        ]

    async def examine(self) -> list[WasmplexError]:
        """Return what would keep triggers from serving, so far as that is known; nothing is changed."""
        self._thread.require("the host")
        found: list[WasmplexError] = []
        for name, trigger in self._triggers.items():
            with anyio.move_on_after(PROBE_TIMEOUT) as scope:
                found += await trigger.examine(self._bindings[name])
            if scope.cancelled_caught:
                found.append(FailureError(f"trigger {name!r} cannot be examined in {PROBE_TIMEOUT:g} s"))
        return found

    # ------------------------------------------------------------ serve

    async def serve(
        self,
        stop: anyio.Event | None = None,
        *,
        relieved: anyio.Event | None = None,
        started: Callable[[], None] | None = None,
        drain_timeout: float = 30.0,
        part: Part | None = None,
    ) -> None:
        """Run all triggers until `stop` is set, then drain: finish what is under way and return.

        :param stop: None to serve until cancelled
        :param relieved: set instead of `stop` when another host serves the same sockets: what is under way
            then takes the time it needs, until `stop` is set as well
        :param started: called once, when every trigger is ready; `addresses` tells where
        :param drain_timeout: seconds after which what is still under way is cancelled
        :param part: None to serve all alone
        :raises wasmplex.errors.FailureError: if a trigger cannot start
        :raises wasmplex.errors.UsageError: in a thread that is not the one it was entered in
        """
        self._thread.require("the host")
        try:
            async with anyio.create_task_group() as tasks:
                await self._start_all(tasks, part)
                if started is not None:
                    started()
                stop, relieved = stop or anyio.Event(), relieved or anyio.Event()
                await _either(stop, relieved)
                if not stop.is_set():
                    await self._relieve(stop)
                with anyio.move_on_after(drain_timeout) as scope:
                    await self.drain()
                if scope.cancelled_caught:
                    log.warning("calls were still under way after %g s and were cancelled", drain_timeout)
                tasks.cancel_scope.cancel()
        except BaseExceptionGroup as group:
            raise _only(group) from None

    async def _start_all(self, tasks: TaskGroup, part: Part | None) -> None:
        """Start the triggers that are this host's part, those that take over sockets first."""
        for name in sorted(self._triggers, key=lambda name: not self._triggers[name].takes_over):
            sockets = () if part is None else part.sockets.get(name)
            if sockets is not None or (part is not None and part.rest):
                self.addresses[name] = await self._start(tasks, name, sockets or ())

    async def _start(
        self, tasks: TaskGroup, name: str, sockets: Sequence[socket.socket]
    ) -> Mapping[str, Any]:
        assert self._assembly is not None  # noqa: S101  serve() is called inside the context
        settings = self._assembly.triggers[name]
        self._running[name] = running = self._made(self._triggers[name], name, settings, sockets)

        async def run(*, task_status: anyio.abc.TaskStatus[Mapping[str, Any]]) -> None:
            await running.serve(task_status=task_status)

        report: Mapping[str, Any] = await tasks.start(run, name=f"trigger {name}")
        return report

    def _made(
        self, trigger: Trigger, name: str, settings: Any, sockets: Sequence[socket.socket]
    ) -> RunningTrigger:
        """Have a trigger make what runs, whatever it does instead."""
        what, where = f"trigger {name!r} cannot be started", str(self.registry.origin(trigger))
        try:
            running: object = trigger.start(self._bindings[name], settings, sockets)
        except WasmplexError:
            raise
        except (Exception, SystemExit) as error:
            why = f"its method start() raised {type(error).__name__}: {error}"
            raise PluginError(what, where=where, why=why) from error
        if not isinstance(running, RunningTrigger):
            why = (
                f"its method start() returned a value of type {type(running).__name__}, not a RunningTrigger"
            )
            raise PluginError(what, where=where, why=why)
        return running

    async def _relieve(self, stop: anyio.Event) -> None:
        """Have the triggers leave what is new to others, and return when they have, or `stop` is set."""

        async def relieve_all() -> None:
            async with anyio.create_task_group() as tasks:
                for running in self._running.values():
                    tasks.start_soon(running.relieve)
            tasks_or_stop.cancel_scope.cancel()

        async with anyio.create_task_group() as tasks_or_stop:
            tasks_or_stop.start_soon(relieve_all)
            await stop.wait()
            tasks_or_stop.cancel_scope.cancel()

    async def drain(self) -> None:
        """Take nothing new and return when all calls have ended. The caller brings the deadline."""
        self._thread.require("the host")
        for last in (False, True):
            async with anyio.create_task_group() as tasks:
                for name, running in self._running.items():
                    if self._triggers[name].takes_over is last:
                        tasks.start_soon(running.drain)
        async with anyio.create_task_group() as tasks:
            for workload in self.workloads.values():
                tasks.start_soon(workload.drain)


async def _either(one: anyio.Event, other: anyio.Event) -> None:
    """Return when one of two events is set."""

    async def wait(event: anyio.Event) -> None:
        await event.wait()
        tasks.cancel_scope.cancel()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wait, one)
        tasks.start_soon(wait, other)


def _only(group: BaseException) -> BaseException:
    """Return the one error in a group, or the group if there are several."""
    while isinstance(group, BaseExceptionGroup) and len(group.exceptions) == 1:
        group = group.exceptions[0]
    return group
