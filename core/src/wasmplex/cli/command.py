"""Commands whose help ends with examples."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, ClassVar

import click

from wasmplex.cli.output import claimed

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

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples; a long line is the reader's to wrap, so that it can be copied."""
        super().format_epilog(ctx, formatter)
        if self.examples:
            with formatter.section("Example" if len(self.examples) == 1 else "Examples"):
                for example in self.examples:
                    for line in example.splitlines():
                        formatter.write(f"{'':>{formatter.current_indent}}{line}\n")


def _alone(callback: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that does the same with standard output for itself; see `wasmplex.cli.output`."""

    @wraps(callback)
    def run(*args: Any, **kwargs: Any) -> Any:
        with claimed(for_good=True):
            return callback(*args, **kwargs)

    return run


class Command(_Own):
    """A command with examples."""


class Group(_Own, click.Group):
    """A group of commands with examples."""

    command_class = Command
