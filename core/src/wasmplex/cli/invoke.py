"""``wasmplex invoke``: calls one export from a shell."""

from __future__ import annotations

import logging
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from wasmplex.cli.command import Command
from wasmplex.cli.eventloop import in_event_loop
from wasmplex.cli.files import read_component
from wasmplex.cli.hostfile import load_host
from wasmplex.cli.options import config_argument, proposals, registry, wasm_proposal
from wasmplex.cli.output import descriptor, echo
from wasmplex.errors import Diagnostic, GuestExit, UsageError, nearest

if TYPE_CHECKING:
    from wasmplex.component.shape import Shape
    from wasmplex.config import HostConfig
    from wasmplex.wit.names import SemVer
    from wasmplex.wit.types import FuncType

__all__ = ["command"]

_DRAIN = 30.0
"""Seconds that a guest may go on after its function has returned, to write its output say."""


@click.command(
    "invoke",
    cls=Command,
    examples=[
        "wasmplex invoke host.toml shop run '\"key\"'",
        "wasmplex invoke host.toml calc demo:calc/api@1.0.0#add 2 3",
        "wasmplex invoke --stdio host.toml tool run < input.txt",
    ],
    context_settings={"ignore_unknown_options": True},
)
@config_argument(required=True)
@click.argument("workload")
@click.argument("export")
@click.argument("args", nargs=-1)
@click.option(
    "--stdio",
    is_flag=True,
    help="Give the guest this command's standard streams; the exit code alone tells the result.",
)
@wasm_proposal
@click.pass_context
def command(
    ctx: click.Context,
    host: Path,
    workload: str,
    export: str,
    args: tuple[str, ...],
    stdio: bool,
    wasm_proposals: tuple[str, ...],
) -> int:
    """Call one export of a workload and print the result.

    Arguments and result are written as WAVE: 5, "text", [1, 2], {name: "x"}, some(3), err("no"). EXPORT is
    `function`, or `interface#function` for one of an exported interface. No trigger is started. The exit code
    is 1 if the function returns an err, and the guest's own if it exits.
    """
    from wasmplex.component import read

    config = load_host(host, registry(ctx), tell=False)
    if workload not in config.workloads:
        raise UsageError(
            f"there is no workload {workload!r}", where=str(host), fix=nearest(workload, config.workloads)
        )
    only = replace(
        config,
        workloads={
            workload: replace(config.workloads[workload], stdio=(0, descriptor(), 2) if stdio else None)
        },
    )
    name, function = _find(read(read_component(only.workloads[workload].component)), export)
    values = _parse(name, function, args)
    logging.getLogger("wasmplex.guest").setLevel(logging.INFO)
    options = {"registry": registry(ctx), "wasm_proposals": proposals(wasm_proposals)}
    text, code = in_event_loop(_call, only, workload, name, function, values, options)
    if text and not stdio:
        echo(text)
    return code


def _find(shape: Shape, export: str) -> tuple[str, FuncType]:
    """Return the full name and the type of a function; its own name is enough if no other has it.

    :raises UsageError: there is none, or several
    """
    from wasmplex.component import InstanceType
    from wasmplex.wit.types import FuncType

    every: dict[str, FuncType] = {}
    for item in shape.exports:
        if isinstance(item.type, FuncType):
            every[item.name] = item.type
        elif isinstance(item.type, InstanceType):
            every |= {f"{item.name}#{name}": type_ for name, type_ in item.type.functions.items()}
    if export in every:
        return export, every[export]
    found = [name for name in every if name.rpartition("#")[2] == export]
    if len({name.partition("@")[0] for name in found}) == 1:  # of one interface's versions the highest
        name = max(found, key=_version)
        return name, every[name]
    if found:
        raise UsageError(
            f"several interfaces export a function {export!r}", fix=f"one of: {', '.join(found)}"
        )
    raise UsageError(
        f"the component exports no function {export!r}",
        fix=nearest(export, every) or "see its exports with `wasmplex inspect`",
    )


def _version(name: str) -> tuple[bool, SemVer | None]:
    from wasmplex.wit.names import InterfaceId, SemVer

    interface = InterfaceId.try_parse(name.partition("#")[0])
    version = interface.version if interface is not None else None
    return version is not None, SemVer.parse(version) if version else None


def _parse(name: str, function: FuncType, args: tuple[str, ...]) -> list[Any]:
    """Return the arguments as values; options at the end may be left out.

    :raises UsageError: with every argument that is wrong
    """
    from wasmplex.wit.expressions import TypeNames
    from wasmplex.wit.types import Option
    from wasmplex.wit.wave import WaveError, parse

    names = TypeNames(())
    problems = []
    values: list[Any] = []
    for number, (param, text) in enumerate(zip(function.params, args, strict=False), 1):
        try:
            values.append(parse(text, param.type))
        except WaveError as error:
            wanted = names.expression(param.type)
            problems.append(
                Diagnostic(
                    f"argument {number} of {name} is not a {wanted}",
                    where=f"{param.name}, column {error.column}",
                    why=str(error),
                    fix=_example(text, wanted),
                )
            )
    missing = [param for param in function.params[len(args) :] if not isinstance(param.type, Option)]
    if missing or len(args) > len(function.params):
        wanted = ", ".join(f"{param.name}: {names.expression(param.type)}" for param in function.params)
        what = f"{name} takes {_counted(len(function.params))}, not {len(args)}"
        problems.append(Diagnostic(what, why=f"it is {name}({wanted})"))
    if problems:
        raise UsageError(problems)
    return values + [None] * (len(function.params) - len(args))


def _counted(number: int) -> str:
    return f"{number or 'no'} argument{'' if number == 1 else 's'}"


def _example(text: str, wanted: str) -> str:
    """Return how a text is quoted for the shell, which takes the first pair of quotes for itself."""
    if wanted != "string" or text.startswith('"') or any(c in text for c in "\"'\\\n"):
        return ""
    return f"""'"{text}"'"""


async def _call(
    config: HostConfig,
    workload: str,
    name: str,
    function: FuncType,
    values: list[Any],
    options: dict[str, Any],
) -> tuple[str, int]:
    """Return the result as text, and the exit code."""
    import anyio

    from wasmplex.cli.progress import compiling
    from wasmplex.host import Host
    from wasmplex.values import Err

    async with AsyncExitStack() as stack:
        with compiling(1) as progress:
            host = await stack.enter_async_context(Host(config, **options, progress=progress))
        try:
            result = await host.call(workload, name, *values)
        except Err as error:
            result = error
        except GuestExit as error:
            return "", error.code
        with anyio.move_on_after(_DRAIN):
            await host.drain()
    return _shown(name, function, result)


def _shown(name: str, function: FuncType, result: Any) -> tuple[str, int]:
    """Return a result, or the error in its place, as text, and the exit code."""
    from wasmplex.values import Err, Ok
    from wasmplex.wit.types import ResultType
    from wasmplex.wit.wave import render

    if function.result is None:
        return "", 0
    if isinstance(function.result, ResultType) and not isinstance(result, Err):
        result = Ok(result)
    try:
        return render(result, function.result), int(isinstance(result, Err))
    except ValueError as error:
        raise UsageError(f"the result of {name} cannot be printed", why=str(error)) from None
