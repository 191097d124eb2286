"""``wasmplex label``: gives imports of a finished component their labels."""

from __future__ import annotations

from pathlib import Path

import click

from wasmplex.cli.command import Command
from wasmplex.cli.files import about, read_component, write_file
from wasmplex.cli.logs import say
from wasmplex.errors import Diagnostic, UsageError

__all__ = ["command"]


_STORE = "wasi:keyvalue/store@0.2.0-draft"


@click.command(
    "label",
    cls=Command,
    examples=[
        (
            "wasmplex label app.wasm -o labelled.wasm \\\n"
            f"  labels:kv/cache@0.1.0=cache={_STORE} \\\n"
            f"  labels:kv/store@0.1.0=store={_STORE}"
        )
    ],
)
@click.argument("component", type=click.Path(path_type=Path))
@click.argument("labels", nargs=-1, required=True, metavar="OLD=LABEL[=INTERFACE]...")
@click.option(
    "-o", "--output", required=True, type=click.Path(path_type=Path), help="Where to write; may be COMPONENT."
)
def command(component: Path, labels: tuple[str, ...], output: Path) -> None:
    """Rename imports to labels, each marked with the interface it implements.

    For toolchains that cannot compile two imports of one interface: give each label an interface of its own
    in WIT, build, and label the result. Without INTERFACE the label implements OLD itself. The rest of the
    file stays as it is.
    """
    from wasmplex.component import read, relabel

    data = read_component(component)
    with about(component):
        wasm = relabel(data, _parse(labels))
    read(wasm)  # what cannot be read back is not written
    write_file(output, wasm)
    for label, interface in _parse(labels).values():
        say(f"{output}: {label} implements {interface}")


def _parse(labels: tuple[str, ...]) -> dict[str, tuple[str, str]]:
    found: dict[str, tuple[str, str]] = {}
    problems = []
    for text in labels:
        old, label, interface = [*text.split("="), "", ""][:3]
        if not old or not label or text.count("=") > 2:
            example = f"labels:kv/cache@0.1.0=cache={_STORE}"
            problems.append(Diagnostic(f"{text!r} is not OLD=LABEL or OLD=LABEL=INTERFACE", fix=example))
        elif old in found:
            problems.append(Diagnostic(f"{old!r} is given two labels", why="an import has one name"))
        found[old] = (label, interface or old)
    if problems:
        raise UsageError(problems)
    return found
