"""Columns of text, and JSON, for a terminal or a file.

Names come from components, configurations and the environment: all of it is escaped here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import click

from wasmplex.cli.output import echo_safe, encodable
from wasmplex.escaping import as_json, escape

__all__ = ["echo_json", "echo_pairs", "echo_table"]


def echo_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table to standard output; columns that are empty in every row are left out."""
    lines = [[escape(str(cell)) for cell in row] for row in rows]
    used = [n for n in range(len(header)) if any(line[n] for line in lines)]
    widths = {n: max(len(header[n]), *(len(line[n]) for line in lines)) for n in used}

    def text(cells: Sequence[str]) -> str:
        return "  ".join(cells[n].ljust(widths[n]) for n in used).rstrip()

    echo_safe(click.style(text([name.upper() for name in header]), bold=True))
    for line in lines:
        echo_safe(text(line))


def echo_pairs(pairs: Iterable[tuple[str, str]]) -> None:
    """Print names and values, one pair a line; those without a value are left out."""
    shown = [(escape(name), escape(value)) for name, value in pairs if value]
    width = max((len(name) for name, _ in shown), default=0)
    for name, value in shown:
        echo_safe(f"{name.ljust(width)}  {value}")


def echo_json(value: object) -> None:
    """Print JSON to standard output, in ASCII if its encoding cannot have all of it."""
    import json

    text = as_json(json.dumps(value, indent=2, ensure_ascii=False))
    echo_safe(text if encodable(text) else json.dumps(value, indent=2))
