"""``wasmplex check``: what is wrong with a configuration, and who serves what if nothing is."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from wasmplex.cli.command import Command
from wasmplex.cli.eventloop import in_event_loop
from wasmplex.cli.hostfile import load_host
from wasmplex.cli.options import as_json, config_argument, proposals, registry, wasm_proposal
from wasmplex.cli.output import echo
from wasmplex.cli.table import echo_folded, echo_json, echo_table
from wasmplex.errors import BackendError, UsageError

if TYPE_CHECKING:
    from wasmplex.assembly import Assembly, PlannedWorkload
    from wasmplex.config import HostConfig
    from wasmplex.routing.plan import RouteRow

__all__ = ["command"]


@click.command(
    "check",
    cls=Command,
    examples=[
        "wasmplex check",
        "wasmplex check host.toml --connect",
        "wasmplex check host.toml --workers 4",
        "wasmplex check host.toml --json | jq '.workloads[].imports'",
    ],
)
@config_argument()
@click.option("--connect", is_flag=True, help="Also open the backends and ask them, compile and link.")
@click.option("--workers", type=click.IntRange(1), metavar="N", default=1,
              help="Also say what `run --workers N` would refuse.")  # fmt: skip
@wasm_proposal
@as_json
@click.pass_context
def command(
    ctx: click.Context,
    host: Path,
    connect: bool,
    workers: int,
    wasm_proposals: tuple[str, ...],
    as_json: bool,
) -> None:
    """Check a configuration and show who serves each import.

    CONFIG is a configuration file, or a directory with a host.toml in it; by default the current one. A
    component is checked with the configuration that `run` gives it. All that is wrong is reported at once.
    With --connect, everything is done that `run` does short of serving, and what was compiled is kept for it.
    """
    config = load_host(host, registry(ctx), partial=True)
    assembly = in_event_loop(_check, ctx, config, proposals(wasm_proposals), connect, workers)
    if as_json:
        echo_json(_as_dict(assembly))
    else:
        _echo(assembly)


async def _check(
    ctx: click.Context, config: HostConfig, chosen: tuple[str, ...], connect: bool, workers: int
) -> Assembly:
    from wasmplex.assembly import assemble
    from wasmplex.cli.connecting import ask_backends, backends_of, examine, require_workloads

    require_workloads(config)
    plugins = registry(ctx)
    assembly = await assemble(config, plugins, os.environ, wasm_proposals=chosen)
    if workers > 1:
        _share(assembly, workers)
    if connect:
        async with backends_of(assembly, plugins) as pool:
            asked = await ask_backends(assembly, pool)
            if problems := [one.probed.problem for one in asked if one.probed.problem is not None]:
                raise BackendError(list(dict.fromkeys(problems)))
            if refused := await examine(assembly, plugins, pool):
                raise ExceptionGroup("triggers cannot be served", refused)
    return assembly


def _share(assembly: Assembly, workers: int) -> None:
    """Raise what is wrong with a configuration for several processes."""
    from wasmplex.cli.processes import nothing_shared, separate_backends, shares_nothing

    problems = [*separate_backends(assembly, workers)]
    if shares_nothing(assembly):
        problems.append(nothing_shared(assembly))
    if problems:
        raise UsageError(problems)


# ------------------------------------------------------------ printing


def _as_dict(assembly: Assembly) -> dict[str, Any]:
    return {
        "ok": True,
        "host": assembly.config.name,
        "file": str(assembly.config.path),
        "workloads": [
            {
                **_component_as_dict(planned),
                "middleware": [_component_as_dict(layer) for layer in planned.middleware],
            }
            for planned in assembly.workloads
        ],
    }


def _component_as_dict(planned: PlannedWorkload) -> dict[str, Any]:
    return {
        "name": planned.config.name,
        "component": str(planned.config.component),
        "imports": [
            {
                "import": row.import_,
                "interface": row.interface or row.import_,
                "served_by": row.served_by,
                "plugin": row.plugin,
                "namespace": row.namespace,
                "where": row.where,
            }
            for row in planned.plan.rows()
        ],
        "triggers": [
            {
                "trigger": route.name,
                "export": route.export.name,
                "backend": route.backend.selector if route.backend else "",
                "through": route.source.import_.name if route.source else "",
                "plugin": route.plugin.requirement,
                "where": str(route.where),
            }
            for route in planned.plan.triggers
        ],
    }


def _without_host(row: RouteRow) -> RouteRow:
    """Leave the host itself out of who takes part, where a plugin does."""
    who = row.plugin.split(", ")
    plugins = [one for one in who if one.partition("==")[0] != "wasmplex"]
    return row._replace(plugin=", ".join(plugins or who))


def _without_binding(rows: Iterable[RouteRow]) -> list[str]:
    """Return a line for each plugin that serves imports without being told how."""
    served: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        served.setdefault((row.served_by, row.plugin), []).append(row.import_)
    return [
        f"without a binding: {', '.join(names) if len(names) < _MANY else _counted(names)}; "
        + _SERVED_BY.get(by, f"served by {plugin}")
        for (by, plugin), names in served.items()
    ]


_MANY = 4
_SERVED_BY = {
    "types": "there is nothing to serve in it but types",
    "resource": "served by the backend that each resource came from",
}


def _counted(names: Sequence[str]) -> str:
    """Return how many interfaces of which packages these are."""
    packages = dict.fromkeys(name.partition("/")[0] for name in names)
    return f"{len(names)} interfaces of {', '.join(packages)}"


def _echo(assembly: Assembly) -> None:
    for planned in assembly.workloads:
        echo(f"workload {planned.config.name}: {planned.config.component}")
        _echo_imports(planned)
        for route in planned.plan.triggers:
            source = f", {route.messages}" if route.messages else ""
            echo_folded(f"trigger {route.name} calls {route.export.name}{source}")
        if not planned.plan.triggers:
            echo("no trigger: nothing but `wasmplex invoke` calls it")
        for layer in planned.middleware:
            echo(f"behind middleware {layer.config.name}: {layer.config.component}")
            _echo_imports(layer)
        echo()
    count = len(assembly.workloads)
    echo(f"ok: {count} workload{'' if count == 1 else 's'}")


def _echo_imports(planned: PlannedWorkload) -> None:
    rows = planned.plan.rows()
    if bound := [_without_host(row) for row in rows if row.where]:
        echo_table(("import", "interface", "served by", "plugin", "namespace", "configured at"), bound)
    for text in _without_binding(row for row in rows if not row.where):
        echo_folded(text)
