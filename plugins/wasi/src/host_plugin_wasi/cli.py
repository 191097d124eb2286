"""``wasi:cli``: environment, arguments, exit, and standard streams that end up in the host's log."""

from __future__ import annotations

from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from wasmplex.plugin import GuestExit, HostFunction, Ok, Tables

from host_plugin_wasi.io import InputStream, Pollable, ReadyPollable, closed
from host_plugin_wasi.log import LineLog, LogOutput
from host_plugin_wasi.log_budget import LogBudget
from host_plugin_wasi.stdio import ProcessInput, ProcessOutput, StandardStreams

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from wasmplex.plugin import BoundInterfaces, GuestInstance, HostFunctions, WorkloadContext

__all__ = ["TERMINALS", "EmptyInput", "bind", "environment", "exit_", "exit_with_code", "line_log"]


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


def exit_(status: Any) -> None:
    """End the guest, well or not.

    :raises GuestExit: always
    """
    raise GuestExit(0 if isinstance(status, Ok) else 1)


def exit_with_code(code: int) -> None:
    """End the guest with a code.

    :raises GuestExit: always
    """
    raise GuestExit(code)


def line_log(instance: GuestInstance, name: str, budget: LogBudget) -> LineLog:
    """Return what collects standard output or error of a component, whatever versions it writes by.

    Several of them may be in one instance: middleware, and what it stands in front of.
    """
    key = ("host_plugin_wasi", name, budget.workload)
    log: LineLog | None = instance.state.get(key)
    if log is None:
        log = instance.state[key] = LineLog(budget.workload, name, budget)
    return log


def environment(workload: WorkloadContext, initial_cwd: str) -> HostFunctions:
    """Return the functions of ``environment``; versions differ in the name of the last."""
    variables, arguments = list(workload.grants.env.items()), list(workload.grants.args)
    return {
        "get-environment": lambda: variables,
        "get-arguments": lambda: arguments,
        initial_cwd: lambda: None,
    }


TERMINALS: Final[dict[str, HostFunctions]] = {
    "terminal-stdin": {"get-terminal-stdin": lambda: None},
    "terminal-stdout": {"get-terminal-stdout": lambda: None},
    "terminal-stderr": {"get-terminal-stderr": lambda: None},
}
"""No standard stream of a guest is a terminal."""


def _tables(workload: WorkloadContext, budget: LogBudget) -> dict[str, HostFunctions]:
    streams = StandardStreams.of(workload)

    def output(name: str) -> Any:
        if workload.grants.stdio:
            return lambda: ProcessOutput(streams, name)
        return HostFunction(lambda instance: LogOutput(line_log(instance, name, budget)), context=True)

    return {
        "environment": environment(workload, "initial-cwd"),
        "exit": {"exit": exit_, "exit-with-code": exit_with_code},
        "stdin": {"get-stdin": partial(ProcessInput, streams) if workload.grants.stdio else EmptyInput},
        "stdout": {"get-stdout": output("stdout")},
        "stderr": {"get-stderr": output("stderr")},
        **TERMINALS,
    }


@asynccontextmanager
async def bind(workload: WorkloadContext) -> AsyncIterator[BoundInterfaces]:
    """Bind ``wasi:cli`` with the environment and arguments that the workload was granted."""
    budget = LogBudget.of(workload)
    try:
        yield Tables(_tables(workload, budget))
    finally:
        budget.report()
