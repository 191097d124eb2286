"""``wasmplex doctor``: whether everything that a host needs is there and works, and what to type if not."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from wasmplex import __version__
from wasmplex.cli.command import Command
from wasmplex.cli.eventloop import in_event_loop
from wasmplex.cli.failure import as_dict, print_diagnostics
from wasmplex.cli.hostfile import load_host
from wasmplex.cli.options import as_json, registry
from wasmplex.cli.output import echo
from wasmplex.cli.table import echo_json, echo_pairs, echo_table
from wasmplex.errors import Diagnostic, WasmplexError
from wasmplex.plugins.identity import API_VERSION, PluginState
from wasmplex.plugins.installation import installation

if TYPE_CHECKING:
    from wasmplex.assembly import Assembly
    from wasmplex.backends.probing import Probed
    from wasmplex.config import HostConfig
    from wasmplex.plugins.identity import PluginStatus
    from wasmplex.plugins.registry import Registry

__all__ = ["command"]

_LIBRARIES = ("wasmtime", "pluggy", "pydantic", "anyio", "uvloop")
_BAD = {PluginState.FAILED, PluginState.INCOMPATIBLE}


@click.command(
    "doctor",
    cls=Command,
    examples=["wasmplex doctor", "wasmplex doctor host.toml", "wasmplex doctor --json | jq .problems"],
)
@click.argument("host", type=click.Path(path_type=Path), required=False, metavar="[CONFIG]")
@as_json
@click.pass_context
def command(ctx: click.Context, host: Path | None, as_json: bool) -> int:
    """Examine versions, plugins and, with a configuration, every binding's backend.

    CONFIG is a configuration file or its directory; without it, the host.toml of the current directory if
    there is one. All plugins are imported, all backends are opened and asked. Exit code 2: something is wrong
    with a plugin or the configuration; 1: a backend does not answer.
    """
    plugins = registry(ctx)
    broken: list[Diagnostic] = []
    silent: list[Diagnostic] = []
    probes: list[tuple[str, str, Probed]] = []
    strategies: dict[str, _Run] = {}
    beside = os.path.isfile("host.toml")  # noqa: PTH113  False where it may not even be looked for
    path = host or (Path() if beside else None)
    if path is not None:
        try:
            strategies, probes = in_event_loop(
                _examine, load_host(path, plugins, tell=False, partial=True), plugins
            )
        except WasmplexError as error:
            broken += error.diagnostics
    statuses = plugins.status(load=True)
    broken += [_of_plugin(status) for status in statuses if status.state in _BAD]
    broken += _of_requirements(statuses)
    silent += [probed.problem for _, _, probed in probes if probed.problem is not None]
    broken = list(dict.fromkeys(broken))
    if as_json:
        echo_json(_as_dict(statuses, strategies, probes, [*broken, *silent]))
    else:
        _echo(statuses, strategies, probes, [*broken, *silent])
    return 2 if broken else 1 if silent else 0


class _Run(NamedTuple):
    """How a workload is run, and whether nothing of that was switched off or on."""

    text: str
    usual: bool


async def _examine(
    config: HostConfig, plugins: Registry
) -> tuple[dict[str, _Run], list[tuple[str, str, Probed]]]:
    """Open and ask the backend of every binding; return them with their workloads and imports.

    Before them, how each workload is run.

    :raises WasmplexError: with everything that is wrong with the configuration
    """
    from wasmplex.assembly import assemble
    from wasmplex.strategy import choose, strategy

    assembly = await assemble(config, plugins, os.environ)
    strategies = {}
    for planned in assembly.workloads:
        found, usual = strategy(planned, assembly), choose({}, reuse=planned.config.instances.reuse)
        strategies[planned.config.name] = _Run(found.describe(), found == usual)
    return strategies, await _probe(assembly)


async def _probe(assembly: Assembly) -> list[tuple[str, str, Probed]]:
    import anyio

    from wasmplex.backends import BackendPool
    from wasmplex.backends.probing import probe

    found: dict[int, tuple[str, str, Probed]] = {}
    async with BackendPool(assembly.config.base) as pool, anyio.create_task_group() as tasks:

        async def ask(number: int, workload: str, name: str, route: Any) -> None:
            origin, where = str(route.plugin), str(route.where)
            probed = await probe(
                pool, route.provider, route.settings, plugin=origin, where=where, hidden=route.hidden
            )
            found[number] = (workload, name, probed)

        for planned in assembly.components:
            for route in planned.plan.backends:
                names = [r.import_.name for r in planned.plan.routes if route in r.backends]
                tasks.start_soon(ask, id(route), planned.config.name, ", ".join(names), route)
    return sorted(found.values(), key=lambda row: row[:2])


def _of_plugin(status: PluginStatus) -> Diagnostic:
    here, distribution = installation(), status.identity.distribution
    fix = f"{here.upgrade(distribution)}, or remove it: {here.uninstall(distribution)}"
    if not status.identity.version:
        fix = "mend the file"
    fix += f", or go without it: WASMPLEX_DISABLE_PLUGINS={status.identity.name}"
    return Diagnostic(
        f"plugin {status.identity.name!r} is {status.state}", str(status.identity), status.cause, fix
    )


def _of_requirements(statuses: list[PluginStatus]) -> Iterator[Diagnostic]:
    """Say which plugins are installed without what they require, or with another version of it."""
    from wasmplex.plugins.requirements import unmet

    plugins = {s.identity.distribution: s.identity for s in statuses if s.identity.version and not s.builtin}
    for problem in unmet(["wasmplex", *plugins]):
        identity = plugins.get(problem.plugin)
        who = "wasmplex itself" if identity is None else f"plugin {identity.name!r}"
        has = f"{problem.name}=={problem.installed}" if problem.installed else f"no {problem.name}"
        yield Diagnostic(
            f"{who} does not have what it requires",
            problem.plugin if identity is None else str(identity),
            f"{problem.by} requires {problem.requirement}, and {has} is installed",
            f"{installation().install(problem.wanted)}; plugins that exclude each other need two hosts",
        )


# ------------------------------------------------------------ printing


def _versions() -> dict[str, str]:
    found = {
        "wasmplex": __version__,
        "plugin API": str(API_VERSION),
        "python": f"{platform.python_version()} ({sys.executable})",
        "platform": platform.platform(),
    }
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = ""
    return found


def _echo(
    statuses: list[PluginStatus],
    strategies: dict[str, _Run],
    probes: list[tuple[str, str, Probed]],
    problems: list[Diagnostic],
) -> None:
    echo_pairs([(name, text) for name, text in _versions().items() if text])
    echo()
    echo_table(
        ("plugin", "state", "distribution", "import", "cause"),
        [
            (s.identity.name, s.state.value, s.identity.requirement, _milliseconds(s.import_seconds), s.cause)
            for s in statuses
            if not s.builtin
        ],
    )
    if odd := [(name, run.text) for name, run in strategies.items() if not run.usual]:
        echo()
        echo_table(("workload", "is run with"), odd)
    if probes:
        echo()
        echo_table(
            ("workload", "import", "backend", "plugin", "answer", "took"),
            [
                (
                    workload,
                    name,
                    probed.backend,
                    probed.plugin.removeprefix("plugin "),
                    "no" if probed.problem else "ok",
                    _milliseconds(probed.seconds),
                )
                for workload, name, probed in probes
            ],
        )
    echo()
    echo("all is well" if not problems else f"problems: {len(problems)}")
    print_diagnostics(tuple(problems))


def _milliseconds(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds * 1000:.0f} ms"


def _as_dict(
    statuses: list[PluginStatus],
    strategies: dict[str, _Run],
    probes: list[tuple[str, str, Probed]],
    problems: list[Diagnostic],
) -> dict[str, Any]:
    return {
        "ok": not problems,
        "versions": _versions(),
        "plugins": [
            {
                "name": s.identity.name,
                "distribution": s.identity.distribution,
                "version": s.identity.version,
                "state": s.state.value,
                "cause": s.cause,
                "import_seconds": s.import_seconds,
            }
            for s in statuses
            if not s.builtin
        ],
        "strategies": {name: run.text for name, run in strategies.items()},
        "backends": [
            {
                "workload": workload,
                "import": name,
                "backend": probed.backend,
                "plugin": probed.plugin,
                "where": probed.where,
                "ok": probed.problem is None,
                "seconds": probed.seconds,
            }
            for workload, name, probed in probes
        ],
        "problems": list(map(as_dict, problems)),
    }
