"""What is wrong with a command line, in the host's words instead of click's."""

from __future__ import annotations

import re
from difflib import get_close_matches

import click

from wasmplex.errors import Diagnostic

__all__ = ["usage_diagnostic"]

_EXTRA = re.compile(r"Got unexpected extra arguments? \((.*)\)")
_NEEDS = re.compile(r"Option '(.*)' requires an argument")


def usage_diagnostic(error: click.ClickException) -> Diagnostic:
    """Return what to say of an error that click raised."""
    ctx = error.ctx if isinstance(error, click.UsageError) else None
    path = ctx.command_path if ctx else "wasmplex"
    what = _what(error, ctx)
    return Diagnostic(what[:1].lower() + what[1:], fix=f"{path} --help")


def _what(error: click.ClickException, ctx: click.Context | None) -> str:
    match error:
        case click.MissingParameter(param=click.Argument() as param):
            return f"the argument {param.make_metavar(ctx) if ctx else param.name} is missing".replace(
                "[]", ""
            )
        case click.MissingParameter(param=click.Option() as param):
            return f"the option {max(param.opts, key=len)} is missing"
        case click.BadParameter(param=click.Option() as param) if wrong := _wrong(error, param):
            return f"{max(param.opts, key=len)} {wrong}"
        case click.NoSuchOption(option_name=name):
            known = [opt for param in ctx.command.params for opt in param.opts] if ctx else []
            words = {opt.lstrip("-"): opt for opt in known if opt.startswith("--")}
            close = get_close_matches(name.lstrip("-"), words, n=1)  # the dashes are alike in any case
            return f"no such option {name!r}" + (f"; did you mean {words[close[0]]!r}?" if close else "")
    text = error.format_message().rstrip(".")
    if found := _NEEDS.fullmatch(text):
        return f"{found[1]} needs a value"
    if found := _EXTRA.fullmatch(text):
        first = found[1].split(" ")[0]
        return f"{first!r} is one argument too many"
    return text


def _wrong(error: click.BadParameter, param: click.Option) -> str:
    """Return what is wrong with the value of an option; empty if click says it as well."""
    found = re.match(r"('.*?') is not ", error.message, re.DOTALL)
    if found is None:
        return _out_of_range(error.message, param)
    match param.type:
        case click.Choice(choices=choices):
            return f"{found[1]} is none of {', '.join(map(str, choices))}"
        case click.IntRange(min=least) if least is not None:
            return f"{found[1]} is not a whole number, {least} or more"
    return ""


def _out_of_range(message: str, param: click.Option) -> str:
    found = re.match(r"(-?\d+) is not in the range", message)
    if found is None or not isinstance(param.type, click.IntRange) or param.type.min is None:
        return ""
    return f"'{found[1]}' is not a whole number, {param.type.min} or more"
