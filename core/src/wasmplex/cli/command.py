"""Commands whose help ends with examples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

__all__ = ["Command", "Group"]


class _Examples(click.Command):
    """Writes examples below the options.

    :param examples: command lines, printed as they are
    """

    def __init__(self, *args: Any, examples: Sequence[str] = (), **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.examples = tuple(examples)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples; a long line is the reader's to wrap, so that it can be copied."""
        super().format_epilog(ctx, formatter)
        if self.examples:
            with formatter.section("Example" if len(self.examples) == 1 else "Examples"):
                for example in self.examples:
                    for line in example.splitlines():
                        formatter.write(f"{'':>{formatter.current_indent}}{line}\n")


class Command(_Examples):
    """A command with examples."""


class Group(_Examples, click.Group):
    """A group of commands with examples."""

    command_class = Command
