"""``wasmplex run``: serves until it is told to stop."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from wasmplex.cli.changes import Changes
from wasmplex.cli.command import Command
from wasmplex.cli.logs import set_up_logging
from wasmplex.cli.options import config_argument, proposals, registry, wasm_proposal
from wasmplex.errors import BackendError, FailureError, GuestError, UsageError

if TYPE_CHECKING:
    import anyio

    from wasmplex.config import HostConfig
    from wasmplex.host import Host

__all__ = ["command"]

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@click.command(
    "run",
    cls=Command,
    examples=[
        "wasmplex run",
        "wasmplex run host.toml --listen 0.0.0.0:80",
        "wasmplex run host.toml --wasm-proposal threads,-gc",
    ],
)
@config_argument()
@click.option("--listen", metavar="HOST:PORT", help="Listen here instead of where [http] says.")
@click.option("--drain-timeout", metavar="DURATION", default="30s", show_default=True,
              help="How long calls under way may take when the host stops.")  # fmt: skip
@click.option("--log-level", type=click.Choice(["debug", "info", "warning", "error"]), default="info",
              show_default=True, help="What is logged on standard error.")  # fmt: skip
@click.option("--watch", is_flag=True, help="Start again when the configuration, a component or a plugin "
              "file changes; what is wrong is said, and the old one goes on.")  # fmt: skip
@click.option("--dev", is_flag=True, help="Watch the event loop, and say which plugin blocks it.")
@wasm_proposal
@click.pass_context
def command(
    ctx: click.Context,
    host: Path,
    listen: str | None,
    drain_timeout: str,
    log_level: str,
    watch: bool,
    dev: bool,
    wasm_proposals: tuple[str, ...],
) -> int:
    """Serve the workloads of a configuration.

    HOST is a configuration file, or a directory with a host.toml in it; by default the current one. SIGTERM
    or Ctrl-C stops taking new work and ends when what is under way has; a second one kills.
    """
    import anyio

    from wasmplex.config import load

    set_up_logging("%(asctime)s %(levelname)s %(name)s: %(message)s", log_level.upper())
    config = load(host)
    _require_workloads(config)
    if listen is not None:
        config = _listening(config, listen)
    options = {"registry": registry(ctx), "wasm_proposals": proposals(wasm_proposals), "dev": dev}
    changes = Changes(config, lambda: registry(ctx)) if watch else None
    backend = {"use_uvloop": _has_uvloop()}
    code = anyio.run(_run, config, _seconds(drain_timeout), options, changes, backend_options=backend)
    if changes is not None and changes.found:
        sys.stderr.flush()
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606  the same command again
    return code


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


def _has_uvloop() -> bool:
    from importlib.util import find_spec

    return find_spec("uvloop") is not None


# ------------------------------------------------------------ serving


@dataclass
class _Stopping:
    """What signals do: before the host serves they cancel, then they drain, and the second one kills."""

    scope: anyio.CancelScope
    stop: anyio.Event
    serving: bool = False
    by: int = 0

    async def listen(self) -> None:
        import anyio

        with anyio.open_signal_receiver(*_SIGNALS) as signals:
            async for number in signals:
                if self.by:
                    _kill(number)
                self.by = number
                if self.serving:
                    click.echo("stopping: finishing what is under way; once more to kill", err=True)
                    self.stop.set()
                else:
                    self.scope.cancel()


def _kill(number: int) -> None:
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


async def _run(
    config: HostConfig, drain_timeout: float, options: dict[str, Any], changes: Changes | None
) -> int:
    import anyio

    from wasmplex.cli.progress import compiling
    from wasmplex.host import Host

    async with anyio.create_task_group() as tasks:
        stopping = _Stopping(tasks.cancel_scope, anyio.Event())
        tasks.start_soon(stopping.listen)
        async with AsyncExitStack() as stack:
            with compiling(len(config.workloads)) as progress:
                host = await stack.enter_async_context(Host(config, **options, progress=progress))

            def started() -> None:
                stopping.serving = True
                _announce(host)
                if changes is not None:
                    tasks.start_soon(changes.wait, stopping.stop)

            try:
                await host.serve(stopping.stop, started=started, drain_timeout=drain_timeout)
            except FailureError as error:
                if stopping.serving or isinstance(error, (BackendError, GuestError)):
                    raise
                # A trigger that cannot start, on a port in use say: what it was told to do is wrong.
                raise UsageError(error.diagnostics) from error
        tasks.cancel_scope.cancel()
    if stopping.by and not stopping.serving:
        _leave(130 if stopping.by == signal.SIGINT else 0)
    return 0


def _announce(host: Host) -> None:
    urls = [str(report.get("url") or name) for name, report in host.addresses.items()]
    click.echo(f"{host.config.name} serves {', '.join(host.workloads)}: {', '.join(urls)}", err=True)


def _leave(code: int) -> NoReturn:
    """End at once: a compilation under way runs in a thread that Python would wait for."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
