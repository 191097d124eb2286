"""One process that serves a configuration, alone or as one of several workers."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

from wasmplex.cli.garbage import settle
from wasmplex.cli.logs import say
from wasmplex.cli.stopping import Stopping
from wasmplex.errors import BackendError, FailureError, GuestError, UsageError

if TYPE_CHECKING:
    from wasmplex.cli.changes import Changes
    from wasmplex.cli.worker import Worker
    from wasmplex.config import HostConfig
    from wasmplex.host import Host

__all__ = ["serve"]


async def serve(
    config: HostConfig,
    drain_timeout: float,
    options: dict[str, Any],
    changes: Changes | None,
    worker: Worker | None,
) -> int:
    """Serve until a signal, a change or the parent of a worker says to stop; return the exit code.

    :param drain_timeout: seconds that calls under way may take after that
    :param options: those of `Host`
    """
    import anyio

    from wasmplex.cli.progress import compiling
    from wasmplex.host import Host, Part

    part = None if worker is None else Part(worker.sockets, rest=worker.number == 1)
    async with anyio.create_task_group() as tasks:
        stopping = Stopping(tasks.cancel_scope, anyio.Event(), quiet=worker is not None)
        tasks.start_soon(stopping.listen)
        if worker is not None:
            tasks.start_soon(worker.wait, stopping.ask)
        async with AsyncExitStack() as stack:
            with compiling(len(config.workloads)) as progress:
                host = await stack.enter_async_context(Host(config, **options, progress=progress))

            def started() -> None:
                stopping.serving = True
                settle()
                _announce(host, worker)
                if changes is not None:
                    tasks.start_soon(changes.wait, stopping.stop)

            try:
                await host.serve(stopping.stop, started=started, drain_timeout=drain_timeout, part=part)
            except FailureError as error:
                if stopping.serving or isinstance(error, (BackendError, GuestError)):
                    raise
                # A trigger that cannot start, on a port in use say: what it was told to do is wrong.
                raise UsageError(error.diagnostics) from error
        tasks.cancel_scope.cancel()
    stopping.leave_if_interrupted()
    return 0


def _announce(host: Host, worker: Worker | None) -> None:
    addresses = [str(report.get("url") or name) for name, report in host.addresses.items()]
    if worker is not None:
        worker.announce(addresses)
        return
    say(f"{host.config.name} serves {', '.join(host.workloads)}: {', '.join(addresses)}")
