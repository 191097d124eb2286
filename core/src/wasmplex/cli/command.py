"""Commands whose help ends with examples."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, ClassVar

import click

from wasmplex.cli.failure import Failure, report
from wasmplex.cli.output import OutputError, claimed, echo_safe
from wasmplex.errors import UsageError, nearest

__all__ = ["Command", "Group"]


class _Own(click.Command):
    """A command of the host's own: it writes examples below its options, and has standard output for itself.

    :param examples: command lines, printed as they are
    :cvar prints: False for one that leaves printing to others
    """

    prints: ClassVar[bool] = True

    def __init__(self, *args: Any, examples: Sequence[str] = (), **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.examples = tuple(examples)
        if self.callback is not None and self.prints:
            self.callback = _alone(self.callback)

    def get_help_option(self, ctx: click.Context) -> click.Option | None:
        """Return the option ``--help``, which prints where commands print: the group has claimed that."""
        option = super().get_help_option(ctx)
        if option is not None:
            option.callback = _print_help
        return option

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the arguments; an error says which command they were for."""
        try:
            return super().parse_args(ctx, args)
        except click.UsageError as error:
            error.ctx = error.ctx or ctx
            raise

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples; a long line is the reader's to wrap, so that it can be copied."""
        super().format_epilog(ctx, formatter)
        if self.examples:
            with formatter.section("Example" if len(self.examples) == 1 else "Examples"):
                for example in self.examples:
                    for line in example.splitlines():
                        formatter.write(f"{'':>{formatter.current_indent}}{line}\n")


def _print_help(ctx: click.Context, _param: click.Parameter, asked: bool) -> None:
    if asked and not ctx.resilient_parsing:
        echo_safe(ctx.get_help())
        ctx.exit()


def _alone(callback: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that does the same with standard output for itself; see `wasmplex.cli.output`."""

    @wraps(callback)
    def run(*args: Any, **kwargs: Any) -> Any:
        with claimed(for_good=True):
            return callback(*args, **kwargs)

    return run


class Command(_Own):
    """A command with examples.

    Where it has ``--json``, in front of it too, a program finds on standard output what is wrong as well.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the arguments."""
        asked = "--json" in args and any(param.name == "as_json" for param in self.params)
        try:
            return super().parse_args(ctx, args)
        except click.UsageError as error:
            if not asked:
                raise
            raise click.exceptions.Exit(report(Failure.of(error), as_json=True)) from None

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        if "as_json" in ctx.params and ctx.parent is not None:
            ctx.params["as_json"] |= bool(ctx.parent.params.get("as_json"))
        try:
            return super().invoke(ctx)
        except (OutputError, click.exceptions.Exit, click.Abort):
            raise
        except Exception as error:
            if not ctx.params.get("as_json"):
                raise
            raise click.exceptions.Exit(report(Failure.of(error), as_json=True)) from None


class Group(_Own, click.Group):
    """A group of commands with examples."""

    command_class = Command

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the arguments; without any, show the help of a group that does nothing by itself."""
        if not args and not self.invoke_without_command and not ctx.resilient_parsing:
            click.echo(ctx.get_help() + self.first_step(), err=True)
            ctx.exit(2)
        return super().parse_args(ctx, args)

    def first_step(self) -> str:
        """Return what to add to the help of somebody who typed nothing more."""
        return ""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that is asked for.

        :raises wasmplex.errors.UsageError: if there is none of that name
        """
        if args and not args[0].startswith("-") and args[0] not in (known := self.list_commands(ctx)):
            raise self.unknown(ctx, args[0], known)
        return super().resolve_command(ctx, args)

    def unknown(self, ctx: click.Context, name: str, known: Sequence[str]) -> UsageError:
        """Return the error for a command that there is not."""
        guess = nearest(name, known)
        return UsageError(
            f"there is no command {name!r}",
            why="" if guess.startswith("did you") else f"there are {', '.join(known)}",
            fix=guess if guess.startswith("did you") else f"{ctx.command_path} --help",
        )
