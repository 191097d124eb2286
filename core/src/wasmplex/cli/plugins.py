"""``wasmplex plugins``: what is installed, and whether it works."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from wasmplex.cli.command import Group as CommandGroup
from wasmplex.cli.options import as_json, registry
from wasmplex.cli.output import echo, echo_lines
from wasmplex.cli.table import echo_folded, echo_json, echo_pairs, echo_table
from wasmplex.errors import PluginError, UsageError, nearest
from wasmplex.plugins.identity import Group

if TYPE_CHECKING:
    from wasmplex.plugins.identity import PluginStatus

__all__ = ["command"]


_LEGEND = {
    "ready": "ready: imported, and it works",
    "available": "available: installed, not imported; `wasmplex plugins` imports all, "
    "and says what their backends are for",
}
"""What the states mean that are no mistakes."""


class _Plugins(CommandGroup):
    """Knows that somebody who names a plugin wants to be shown it."""

    def unknown(self, ctx: click.Context, name: str, known: Sequence[str]) -> UsageError:
        """Return the error for a command that there is not."""
        if any(name in _names(status) for status in registry(ctx).status(load=False)):
            return UsageError(f"there is no command {name!r}", fix=f"wasmplex plugins show {name}")
        return super().unknown(ctx, name, known)


@click.group(
    "plugins",
    cls=_Plugins,
    examples=[
        "wasmplex plugins",
        "wasmplex plugins show redis",
        "wasmplex plugins --json",
    ],
    invoke_without_command=True,
)
@as_json
@click.pass_context
def command(ctx: click.Context, as_json: bool) -> None:
    """List plugins and whether they work, or show one.

    Each is imported, to see whether it works; `wasmplex plugins list` imports none. A plugin that is
    broken stops nobody who does not use it.
    """
    if ctx.invoked_subcommand is None:
        _list(ctx, as_json, load=True)


@command.command(
    "list",
    examples=[
        "wasmplex plugins list --json",
    ],
)
@as_json
@click.pass_context
def list_command(ctx: click.Context, as_json: bool) -> None:
    """List all plugins, from their metadata: none is imported.

    `wasmplex plugins`, `wasmplex plugins show` and `wasmplex doctor` import them, to see whether they work.
    """
    _list(ctx, as_json, load=False)


def _list(ctx: click.Context, as_json: bool, *, load: bool) -> None:
    found = registry(ctx).status(load=load)
    if as_json:
        echo_json([_as_dict(status) for status in found])
        return
    echo_table(
        ("name", "state", "distribution", "version", "offers", "cause"),
        [
            (s.identity.name, s.state.value, s.identity.distribution, s.identity.version, _offers(s), s.cause)
            for s in found
            if not _is_command(s)  # `wasmplex --help` has them
        ],
    )
    for state in dict.fromkeys(status.state.value for status in found):
        if state in _LEGEND:
            echo_folded(_LEGEND[state])


def _offers(status: PluginStatus) -> str:
    def said(name: str) -> str:
        capabilities = status.capabilities.get(name, ())
        return f"{name} ({', '.join(capabilities)})" if capabilities else name

    return "; ".join(
        f"{group.noun} {', '.join(map(said, names) if group is Group.BACKENDS else names)}"
        for group, names in (status.offers or {}).items()
        if names
    )


def _as_dict(status: PluginStatus) -> dict[str, Any]:
    return {
        "name": status.identity.name,
        "distribution": status.identity.distribution,
        "version": status.identity.version,
        "state": status.state.value,
        "cause": status.cause,
        "module": status.module,
        "requires": status.requires,
        "builtin": status.builtin,
        "offers": {group.value: list(names) for group, names in (status.offers or {}).items()},
        "provides": list(status.provides),
        "capabilities": {name: list(found) for name, found in sorted(status.capabilities.items())},
        "import_seconds": status.import_seconds,
    }


@command.command(
    "freeze",
    examples=[
        "wasmplex plugins freeze > plugins.txt",
        "python -m pip install -r plugins.txt",
        "uv tool install wasmplex --with-requirements plugins.txt",
        "pipx inject wasmplex -r plugins.txt",
    ],
)
@click.pass_context
def freeze_command(ctx: click.Context) -> None:
    """Print what to install to have the same plugins again.

    It is a requirements file, and no plugin is imported. Plugins that are disabled or broken are printed as
    well; files that a configuration names are not.
    """
    found = registry(ctx).status(load=False)
    for line in sorted({s.identity.requirement for s in found if s.identity.version and not s.builtin}):
        echo(line)


@command.command(
    "show",
    examples=[
        "wasmplex plugins show memory",
        "wasmplex plugins show host-plugin-redis --traceback",
    ],
)
@click.argument("name")
@click.option("--traceback", is_flag=True, help="Show where a plugin that failed did so.")
@as_json
@click.pass_context
def show_command(ctx: click.Context, name: str, traceback: bool, as_json: bool) -> None:
    """Show everything about one plugin.

    It is imported, to see whether it works. NAME is its name, its distribution, or a name that it offers.
    """
    everything = registry(ctx).status(load=name)
    found = [status for status in everything if name in _names(status)]
    if not found:
        known = {known for status in everything if not _is_command(status) for known in _names(status)}
        raise PluginError(f"no plugin {name!r} is installed", fix=nearest(name, known))
    if as_json:
        echo_json([_as_dict(status) | {"detail": status.detail} for status in found])
        return
    for number, status in enumerate(found):
        if number:
            echo()
        _show(status, traceback=traceback)


def _removal(status: PluginStatus) -> str:
    from wasmplex.plugins.installation import installation

    installed = status.identity.version and not status.builtin
    return installation().uninstall(status.identity.distribution) if installed else ""


def _is_command(status: PluginStatus) -> bool:
    """Say whether it is a command of the host's own, and nothing else."""
    return status.builtin and set(status.offers or ()) == {Group.COMMANDS}


def _names(status: PluginStatus) -> set[str]:
    offered = {name for names in (status.offers or {}).values() for name in names}
    return {status.identity.name, status.identity.distribution, *offered}


def _show(status: PluginStatus, *, traceback: bool) -> None:
    seconds = status.import_seconds
    echo_pairs(
        [
            ("name", status.identity.name),
            ("distribution", status.identity.requirement),
            ("state", status.state.value),
            ("cause", status.cause),
            ("module", status.module),
            ("needs wasmplex", status.requires),
            ("to remove it", _removal(status)),
            ("offers", _offers(status)),
            ("import took", f"{seconds * 1000:.0f} ms" if seconds is not None else ""),
        ]
    )
    for line in status.provides:
        echo_folded(f"  {line}", 4)
    if traceback and status.detail:
        echo_lines(status.detail)
