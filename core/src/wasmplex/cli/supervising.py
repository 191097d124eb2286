"""``wasmplex run --workers``: what may be served by several processes, and the process that starts them."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from wasmplex.cli.logs import say
from wasmplex.cli.stopping import Stopping
from wasmplex.errors import Diagnostic, FailureError, UsageError

if TYPE_CHECKING:
    from wasmplex.assembly import Assembly
    from wasmplex.cli.changes import Changes
    from wasmplex.config import HostConfig

__all__ = ["supervise"]


async def supervise(
    config: HostConfig,
    workers: int,
    drain_timeout: float,
    options: Mapping[str, Any],
    changes: Changes | None,
) -> int:
    """Serve with several processes until a signal or a change says to stop; return the exit code.

    :param drain_timeout: seconds that calls under way may take after that
    :param options: those of `Host`
    :raises UsageError: if the configuration is wrong, or not one for several processes
    """
    import anyio

    from wasmplex.assembly import assemble
    from wasmplex.cli.crew import Crew

    async with anyio.create_task_group() as tasks:
        stop = anyio.Event()
        crew: Crew | None = None
        stopping = Stopping(tasks.cancel_scope, stop, on_kill=lambda: crew.kill() if crew else None)
        tasks.start_soon(stopping.listen)
        proposals = options["wasm_proposals"]
        assembly = await assemble(config, options["registry"], os.environ, wasm_proposals=proposals)
        if separate := [*_separate_backends(assembly, workers)]:
            raise UsageError(separate)
        with ExitStack() as stack:
            sockets = await _share(assembly, stack)

            def started(addresses: list[str]) -> None:
                stopping.serving = True
                _announce(assembly, workers, addresses)
                if changes is not None:
                    tasks.start_soon(changes.wait, stop)

            crew = Crew([sys.executable, *sys.orig_argv[1:]], workers, sockets, drain_timeout)
            code = await crew.run(stop, started)
        tasks.cancel_scope.cancel()
    stopping.leave_if_interrupted()
    return code


def _announce(assembly: Assembly, workers: int, addresses: Sequence[str]) -> None:
    names = ", ".join(planned.config.name for planned in assembly.workloads)
    where = ", ".join(addresses)
    say(f"{assembly.config.name} serves {names} with {workers} workers: {where}")


def _separate_backends(assembly: Assembly, workers: int) -> Iterator[Diagnostic]:
    """Say which bindings would have data of their own in each worker, and have not been allowed to."""
    for planned in assembly.workloads:
        for route in planned.plan.backends:
            if not route.provider.in_process or getattr(route.settings, "per_worker", False):
                continue
            imports = ", ".join(r.import_.name for r in planned.plan.routes if r.backend is route)
            fix = "use a backend that processes share, or run one worker"
            if "per_worker" in type(route.settings).model_fields:
                fix = f"per_worker = true if each may have its own, as a cache may; else {fix}"
            yield Diagnostic(
                f"backend {route.provider.name!r} of import {imports} is in the memory of one process",
                where=str(route.where),
                why=f"each of {workers} workers would read what it alone has written",
                fix=fix,
            )


async def _share(assembly: Assembly, stack: ExitStack) -> dict[str, list[socket.socket]]:
    """Open what the workers listen on; the triggers that are missing are the first one's alone.

    :raises UsageError: if that is all of them, or a trigger cannot listen
    """
    shared: dict[str, list[socket.socket]] = {}
    triggers = {route.name: route.trigger for p in assembly.workloads for route in p.plan.triggers}
    for name, trigger in triggers.items():
        try:
            sockets = await trigger.share(assembly.triggers[name])
        except FailureError as error:
            raise UsageError(error.diagnostics) from error
        if sockets is not None:
            shared[name] = [stack.enter_context(sock) for sock in sockets]
    if not shared:
        raise UsageError(
            f"nothing is served that workers could share: trigger {', '.join(triggers)}",
            where=str(assembly.config.path),
            why="one worker alone would run it",
            fix="wasmplex run without --workers",
        )
    return shared
