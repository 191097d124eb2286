"""Arguments and options that several commands have."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from wasmplex.plugins.registry import Registry

__all__ = ["as_json", "config_argument", "proposals", "registry", "wasm_proposal"]

F = TypeVar("F", bound=Callable[..., Any])

_ENVIRONMENT = "WASMPLEX_WASM_PROPOSALS"


def config_argument(required: bool = False) -> Callable[[F], F]:
    """Add the argument CONFIG: a configuration file or the directory of one, or a component."""
    return click.argument(
        "host",
        type=click.Path(path_type=Path),
        required=required,
        default=None if required else Path(),
        metavar="CONFIG" if required else "[CONFIG]",
    )


def as_json(command: F) -> F:
    """Add ``--json``."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")(command)


def wasm_proposal(command: F) -> F:
    """Add ``--wasm-proposal``."""
    return click.option(
        "--wasm-proposal",
        "wasm_proposals",
        multiple=True,
        metavar="NAME[,NAME]",
        help=f"Switch a wasm proposal on, or off with a leading '-'. Repeatable. Also: {_ENVIRONMENT}.",
    )(command)


def proposals(given: tuple[str, ...]) -> tuple[str, ...]:
    """Return the proposals of the environment and then those of the command line, whose word counts last."""
    return (*os.environ.get(_ENVIRONMENT, "").split(), *given)


def registry(ctx: click.Context) -> Registry:
    """Return the registry of plugins as the root command's options have it."""
    from wasmplex.plugins.registry import Registry

    return Registry(no_plugins=bool(ctx.find_root().obj))
