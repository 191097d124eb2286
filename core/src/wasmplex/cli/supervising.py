"""``wasmplex run --workers``: what may be served by several processes, and the process that starts them."""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from wasmplex.cli.admin import Admin
from wasmplex.cli.listening import ADMIN, Addresses, Taken
from wasmplex.cli.logs import say
from wasmplex.cli.orders import Orders
from wasmplex.cli.processes import nothing_shared, separate_backends
from wasmplex.cli.reloading import refused
from wasmplex.errors import UsageError
from wasmplex.metrics import Family, labelled, merged, of_build, of_process

if TYPE_CHECKING:
    from anyio.abc import TaskGroup

    from wasmplex.assembly import Assembly
    from wasmplex.cli.setup import Setup
    from wasmplex.cli.workers import Workers

__all__ = ["supervise"]


async def supervise(setup: Setup) -> int:
    """Serve with several processes until a signal says to stop; return the exit code.

    :raises UsageError: if the configuration is wrong, or not one for several processes
    """
    import anyio

    from wasmplex.cli.workers import Workers

    command = [sys.executable, *sys.orig_argv[1:]]
    async with anyio.create_task_group() as tasks:
        workers = Workers(command, setup.workers, setup.drain_timeout, setup.hang_timeout)
        orders = Orders(tasks.cancel_scope, on_kill=workers.kill)
        tasks.start_soon(orders.listen)
        with Addresses() as addresses:
            assembly, taken = await _read(setup, addresses, first=True)
            addresses.keep(taken)
            admin = Admin(partial(_figures, workers), lambda: workers.serves)
            move_admin = partial(_move, admin, addresses, tasks)
            move_admin()

            def serving() -> None:
                orders.serving = True

            def started() -> None:
                say(_serves(assembly, workers))
                keep_current = partial(_keep_current, setup, orders, addresses, workers, move_admin)
                tasks.start_soon(orders.until_stopped, keep_current)
                if setup.changes is not None:
                    tasks.start_soon(setup.changes.wait, orders.reload)

            code = await workers.run(_sockets(taken), orders.stop, serving=serving, started=started)
        tasks.cancel_scope.cancel()
    orders.leave_if_interrupted()
    return code


async def _figures(workers: Workers) -> list[Family]:
    own = labelled([*of_process(), of_build()], "worker", "parent")
    return merged([*own, *await workers.figures()])


def _move(admin: Admin, addresses: Addresses, tasks: TaskGroup) -> None:
    taken = addresses.taken.get(ADMIN)
    admin.move(() if taken is None else taken.sockets, tasks)


async def _keep_current(
    setup: Setup, orders: Orders, addresses: Addresses, workers: Workers, moved: Callable[[], None]
) -> None:
    """Have new workers take over whenever the configuration is to be read again."""
    while True:
        await orders.wait_for_reload()
        try:
            assembly, taken = await _read(setup, addresses)
        except Exception as error:  # noqa: BLE001  whatever it is, what is served goes on
            refused(error)
            continue
        if await workers.replace(_sockets(taken)):
            addresses.keep(taken)
            moved()
            setup.set_up_log(assembly.config)
            say(f"reloaded: {_serves(assembly, workers)}")
        else:
            addresses.drop(taken)
            refused()


async def _read(
    setup: Setup, addresses: Addresses, *, first: bool = False
) -> tuple[Assembly, Mapping[str, Taken]]:
    """Read the configuration and take what it listens on; other triggers are the first worker's alone.

    :raises UsageError: if it is wrong, or nothing is listened on, or that cannot be
    """
    assembly, _ = await setup.read(first=first)
    if separate := [*separate_backends(assembly, setup.workers)]:
        raise UsageError(separate)
    taken = await addresses.take(assembly)
    if not _sockets(taken):
        raise UsageError([nothing_shared(assembly)])
    return assembly, taken


def _serves(assembly: Assembly, workers: Workers) -> str:
    names = ", ".join(planned.config.name for planned in assembly.workloads)
    return (
        f"{assembly.config.name} serves {names} with {workers.size} workers: {', '.join(workers.addresses)}"
    )


def _sockets(taken: Mapping[str, Taken]) -> dict[str, Sequence[socket.socket]]:
    return {name: one.sockets for name, one in taken.items() if name != ADMIN}
