"""``wasi:cli@0.3``: environment, arguments, exit, and standard streams as streams."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from wasmplex.plugin import Err, HostFunction, Tables

from host_plugin_wasi.cli import TERMINALS, environment, exit_, exit_with_code, line_log
from host_plugin_wasi.io import READ_LIMIT
from host_plugin_wasi.log_budget import LogBudget
from host_plugin_wasi.p3.ends import finished, no_input
from host_plugin_wasi.stdio import StandardStreams

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine

    from wasmplex.plugin import BoundInterfaces, GuestInstance, HostFunctions, IncomingStream, WorkloadContext

    from host_plugin_wasi.log import LineLog

__all__ = ["bind"]


async def _input(streams: StandardStreams) -> AsyncIterator[bytes]:
    while data := await streams.read(READ_LIMIT):
        yield data


async def _passed_on(streams: StandardStreams, name: str, data: IncomingStream[bytes]) -> None:
    """Write what comes to a standard stream of this process."""
    try:
        async for chunk in data:
            await streams.write(name, chunk)
    except OSError as error:
        raise Err("pipe" if isinstance(error, BrokenPipeError) else "io") from None
    finally:
        data.close()


def _read_via_stream() -> tuple[AsyncIterator[bytes], Coroutine[Any, Any, None]]:
    """Return standard input, which is at its end."""
    return no_input(), finished()


def _output(name: str, budget: LogBudget) -> Callable[..., Coroutine[None, None, None]]:
    def write_via_stream(instance: GuestInstance, data: IncomingStream[bytes]) -> Coroutine[None, None, None]:
        return _log(line_log(instance, name, budget), data)

    return write_via_stream


async def _log(log: LineLog, data: IncomingStream[bytes]) -> None:
    """Log what comes, line by line; the last of several streams logs what is left of a line."""
    log.handles += 1
    try:
        async for chunk in data:
            if (pending := log.write(chunk)) is not None:
                await pending
    finally:
        data.close()
        log.handles -= 1
        if not log.handles:
            log.flush()


def _tables(workload: WorkloadContext, budget: LogBudget) -> dict[str, HostFunctions]:
    streams = StandardStreams.of(workload)

    def output(name: str) -> dict[str, Any]:
        if workload.grants.stdio:
            return {"write-via-stream": lambda data: _passed_on(streams, name, data)}
        return {"write-via-stream": HostFunction(_output(name, budget), context=True)}

    def given() -> tuple[AsyncIterator[bytes], Coroutine[Any, Any, None]]:
        return _input(streams), finished()

    return {
        "environment": environment(workload, "get-initial-cwd"),
        "exit": {"exit": exit_, "exit-with-code": exit_with_code},
        "stdin": {"read-via-stream": given if workload.grants.stdio else _read_via_stream},
        "stdout": output("stdout"),
        "stderr": output("stderr"),
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
