"""``wasi:cli``: environment, arguments, exit, and standard streams that end up in the host's log."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from wasmplex.plugin import GuestExit, HostFunction, Ok, Tables

from host_plugin_wasi.io import InputStream, Pollable, ReadyPollable, closed
from host_plugin_wasi.log import LineLog, LogOutput
from host_plugin_wasi.log_budget import LogBudget

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from wasmplex.plugin import BoundInterfaces, GuestInstance, HostFunctions, WorkloadContext

__all__ = ["EmptyInput", "bind"]


class EmptyInput(InputStream):
    """A stream that is at its end."""

    __slots__ = ()

    def read(self, length: int) -> bytes:
        """Say that the stream is at its end.

        :raises Err: always
        """
        raise closed()

    def subscribe(self) -> Pollable:
        """Return a pollable that is ready."""
        return ReadyPollable()


def _exit(status: Any) -> None:
    raise GuestExit(0 if isinstance(status, Ok) else 1)


def _exit_with_code(code: int) -> None:
    raise GuestExit(code)


def _standard_output(name: str, budget: LogBudget) -> Callable[[GuestInstance], LogOutput]:
    key = ("host_plugin_wasi", name)

    def get(instance: GuestInstance) -> LogOutput:
        log = instance.state.get(key)
        if log is None:
            log = instance.state[key] = LineLog(instance.workload, name, budget)
        return LogOutput(log)

    return get


def _tables(workload: WorkloadContext, budget: LogBudget) -> dict[str, HostFunctions]:
    environment = list(workload.grants.env.items())
    arguments = list(workload.grants.args)
    return {
        "environment": {
            "get-environment": lambda: environment,
            "get-arguments": lambda: arguments,
            "initial-cwd": lambda: None,
        },
        "exit": {"exit": _exit, "exit-with-code": _exit_with_code},
        "stdin": {"get-stdin": EmptyInput},
        "stdout": {"get-stdout": HostFunction(_standard_output("stdout", budget), context=True)},
        "stderr": {"get-stderr": HostFunction(_standard_output("stderr", budget), context=True)},
        "terminal-stdin": {"get-terminal-stdin": lambda: None},
        "terminal-stdout": {"get-terminal-stdout": lambda: None},
        "terminal-stderr": {"get-terminal-stderr": lambda: None},
    }


@asynccontextmanager
async def bind(workload: WorkloadContext) -> AsyncIterator[BoundInterfaces]:
    """Bind ``wasi:cli`` with the environment and arguments that the workload was granted."""
    budget = LogBudget(workload.name, workload.limits.log_bytes_per_second)
    try:
        yield Tables(_tables(workload, budget))
    finally:
        budget.report()
