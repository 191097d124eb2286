"""``wasmplex run``: serves until it is told to stop."""

from __future__ import annotations

import os
import sys
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from wasmplex.cli.changes import Changes
from wasmplex.cli.command import Command
from wasmplex.cli.eventloop import in_event_loop
from wasmplex.cli.logs import set_up_logging
from wasmplex.cli.options import config_argument, proposals, registry, wasm_proposal
from wasmplex.errors import UsageError

if TYPE_CHECKING:
    from wasmplex.config import HostConfig

__all__ = ["command"]


@click.command(
    "run",
    cls=Command,
    examples=[
        "wasmplex run",
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
@click.option("--log-level", type=click.Choice(["debug", "info", "warning", "error"]),
              help="What is logged on standard error; by default what [log] says, or info.")  # fmt: skip
@click.option("--log-format", type=click.Choice(["text", "json"]),
              help="As lines of text or of JSON; by default what [log] says, or text.")  # fmt: skip
@click.option("--watch", is_flag=True, help="Start again when the configuration, a component or a plugin "
              "file changes; what is wrong is said, and the old one goes on.")  # fmt: skip
@click.option("--dev", is_flag=True, help="Watch the event loop, and say which plugin blocks it.")
@wasm_proposal
@click.pass_context
def command(
    ctx: click.Context,
    host: Path,
    listen: str | None,
    workers: int,
    drain_timeout: str,
    log_level: str | None,
    log_format: str | None,
    watch: bool,
    dev: bool,
    wasm_proposals: tuple[str, ...],
) -> int:
    """Serve the workloads of a configuration.

    HOST is a configuration file, or a directory with a host.toml in it; by default the current one. SIGTERM
    or Ctrl-C stops taking new work and ends when what is under way has; a second one kills.
    """
    import anyio

    from wasmplex.cli.serving import serve
    from wasmplex.cli.supervising import supervise
    from wasmplex.cli.worker import Worker
    from wasmplex.config import load

    worker = Worker.of_environment(os.environ)
    number = None if worker is None else worker.number
    set_up_logging(log_level or "info", format_=log_format or "text", worker=number)
    config = load(host)
    set_up_logging(log_level or config.log.level, format_=log_format or config.log.format, worker=number)
    _require_workloads(config)
    if listen is not None:
        config = _listening(config, listen)
    drain = _seconds(drain_timeout)
    options = {"registry": registry(ctx), "wasm_proposals": proposals(wasm_proposals), "dev": dev}
    changes = Changes(config, lambda: registry(ctx)) if watch and worker is None else None
    if workers > 1 and worker is None:
        _require_posix()
        code = anyio.run(supervise, config, workers, drain, options, changes)
    else:
        with worker or nullcontext():
            code = in_event_loop(serve, config, drain, options, changes, worker)
    if changes is not None and changes.found:
        sys.stderr.flush()
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606  the same command again
    return code


def _require_posix() -> None:
    if os.name != "posix":
        raise UsageError(
            "--workers needs a POSIX system",
            why="elsewhere processes do not inherit the socket that they listen on together",
            fix="run several hosts, each with a port of its own, behind a proxy",
        )


def _require_workloads(config: HostConfig) -> None:
    if not config.workloads:
        raise UsageError("there is no workload to run", where=str(config.path), fix="[workload.NAME]")
    if not any(workload.triggers for workload in config.workloads.values()):
        raise UsageError(
            "no workload has a trigger, so nothing would ever happen",
            where=str(config.path),
            fix='trigger.http = { path = "/" }',
        )


def _listening(config: HostConfig, address: str) -> HostConfig:
    from wasmplex.config import Location, Table

    table = config.triggers.get("http", Table())
    places = {**table.locations, ("listen",): Location("the command line", 1, "--listen")}
    table = replace(table, values={**table.values, "listen": address}, locations=places)
    return replace(config, triggers={**config.triggers, "http": table})


def _seconds(text: str) -> float:
    from wasmplex.settings import parse_duration

    try:
        return parse_duration(float(text) if text.replace(".", "", 1).isdecimal() else text)
    except ValueError as error:
        raise click.UsageError(f"--drain-timeout {text!r} is {error}") from None
