"""``wasmplex run``: serves until it is told to stop."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from wasmplex.cli.changes import Changes
from wasmplex.cli.command import Command
from wasmplex.cli.eventloop import in_event_loop
from wasmplex.cli.hostfile import load_host
from wasmplex.cli.logs import set_up_logging
from wasmplex.cli.messages import never_wait
from wasmplex.cli.options import config_argument, proposals, registry, wasm_proposal
from wasmplex.cli.orders import awaited
from wasmplex.cli.setup import Setup
from wasmplex.errors import UsageError

if TYPE_CHECKING:
    from wasmplex.cli.worker import Worker
    from wasmplex.config import HostConfig
    from wasmplex.plugins.registry import Registry

__all__ = ["command"]


@click.command(
    "run",
    cls=Command,
    examples=[
        "wasmplex run",
        "wasmplex run shop.wasm",
        "wasmplex run host.toml --listen 0.0.0.0:80",
        "wasmplex run host.toml --workers 4",
        "wasmplex run host.toml --wasm-proposal threads,-gc",
    ],
)
@config_argument()
@click.option("--listen", metavar="HOST:PORT", help="Listen here instead of where [http] says.")
@click.option("--workers", type=click.IntRange(1), metavar="N", default=1, show_default=True,
              help="Serve with N processes at one address; one that ends is started again.")  # fmt: skip
@click.option("--drain-timeout", metavar="DURATION", default="30s", show_default=True,
              help="How long calls under way may take when the host stops.")  # fmt: skip
@click.option("--hang-timeout", metavar="DURATION", default="4s", show_default=True,
              help="How long the event loop of one of several workers may stand still, before it is killed "
              "and another one started; 0: for ever.")  # fmt: skip
@click.option("--log-level", type=click.Choice(["debug", "info", "warning", "error"]),
              help="What is logged on standard error; by default what [log] says, or info.")  # fmt: skip
@click.option("--log-format", type=click.Choice(["text", "json"]),
              help="As lines of text or of JSON; by default what [log] says, or text.")  # fmt: skip
@click.option("--watch", is_flag=True, help="Do as on SIGHUP when the configuration, a component or a plugin "
              "file changes.")  # fmt: skip
@click.option("--dev", is_flag=True, help="Watch the event loop, and say which plugin blocks it.")
@wasm_proposal
@click.pass_context
@awaited()
def command(
    ctx: click.Context,
    host: Path,
    listen: str | None,
    workers: int,
    drain_timeout: str,
    hang_timeout: str,
    log_level: str | None,
    log_format: str | None,
    watch: bool,
    dev: bool,
    wasm_proposals: tuple[str, ...],
) -> int:
    """Serve the workloads of a configuration.

    CONFIG is a configuration file, or a directory with a host.toml in it; by default the current one. A
    component is served with the configuration that it needs, its stores in memory. SIGTERM or Ctrl-C stops
    taking new work and ends when what is under way has; a second one, a moment later, kills. SIGHUP reads the
    configuration again and serves that, refusing nobody meanwhile; if it is wrong, that is said, and what was
    served before goes on.
    """
    from wasmplex.cli.worker import Worker

    worker = Worker.of_environment(os.environ)
    number = None if worker is None else worker.number
    set_up_logging(log_level or "info", format_=log_format or "text", worker=number)
    never_wait()

    def set_up_log(config: HostConfig) -> None:
        set_up_logging(log_level or config.log.level, format_=log_format or config.log.format, worker=number)

    setup = Setup(
        load=partial(_load, host, listen, partial(registry, ctx), tell=worker is None),
        set_up_log=set_up_log,
        registry=partial(registry, ctx),
        wasm_proposals=proposals(wasm_proposals),
        dev=dev,
        workers=workers,
        drain_timeout=_seconds("--drain-timeout", drain_timeout),
        hang_timeout=_seconds("--hang-timeout", hang_timeout),
        changes=Changes() if watch and worker is None else None,
    )
    return _run(setup, worker)


def _run(setup: Setup, worker: Worker | None) -> int:
    """Have workers serve, or serve in this process; return its exit code."""
    if setup.workers > 1 and worker is None:
        import anyio

        from wasmplex.cli.supervising import supervise

        _require_posix()
        return anyio.run(supervise, setup)
    from wasmplex.cli.serving import serve

    with worker or nullcontext():
        return in_event_loop(serve, setup, worker)


def _load(host: Path, listen: str | None, plugins: Callable[[], Registry], *, tell: bool) -> HostConfig:
    """Read the configuration.

    :raises WasmplexError: if it is wrong
    """
    config = load_host(host, plugins(), tell=tell, serve=True, partial=True)
    return config if listen is None else _listening(config, listen)


def _require_posix() -> None:
    if os.name != "posix":
        raise UsageError(
            "--workers needs a POSIX system",
            why="elsewhere processes do not inherit the socket that they listen on together",
            fix="run several hosts, each with a port of its own, behind a proxy",
        )


def _listening(config: HostConfig, address: str) -> HostConfig:
    from wasmplex.config import Location, Table

    table = config.triggers.get("http", Table())
    places = {**table.locations, ("listen",): Location("the command line", 0, "--listen")}
    table = replace(table, values={**table.values, "listen": address}, locations=places)
    return replace(config, triggers={**config.triggers, "http": table})


def _seconds(option: str, text: str) -> float:
    from wasmplex.settings import parse_duration

    try:
        return parse_duration(float(text) if text.replace(".", "", 1).isdecimal() else text)
    except ValueError as error:
        raise click.UsageError(f"{option} {text!r} is {error}") from None
