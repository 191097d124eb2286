"""``wasmplex new``: a plugin to start from, with tests that pass; the configuration of a component."""

from __future__ import annotations

import keyword
import os
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from wasmplex.cli.command import Command, Group
from wasmplex.cli.files import write_file
from wasmplex.cli.hostfile import draft_for, require_served
from wasmplex.cli.logs import say
from wasmplex.cli.options import registry
from wasmplex.cli.output import echo
from wasmplex.errors import UsageError, WasmplexError

if TYPE_CHECKING:
    from wasmplex.plugins.registry import Registry
    from wasmplex.routing.drafting import Draft

__all__ = ["command"]

_NAME = re.compile(r"(?!.{33})[a-z][a-z0-9]*(-[a-z][a-z0-9]*)*")
_LEFT_OUT = {"__pycache__", ".venv", ".hypothesis", "dist", "variants"}
_VARIANTS = {
    "keyvalue": ".", "blobstore": "variants/blobstore", "messaging": "variants/messaging",
    "postgres": "variants/postgres",
    "interface": "variants/interface", "trigger": "variants/trigger",
}  # fmt: skip
"""What a plugin may be, and where its template stands."""


@click.group("new", cls=Group, examples=["wasmplex new host shop.wasm", "wasmplex new plugin acme"])
def command() -> None:
    """Make something to start from."""


@command.command(
    "plugin",
    cls=Command,
    examples=[
        "wasmplex new plugin acme",
        "wasmplex new plugin geo --capability interface",
        "wasmplex new plugin geo --wit geo.wit",
    ],
)
@click.argument("name")
@click.option("--capability", type=click.Choice(list(_VARIANTS)),
              help="What it is; keyvalue, a backend, if absent.")  # fmt: skip
@click.option("--wit", type=click.Path(path_type=Path, dir_okay=False),
              help="A WIT package: a plugin that serves it, its functions to be written.")  # fmt: skip
@click.option("--into", type=click.Path(path_type=Path, file_okay=False), default=Path(),
              help="The directory to make it in, by default the current one.")  # fmt: skip
@click.pass_context
def plugin_command(
    ctx: click.Context, name: str, capability: str | None, wit: Path | None, into: Path
) -> None:
    """Make a plugin, with tests that pass.

    It is the folder host-plugin-NAME, which can be installed. NAME is what a configuration will write:
    backend = "NAME", or the namespace of your WIT package. Nothing is downloaded.
    """
    if wit is not None and capability not in (None, "interface"):
        raise click.UsageError(f"--wit and --capability {capability} exclude each other")
    target = into / f"host-plugin-{_check(name)}"
    if os.path.lexists(target):
        raise UsageError(f"{target} exists already", fix="choose another name, or another --into")
    _require_free(ctx, name)
    files = _from_template(capability or "keyvalue", name) if wit is None else _from_wit(wit, name)
    for relative, text in files.items():
        path = target / relative
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8")
        except OSError as error:
            raise UsageError(
                f"{path} cannot be written", why=(error.strerror or str(error)).lower()
            ) from None
    echo(f"made {target}: {len(files)} files. Next:")
    for line in (
        f"cd {shlex.quote(str(target))}",
        f"{_python()} -m pip install -e .[dev]",
        f"{_python()} -m pytest",
    ):
        echo(f"  {line}")


@command.command(
    "host",
    cls=Command,
    examples=["wasmplex new host shop.wasm", "wasmplex new host build/shop.wasm --into deploy"],
)
@click.argument("component", type=click.Path(path_type=Path))
@click.option("--into", type=click.Path(path_type=Path, file_okay=False), default=Path(),
              help="The directory to make it in, by default the current one.")  # fmt: skip
@click.pass_context
def host_command(ctx: click.Context, component: Path, into: Path) -> None:
    """Write the host.toml that a component needs.

    It has each import that needs a backend, on the backend memory where that will do, and the triggers that
    can call the component.
    """
    target = into / "host.toml"
    if os.path.lexists(target):
        raise UsageError(f"{target} exists already", fix="choose another --into")
    drafted = draft_for(component, os.path.relpath(component, into), registry(ctx))
    _make(into)
    write_file(target, drafted.text.encode())
    _say_unserved(drafted, target, registry(ctx))
    echo(f"made {target}{_waiting(drafted)}. Next:")
    shown = shlex.quote(str(target))
    for verb in ("check", *(["run"] if drafted.triggers or drafted.others else ())):
        echo(f"  wasmplex {verb} {shown}")


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{folder} cannot be made", why=(error.strerror or str(error)).lower()) from None


def _say_unserved(drafted: Draft, target: Path, registry: Registry) -> None:
    """Say what the component imports that the file cannot have served, as `check` will."""
    from wasmplex.config import loads

    try:
        require_served(drafted, loads(drafted.text, target, name=str(target)), registry)
    except WasmplexError as error:
        for problem in error.diagnostics:
            say(f"note: {'; '.join(filter(None, (problem.what, problem.fix)))}")


def _waiting(drafted: Draft) -> str:
    """Say which trigger has to be filled in, if nothing calls the component otherwise."""
    names = " or ".join(f"trigger.{caller.trigger}" for caller in drafted.others)
    return f"; nothing calls it until {names} is uncommented there" if names and not drafted.triggers else ""


def _check(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} is no name for a plugin",
            why="it has lower-case words joined by '-', at most 32 letters",
            fix="wasmplex new plugin my-store",
        )
    if keyword.iskeyword(name) or name.startswith("host-plugin-"):
        fix = f"wasmplex new plugin {name.removeprefix('host-plugin-')}" if "-" in name else ""
        raise UsageError(f"{name!r} is no name for a plugin", fix=fix or f"wasmplex new plugin my-{name}")
    return name


def _require_free(ctx: click.Context, name: str) -> None:
    """Refuse the name of a plugin that is installed."""
    for status in registry(ctx).status(load=False):
        if name in {found for names in (status.offers or {}).values() for found in names}:
            installed = f"{status.identity.distribution} is installed"
            raise UsageError(
                f"there is a plugin {name!r} already",
                why=f"{installed}, and a configuration could not tell them apart",
                fix=f"wasmplex new plugin my-{name}",
            )


def _template() -> Path:
    """Return where the template stands: in the installed package, or beside it in a clone."""
    here = Path(__file__).resolve()
    places = [here.with_name("template"), *(parent / "plugin-template" for parent in here.parents[3:5])]
    for place in places:
        if (place / "pyproject.toml").is_file():
            return place
    from wasmplex.plugins.installation import installation

    fix = installation().reinstall("wasmplex")
    raise UsageError("this installation has no plugin template", fix=fix)


def _from_template(capability: str, name: str) -> dict[str, str]:
    """Return the files of a plugin, by their paths in its folder."""
    template = _template() / _VARIANTS[capability]
    return {
        _renamed(str(file.relative_to(template)), name): _renamed(_without_notes(file), name)
        for file in _files(template)
    }


def _from_wit(wit: Path, name: str) -> dict[str, str]:
    """Return the files of a plugin that serves a WIT package: how it is built is as in the template."""
    from wasmplex.cli.stubs import files

    package, made = files(wit, name)
    kept = {
        path: text
        for path, text in _from_template("interface", name).items()
        if path == "pyproject.toml" or path.endswith("py.typed")
    }
    project = kept["pyproject.toml"].replace(f'"{name}.geo"', f'"{package.replace(":", ".")}"')
    return {**kept, "pyproject.toml": project.replace(f"{name}:geo", package), **made}


def _files(template: Path) -> Iterator[Path]:
    for path in sorted(template.rglob("*")):
        parts = path.relative_to(template).parts
        if path.is_file() and not any(part in _LEFT_OUT or part.endswith("_cache") for part in parts):
            yield path


def _without_notes(file: Path) -> str:
    """Return what is in a file, without what the fences of a page tell the tests of this project."""
    text = file.read_text("utf-8")
    return re.sub(r"^(```\w+) .*$", r"\1", text, flags=re.MULTILINE) if file.suffix == ".md" else text


def _renamed(text: str, name: str) -> str:
    """Put `name` where the template says ``example``, spelt as it has to be in each place."""
    words = name.split("-")
    camel = "".join(word.capitalize() for word in words)
    text = text.replace("host_plugin_example", f"host_plugin_{'_'.join(words)}").replace("Example", camel)
    return re.sub(r"\bexample\b", name, text)


def _python() -> str:
    """Return how this Python is called from a shell."""
    inside = sys.prefix != sys.base_prefix
    return "python" if inside else "python3"
