"""The command ``wasmplex``: finds its commands by their entry points and imports the one that is used."""

from __future__ import annotations

import os
from importlib import import_module
from pathlib import Path
from typing import Any

import click

from wasmplex import __version__
from wasmplex.cli.command import Group
from wasmplex.cli.logs import set_up_logging
from wasmplex.cli.output import claimed
from wasmplex.errors import PluginError
from wasmplex.escaping import escape
from wasmplex.logs import get_logger
from wasmplex.plugins.discovery import Candidate, Disabled, scan
from wasmplex.plugins.identity import Group as Entries

__all__ = ["root"]

_ORDER = ("run", "check", "explain", "inspect", "label", "invoke", "messages", "plugins", "doctor", "new",
          "import")  # fmt: skip
_log = get_logger("wasmplex.plugins")


class _Root(Group):
    """Offers the commands of the host and of plugins, importing none before it is used."""

    prints = False  # it may be a plugin's command that runs, and prints as it likes

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command that is asked for."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError as error:  # click would take it for a reader that has gone, and say nothing
            raise ExceptionGroup("a connection was closed", [error]) from None

    def first_step(self) -> str:
        """Return what to type first, here."""
        from wasmplex.config.source import a_component_in

        if any(os.path.isfile(name) for name in ("host.toml", "host.yaml", "host.yml")):  # noqa: PTH113
            return "\n\nBegin with:\n  wasmplex check"
        component = escape(a_component_in(Path()))
        return f"\n\nBegin with:\n  wasmplex run {component}\n  wasmplex new host {component}"

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names, the host's own first."""
        found = _candidates(ctx)
        own = [name for name in _ORDER if name in found]
        return own + sorted(found.keys() - set(own))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command.

        :raises PluginError: if a plugin offers it and cannot be imported
        """
        candidate = _candidates(ctx).get(cmd_name)
        if candidate is None:
            return None
        return _own(candidate) if candidate.builtin else _of_plugin(cmd_name, ctx)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands; a plugin's is described by where it comes from, not imported."""
        rows = []
        for name in self.list_commands(ctx):
            candidate = _candidates(ctx)[name]
            text = _own(candidate).get_short_help_str(80) if candidate.builtin else ""
            rows.append((escape(name), text or escape(f"(from {candidate.identity.requirement})")))
        with formatter.section("Commands"):
            formatter.write_dl(rows)


def _candidates(ctx: click.Context) -> dict[str, Candidate]:
    """Return who offers each command; the host goes before plugins, and the first plugin wins."""
    found: dict[str, Candidate] | None = ctx.meta.get(__name__)
    if found is None:
        disabled = Disabled.parse(
            os.environ.get("WASMPLEX_DISABLE_PLUGINS"), ctx.params.get("no_plugins", False)
        )
        found = {}
        for candidate in sorted(scan(warn=_log.warning), key=lambda c: not c.builtin):
            if not disabled.cause(
                candidate.names, candidate.identity.distribution, builtin=candidate.builtin
            ):
                for name in candidate.offers.get(Entries.COMMANDS, ()):
                    found.setdefault(name, candidate)
        ctx.meta[__name__] = found
    return found


def _own(candidate: Candidate) -> click.Command:
    module, _, attribute = candidate.value.partition(":")
    with claimed():  # models are made, with which pydantic imports plugins of its own
        command: Any = getattr(import_module(module), attribute)
    assert isinstance(command, click.Command)  # noqa: S101  our own metadata
    return command


def _of_plugin(name: str, ctx: click.Context) -> click.Command:
    from wasmplex.plugins.registry import Registry

    commands = Registry(no_plugins=ctx.params.get("no_plugins", False)).commands()
    if name not in commands:
        raise PluginError(f"the command {name!r} cannot be used", fix="wasmplex plugins list")
    with claimed():  # what is printed when it is imported is none of its output
        return commands[name]()


@click.command(
    cls=_Root,
    examples=["wasmplex check host.toml", "wasmplex run host.toml", "wasmplex COMMAND --help"],
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, message="%(prog)s %(version)s")
@click.option("--no-plugins", is_flag=True, help="Use nothing but what the host brings itself.")
@click.pass_context
def root(ctx: click.Context, no_plugins: bool) -> None:
    """Run WebAssembly components, and route their labelled imports to backends.

    Exit codes: 0 done, 1 the guest, a backend or the output failed, 2 bad usage or configuration.
    """
    ctx.obj = no_plugins
    if os.environ.get("NO_COLOR"):
        ctx.color = False
    set_up_logging("warning", times=False)
