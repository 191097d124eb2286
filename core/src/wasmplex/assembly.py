"""From a configuration to plans: what can be known about a host before anything is opened or compiled.

``check`` ends here, ``run`` goes on from here.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from wasmplex import machine
from wasmplex.blocking import Threads
from wasmplex.component import read, relabel
from wasmplex.component.shape import Shape
from wasmplex.config import HostConfig, WorkloadConfig, unknown_triggers, validate
from wasmplex.config.model import Table
from wasmplex.config.reading import in_order
from wasmplex.config.references import attempt
from wasmplex.engine import proposals
from wasmplex.errors import ComponentError, Diagnostic, PluginError, RoutingError, UsageError, WasmplexError
from wasmplex.plugins.identity import Group
from wasmplex.plugins.registry import Registry
from wasmplex.plugins.triggers import Trigger
from wasmplex.routing import Plan, plan
from wasmplex.routing.examining import examine
from wasmplex.routing.middleware import check_chained, without_next

__all__ = ["Assembly", "PlannedWorkload", "assemble"]


@dataclass(frozen=True)
class PlannedWorkload:
    """One workload, ready to be opened.

    :ivar wasm: the component's bytes, its imports under the labels that the configuration gives them
    :ivar shape: what `wasm` imports and exports
    :ivar transport: how bytes cross the bridge, as the configuration says
    :ivar optimize: whether components are changed to be faster, as the host says
    :ivar middleware: what stands in front of it, outermost first, each with a plan of its own
    """

    config: WorkloadConfig
    plan: Plan
    wasm: bytes = field(repr=False)
    shape: Shape = field(repr=False)
    transport: str = "auto"
    optimize: bool = True
    middleware: tuple[PlannedWorkload, ...] = ()

    @property
    def components(self) -> tuple[PlannedWorkload, ...]:
        """It and its middleware: everything that has a component, imports and grants of its own."""
        return (*self.middleware, self)


@dataclass(frozen=True)
class Assembly:
    """A whole host, planned.

    :ivar proposals: wasm proposals to switch on or off
    :ivar triggers: host-wide settings of each trigger that a workload uses
    :ivar memory: bytes that all instances may have together
    """

    config: HostConfig
    workloads: tuple[PlannedWorkload, ...]
    proposals: Mapping[str, bool]
    triggers: Mapping[str, Any] = field(repr=False)
    memory: int = sys.maxsize

    @property
    def components(self) -> tuple[PlannedWorkload, ...]:
        """All workloads and their middleware."""
        return tuple(component for planned in self.workloads for component in planned.components)


async def assemble(
    config: HostConfig,
    registry: Registry,
    environ: Mapping[str, str],
    *,
    wasm_proposals: tuple[str, ...] = (),
) -> Assembly:
    """Plan every workload of a configuration, in a thread: files are read and plugins imported.

    :param wasm_proposals: proposals from the command line or the environment, after those of the file
    :raises UsageError: with everything that is wrong, in all workloads at once
    """
    threads = Threads("planning", 1)  # its daemons keep no process that ends
    try:
        return await threads.run(_assemble, config, registry, environ, wasm_proposals)
    finally:
        threads.close()


def _assemble(
    config: HostConfig, registry: Registry, environ: Mapping[str, str], wasm_proposals: tuple[str, ...]
) -> Assembly:
    problems: list[Diagnostic] = [*config.problems]
    if problems and not all(path.is_file() for path in config.plugins):
        raise UsageError(problems)  # what else there is may be theirs

    broken = list(_added(config, registry))
    if broken:
        raise UsageError([*problems, *broken])  # likewise
    switched: Mapping[str, bool] = {}
    try:
        switched = proposals.parse([*config.engine.wasm_proposals, *wasm_proposals])
    except WasmplexError as error:
        problems += error.diagnostics
    problems += unknown_triggers(config, registry.names(Group.TRIGGERS))
    workloads, found = _planned(config, registry, environ)
    problems += found
    triggers, found = _trigger_settings(config, workloads, registry, environ)
    problems += _conflicts(workloads)
    if problems := list(dict.fromkeys([*problems, *found])):
        raise UsageError(in_order(problems) if config.problems else problems)
    return Assembly(config, tuple(workloads), switched, triggers, config.memory or machine.memory() // 4 * 3)


def _added(config: HostConfig, registry: Registry) -> Iterator[Diagnostic]:
    """Add the one-file plugins; yield what is wrong with them."""
    for path in config.plugins:
        try:
            registry.add_file(path)
        except WasmplexError as error:
            yield from error.diagnostics


def _planned(
    config: HostConfig, registry: Registry, environ: Mapping[str, str]
) -> tuple[list[PlannedWorkload], list[Diagnostic]]:
    """Plan the workloads that can be planned; return what is wrong with the others."""
    workloads: list[PlannedWorkload] = []
    problems: list[Diagnostic] = []
    for workload in config.workloads.values():
        there = all(part.component.is_file() for part in (workload, *workload.middleware))
        if config.problems and not (workload.whole and there):
            problems += examine(workload, _shape(workload), registry, environ, config.base)
            continue
        try:
            workloads.append(_plan(workload, config, registry, environ))
        except WasmplexError as error:
            problems += error.diagnostics
    return workloads, problems


def _plan(
    workload: WorkloadConfig, config: HostConfig, registry: Registry, environ: Mapping[str, str]
) -> PlannedWorkload:
    problems: list[Diagnostic] = []
    layers: list[PlannedWorkload] = []
    for layer in workload.middleware:
        try:
            layers.append(_plan_middleware(layer, config, registry, environ))
        except WasmplexError as error:
            problems += error.diagnostics
    try:
        wasm, shape = _read(workload)
        check_chained(workload, shape)
        planned = plan(workload, shape, registry, environ, base=config.base)
    except WasmplexError as error:
        problems += error.diagnostics
    if problems:
        raise RoutingError(problems)
    if planned.relabels:
        wasm = relabel(wasm, dict(planned.relabels))
    engine = config.engine
    return PlannedWorkload(
        workload, planned, wasm, planned.shape, engine.transport, engine.optimize, tuple(layers)
    )


def _plan_middleware(
    layer: WorkloadConfig, config: HostConfig, registry: Registry, environ: Mapping[str, str]
) -> PlannedWorkload:
    wasm, shape = _read(layer)
    planned = plan(layer, without_next(layer, shape), registry, environ, base=config.base)
    if planned.relabels:
        wasm = relabel(wasm, dict(planned.relabels))
        shape = read(wasm)  # with the import that the plan does not know of
    return PlannedWorkload(layer, planned, wasm, shape)


def _read(workload: WorkloadConfig) -> tuple[bytes, Shape]:
    """Return the component of a workload and its shape."""
    wasm = _read_file(workload)
    try:
        return wasm, read(wasm)
    except ComponentError as error:
        file, table = str(workload.component), str(workload.table.where("component"))
        raise ComponentError(
            [
                Diagnostic(d.what, ", ".join(filter(None, (file, d.where, table))), d.why, d.fix)
                for d in error.diagnostics
            ]
        ) from None


def _shape(workload: WorkloadConfig) -> Shape | None:
    """Return the shape of a component if it can be had; of a pipe or a device the end may never come."""
    try:
        return read(workload.component.read_bytes()) if workload.component.is_file() else None
    except (OSError, ComponentError):
        return None


def _read_file(workload: WorkloadConfig) -> bytes:
    try:
        return workload.component.read_bytes()
    except OSError as error:
        raise ComponentError(
            f"the component of workload {workload.name!r} cannot be read: {workload.component}",
            where=str(workload.table.where("component")),
            why=(error.strerror or str(error)).lower(),
            fix="build it, or correct the path; it starts at the configuration file",
        ) from None


def _conflicts(workloads: list[PlannedWorkload]) -> list[Diagnostic]:
    """Return what is wrong between the tables of one trigger in several workloads."""
    routes = [(w.config.name, route) for w in workloads for route in w.plan.triggers]
    found: list[Diagnostic] = []
    for trigger in {id(route.trigger): route.trigger for _, route in routes}.values():
        uses = [route.use(name) for name, route in routes if route.trigger is trigger]
        found += trigger.conflicts(uses)
    return found


def _configured(config: HostConfig, registry: Registry) -> Iterator[tuple[str, Trigger]]:
    for name in config.triggers:
        try:
            yield name, registry.trigger(name)
        except PluginError:  # it is said of what uses the trigger, if anything does
            continue


def _trigger_settings(
    config: HostConfig, workloads: list[PlannedWorkload], registry: Registry, environ: Mapping[str, str]
) -> tuple[dict[str, Any], list[Diagnostic]]:
    """Validate the host-wide table of each trigger that is used, or that has one."""
    used = dict(_configured(config, registry)) | {
        route.name: route.trigger for workload in workloads for route in workload.plan.triggers
    }
    found: dict[str, Any] = {}
    problems: list[Diagnostic] = []
    for name, trigger in used.items():
        table = config.triggers.get(name, Table())
        values, unresolved = attempt(table, config.base, environ)
        settings, refused = validate(table, trigger.host_settings, values)
        found[name] = settings
        problems += unresolved + refused
    return found, problems
