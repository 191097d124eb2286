"""Rows printed by the page, as a table or as one JSON array: there may be more than there is memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from wasmplex.cli.output import echo_safe
from wasmplex.cli.table import echo_table, json_text

__all__ = ["PagedRows"]

_PAGE, _PAGE_SIZE = 200, 2**20
"""Rows, and their bytes, that are held until they are printed; each page of a table has its own columns."""


class PagedRows:
    """Rows that come one after the other.

    :param header: the names of the columns
    :param widest: characters of a cell of a table; JSON has all of them
    :ivar count: how many rows have come
    :ivar printed: how many of them were printed
    """

    def __init__(self, header: Sequence[str], widest: int, as_json: bool) -> None:
        self.count = self.printed = 0
        self._header = header
        self._widest = widest
        self._as_json = as_json
        self._page: list[Mapping[str, Any]] = []
        self._size = 0

    def add(self, row: Mapping[str, Any], size: int = 0) -> None:
        """Take a row, and print those before if there are many, or they are large.

        :param size: bytes that the row takes, if they may be many
        :raises wasmplex.cli.output.OutputError: if that fails
        """
        if len(self._page) == _PAGE or (self._page and self._size + size > _PAGE_SIZE):
            self._print(more=True)
        self._page.append(row)
        self._size += size
        self.count += 1

    def finish(self) -> None:
        """Print what has not been printed; an array ends.

        :raises wasmplex.cli.output.OutputError: if that fails
        """
        if self._page:
            self._print(more=False)
        elif self._as_json:
            echo_safe("[]")

    def _print(self, *, more: bool) -> None:
        page, self._page, self._size = self._page, [], 0
        if self._as_json:
            start = "[\n" if self.count == len(page) else ""
            inner = json_text(page).removeprefix("[\n").removesuffix("\n]")
            echo_safe(start + inner + ("," if more else "\n]"))
        else:
            cells = [[_cut(str(row[name] or ""), self._widest) for name in self._header] for row in page]
            echo_table(self._header, cells)
        self.printed += len(page)


def _cut(text: str, widest: int) -> str:
    """Return a text that is not longer than so many characters, with a sign where it was."""
    return text if len(text) <= widest else text[: widest - 1] + "…"
