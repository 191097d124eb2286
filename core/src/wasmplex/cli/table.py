"""Columns of text, and JSON, for a terminal or a file.

Names come from components, configurations and the environment: all of it is escaped here. What does not fit
the terminal is folded between words; a file gets a row a line, however long.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence

import click

from wasmplex.cli.output import columns, echo_safe, encodable
from wasmplex.escaping import as_json, escape

__all__ = ["echo_folded", "echo_json", "echo_pairs", "echo_table", "json_text"]

_NARROWEST = 20
"""Characters that the last column needs for its cells to be folded in it."""


def echo_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table to standard output; columns that are empty in every row are left out.

    Where the terminal is too narrow, cells of the last column are folded; where that is not enough, a row
    takes several lines.
    """
    lines = [[escape(str(cell)) for cell in row] for row in rows]
    used = [n for n in range(len(header)) if any(line[n] for line in lines)]
    lines = [[line[n] for n in used] for line in lines]
    names = [header[n] for n in used]
    widths = [max(len(name), *(len(line[n]) for line in lines)) for n, name in enumerate(names)]
    room = columns()
    before = sum(widths[:-1]) + 2 * len(widths[:-1])
    if room is None or sum(widths) + 2 * (len(widths) - 1) <= room:
        room = None
    elif room - before < _NARROWEST:
        _echo_stacked(names, lines, room)
        return
    echo_safe(click.style("  ".join(map(str.ljust, map(str.upper, names), widths)).rstrip(), bold=True))
    for line in lines:
        first = "  ".join(map(str.ljust, line[:-1], widths))
        _echo(f"{first}  {line[-1]}".rstrip() if len(line) > 1 else line[0], before, room)


def _echo_stacked(names: Sequence[str], lines: Iterable[Sequence[str]], room: int) -> None:
    """Print each row as its first cell that has something in it, and the others below it by their names."""
    for line in lines:
        (_, title), *cells = [(name, cell) for name, cell in zip(names, line, strict=True) if cell]
        echo_safe(click.style(title, bold=True))
        text = ""
        for part in (f"{name}: {cell}" for name, cell in cells):
            if text and 2 + len(text) + 2 + len(part) > room:
                _echo(f"  {text}", 4, room)
                text = ""
            text += f"  {part}" if text else part
        if text:
            _echo(f"  {text}", 4, room)


def echo_pairs(pairs: Iterable[tuple[str, str]]) -> None:
    """Print names and values, one pair a line; those without a value are left out."""
    shown = [(escape(name), escape(value)) for name, value in pairs if value]
    width = max((len(name) for name, _ in shown), default=0)
    for name, value in shown:
        _echo(f"{name.ljust(width)}  {value}", width + 2, columns())


def echo_folded(line: str, indent: int = 2) -> None:
    """Print a line to standard output, folded between words where the terminal is too narrow.

    :param indent: of what follows the first line
    """
    _echo(escape(line), indent, columns())


def _echo(line: str, indent: int, room: int | None) -> None:
    if room is None or len(line) <= room:
        echo_safe(line)
        return
    start = line[: len(line) - len(line.lstrip())]
    kept = "\0"  # spaces between columns are none to fold at
    text = line[len(start) : indent].replace(" ", kept) + line[max(indent, len(start)) :]
    folded = textwrap.wrap(
        text,
        max(room, indent + _NARROWEST),
        initial_indent=start,
        subsequent_indent=" " * indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
    echo_safe("\n".join(folded).replace(kept, " "))


def echo_json(value: object) -> None:
    """Print JSON to standard output, in ASCII if its encoding cannot have all of it."""
    echo_safe(json_text(value))


def json_text(value: object) -> str:
    """Return JSON that is safe to print, in ASCII if standard output cannot have all of it."""
    import json

    text = as_json(json.dumps(value, indent=2, ensure_ascii=False))
    return text if encodable(text) else json.dumps(value, indent=2)
