"""``wasmplex inspect``: what a component imports and exports."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from wasmplex.cli.command import Command
from wasmplex.cli.files import about, read_component
from wasmplex.cli.options import as_json
from wasmplex.cli.output import echo, echo_lines
from wasmplex.cli.table import echo_folded, echo_json, echo_table

if TYPE_CHECKING:
    from wasmplex.component.shape import Shape

__all__ = ["command"]


@click.command(
    "inspect",
    cls=Command,
    examples=[
        "wasmplex inspect shop.wasm",
        "wasmplex inspect shop.wasm --wit > shop.wit",
        "wasmplex inspect shop.wasm --json | jq '.imports[].label'",
    ],
)
@click.argument("component", type=click.Path(path_type=Path))
@click.option("--wit", is_flag=True, help="Print the whole interface as WIT.")
@as_json
def command(component: Path, wit: bool, as_json: bool) -> None:
    """Show what a component imports and exports.

    Nothing is compiled or run. Labelled imports are shown with the interface that they implement.
    """
    from wasmplex.component import read

    if wit and as_json:
        raise click.UsageError("--wit and --json exclude each other")
    wasm = read_component(component)
    with about(component):
        shape = read(wasm)
    if wit:
        from wasmplex.wit.render import render

        echo_lines(render(shape))
    elif as_json:
        from wasmplex.component.report import as_dict

        echo_json(as_dict(shape))
    else:
        _echo_tables(shape)


def _echo_tables(shape: Shape) -> None:
    from wasmplex.component.report import rows

    header = ("name", "interface", "kind", "functions", "async", "resources")
    for title, items in (("imports", shape.imports), ("exports", shape.exports)):
        echo(f"{title}:" if items else f"{title}: none")
        if items:
            echo_table(
                header,
                [
                    (
                        r.label,
                        r.interface,
                        r.kind,
                        *(str(n or "") for n in (r.functions, r.asynchronous, r.resources)),
                    )
                    for r in rows(items)
                ],
            )
        echo()
    echo_folded(f"needs wasm proposals: {', '.join(sorted(shape.proposals)) or 'none'}")
    for section in shape.unknown_sections:
        echo(f"skipped: unknown section {section.id}, {section.size} bytes at {section.offset}")


def _count(number: int) -> str:
    return str(number) if number else ""
