"""What the user is told when something went wrong: a few lines on standard error, never a traceback."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Iterator
from dataclasses import dataclass

import click

from wasmplex.cli.logs import say_problem
from wasmplex.cli.table import echo_json
from wasmplex.cli.usage import usage_diagnostic
from wasmplex.errors import Diagnostic, WasmplexError
from wasmplex.escaping import escape
from wasmplex.redaction import KNOWN

__all__ = ["Failure", "as_dict", "print_diagnostics", "report"]

_TRACEBACK = "WASMPLEX_TRACEBACK"


@dataclass(frozen=True)
class Failure:
    """What to print, and the exit code to end with.

    :ivar traceback: for the developers of wasmplex and of plugins, printed only if asked for
    """

    diagnostics: tuple[Diagnostic, ...]
    exit_code: int
    traceback: str = ""

    @classmethod
    def of(cls, error: BaseException) -> Failure:
        """Return what to say about any exception."""
        trace = "".join(traceback.format_exception(error))
        found = list(_leaves(error))
        if all(isinstance(leaf, (WasmplexError, click.ClickException)) for leaf in found):
            diagnostics = tuple(d for leaf in found for d in _diagnostics(leaf))
            codes = [leaf.exit_code for leaf in found if isinstance(leaf, WasmplexError)]
            return cls(diagnostics, min(codes, default=2), trace)
        unexpected = next(e for e in found if not isinstance(e, (WasmplexError, click.ClickException)))
        return cls((_internal(unexpected),), 1, trace)


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error


def _diagnostics(error: BaseException) -> tuple[Diagnostic, ...]:
    if isinstance(error, WasmplexError):
        return error.diagnostics
    assert isinstance(error, click.ClickException)  # noqa: S101  see Failure.of
    return (usage_diagnostic(error),)


def _internal(error: BaseException) -> Diagnostic:
    name = type(error).__name__
    text = KNOWN.text(" ".join(str(error).split()))
    return Diagnostic(
        f"wasmplex itself failed: {name}{f': {text}' if text else ''}"[:500],
        why="this is a mistake in wasmplex or in a plugin, not in what you gave it",
        fix=f"{_TRACEBACK}=1 shows where; please report it",
    )


def report(failure: Failure, *, as_json: bool = False) -> int:
    """Print a failure and return its exit code.

    :param as_json: whether a program reads standard output, and is to find the problems there
    """
    if os.environ.get(_TRACEBACK):
        lines = KNOWN.text(failure.traceback).split("\n")
        print(*map(escape, lines), sep="\n", file=sys.stderr)  # noqa: T201  asked for
    if as_json:
        echo_json({"ok": False, "problems": list(map(as_dict, failure.diagnostics))})
    else:
        print_diagnostics(failure.diagnostics)
    return failure.exit_code


def as_dict(diagnostic: Diagnostic) -> dict[str, str]:
    """Return a problem for programs."""
    known = KNOWN.diagnostic(diagnostic)
    parts = {part: getattr(known, part) for part in ("what", "where", "why", "fix")}
    return {**parts, "lines": "\n".join(known.lines)} if known.lines else parts


def print_diagnostics(diagnostics: tuple[Diagnostic, ...]) -> None:
    """Print problems to standard error."""
    colour = sys.stderr.isatty() and not os.environ.get("NO_COLOR")
    for diagnostic in map(KNOWN.diagnostic, diagnostics):
        if say_problem(diagnostic):
            continue
        text = diagnostic.render()
        if colour:
            text = text.replace("error:", click.style("error:", fg="red", bold=True), 1)
        click.echo(text, err=True, color=colour)
