"""``wasmplex doctor``: whether everything that a host needs is there and works, and what to type if not."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from wasmplex import __version__
from wasmplex.cli.command import Command
from wasmplex.cli.connecting import Asked, ask_backends, backends_of, examine, require_workloads
from wasmplex.cli.eventloop import in_event_loop
from wasmplex.cli.failure import as_dict, print_diagnostics
from wasmplex.cli.hostfile import load_host
from wasmplex.cli.options import as_json, proposals, registry
from wasmplex.cli.output import echo
from wasmplex.cli.table import echo_json, echo_pairs, echo_table
from wasmplex.errors import Diagnostic, UsageError, WasmplexError
from wasmplex.plugins.identity import API_VERSION, PluginState
from wasmplex.plugins.installation import installation

if TYPE_CHECKING:
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
    there is one. All plugins are imported, all backends are opened and asked, and if they answer everything
    is done that `run` does short of serving. Exit code 2: something is wrong with a plugin or the
    configuration; 1: a backend does not answer, or does not have what is asked of it.
    """
    plugins = registry(ctx)
    broken: list[Diagnostic] = []
    silent: list[Diagnostic] = []
    found = _Found()
    beside = os.path.isfile("host.toml")  # noqa: PTH113  False where it may not even be looked for
    path = host or (Path() if beside else None)
    if path is not None:
        try:
            config = load_host(path, plugins, tell=False, partial=True)
            in_event_loop(_examine, config, plugins, found)
        except WasmplexError as error:
            found.refused.append(error)
    for refused in found.refused:
        (broken if isinstance(refused, UsageError) else silent).extend(refused.diagnostics)
    statuses = plugins.status(load=True)
    broken += [_of_plugin(status) for status in statuses if status.state in _BAD]
    broken += _of_requirements(statuses)
    silent += found.silent
    broken = list(dict.fromkeys(broken))
    if as_json:
        echo_json(_as_dict(statuses, found, [*broken, *silent]))
    else:
        _echo(statuses, found, [*broken, *silent])
    return 2 if broken else 1 if silent else 0


class _Run(NamedTuple):
    """How a workload is run, and whether nothing of that was switched off or on."""

    text: str
    usual: bool


@dataclass
class _Found:
    """What is known of a configuration.

    :ivar strategies: how each workload is run
    :ivar asked: how each backend answered
    :ivar refused: what would keep a trigger from serving
    """

    strategies: dict[str, _Run] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    refused: list[WasmplexError] = field(default_factory=list)

    @property
    def silent(self) -> list[Diagnostic]:
        """What is wrong with backends."""
        return [one.probed.problem for one in self.asked if one.probed.problem is not None]


async def _examine(config: HostConfig, plugins: Registry, found: _Found) -> None:
    """Do what `run` does short of serving; where a backend does not answer, nothing after that.

    :param found: gets what is found out
    :raises WasmplexError: with everything that is wrong with the configuration
    """
    from wasmplex.assembly import assemble
    from wasmplex.strategy import choose, strategy

    require_workloads(config)
    assembly = await assemble(config, plugins, os.environ, wasm_proposals=proposals(()))
    for planned in assembly.workloads:
        how, usual = strategy(planned, assembly), choose({}, reuse=planned.config.instances.reuse)
        found.strategies[planned.config.name] = _Run(how.describe(), how == usual)
    async with backends_of(assembly, plugins) as pool:
        found.asked = await ask_backends(assembly, pool)
        if not found.silent:
            found.refused = await examine(assembly, plugins, pool)


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


def _echo(statuses: list[PluginStatus], found: _Found, problems: list[Diagnostic]) -> None:
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
    if odd := [(name, run.text) for name, run in found.strategies.items() if not run.usual]:
        echo()
        echo_table(("workload", "is run with"), odd)
    if found.asked:
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
                for workload, name, probed in found.asked
            ],
        )
    echo()
    echo("all is well" if not problems else f"problems: {len(problems)}")
    print_diagnostics(tuple(problems))


def _milliseconds(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds * 1000:.0f} ms"


def _as_dict(statuses: list[PluginStatus], found: _Found, problems: list[Diagnostic]) -> dict[str, Any]:
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
        "strategies": {name: run.text for name, run in found.strategies.items()},
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
            for workload, name, probed in found.asked
        ],
        "problems": list(map(as_dict, problems)),
    }
