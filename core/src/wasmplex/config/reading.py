"""A reader of one document that collects what is wrong instead of stopping at the first of it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

from wasmplex.config.document import Document, header, quoted
from wasmplex.config.model import KeyPath, Table
from wasmplex.config.references import UNRESOLVED, attempt, describe
from wasmplex.config.validation import validate
from wasmplex.errors import Diagnostic, nearest_file
from wasmplex.settings import Settings

__all__ = ["Reader", "in_order"]

S = TypeVar("S", bound=Settings)

_LINE = re.compile(r":(\d+)(?:,| \()")


def in_order(problems: Iterable[Diagnostic]) -> list[Diagnostic]:
    """Return problems with one file in the order of their lines, each once."""

    def line(problem: Diagnostic) -> int:
        found = _LINE.search(problem.where)
        return int(found[1]) if found else 0

    return sorted(dict.fromkeys(problems), key=line)


class Reader:
    """Reads tables and sections of a document.

    :param base: the directory that relative paths start from
    :ivar file: the document's name in messages
    :ivar problems: everything found wrong so far
    """

    def __init__(self, document: Document, base: Path, environ: Mapping[str, str]) -> None:
        self._document = document
        self.file = document.file
        self._base = base
        self._environ = environ
        self.problems: list[Diagnostic] = []

    def report(self, path: KeyPath, what: str, *, why: str = "", fix: str = "") -> None:
        """Note that something is wrong at `path`."""
        self.problems.append(Diagnostic(what, str(self._document.location(path)), why, fix))

    def sorted_problems(self) -> list[Diagnostic]:
        """Return the problems in the order of their lines, each once."""
        return in_order(self.problems)

    def value(self, path: KeyPath) -> Any:
        """Return the plain value at `path`, None if there is none."""
        return self._document.value(path)

    def keys(self, path: KeyPath) -> list[str]:
        """Return the keys of the table at `path`; none if it is not one."""
        value = self.value(path)
        return list(value) if isinstance(value, dict) else []

    def root(self) -> Table:
        """Return the whole document as a table."""
        return self._document.table(())

    def written_values(self, path: KeyPath) -> Iterator[tuple[str, Any]]:
        """Yield the entries of the table at `path`, references as `EnvRef` and `FileRef`."""
        for key in self.keys(path):
            yield key, self._document.written((*path, key))

    def is_table(self, path: KeyPath) -> bool:
        """Return whether a table stands at `path`, or a key without a value, as YAML has them."""
        value = self.value(path)
        return value is UNRESOLVED or isinstance(value, (dict, type(None)))

    def table(self, path: KeyPath) -> Table | None:
        """Return the table at `path`; report it if something else stands there."""
        if self.is_table(path):
            return self._document.table(path)
        value, fix = self.value(path), header(path, self.file)
        # Text in the place of a table may be the URL that belongs into one: there is no type to say.
        what = describe(path, value, secret=isinstance(value, str))
        self.report(path, f"{what} is not a table", fix=fix)
        return None

    def tables(self, path: KeyPath) -> tuple[Table, ...]:
        """Return the table at `path`, or those of the array that stands there; report what is none."""
        value = self.value(path)
        places = [(*path, number) for number in range(len(value))] if isinstance(value, list) else [path]
        return tuple(table for place in places if (table := self.table(place)) is not None)

    def check_name(self, path: KeyPath, kind: str, check: Callable[[str], str]) -> None:
        """Report the last key of `path` if `check` refuses it."""
        name = str(path[-1])
        try:
            check(name)
        except ValueError as error:
            self.report(path, f"the {kind} {quoted(name)} is not valid", why=str(error))

    def section(self, table: Table, model: type[S]) -> S | None:
        """Resolve and validate one of the host's own tables."""
        values, unresolved = attempt(table, self._base, self._environ)
        instance, refused = validate(table, model, values)
        self.problems += unresolved
        self.problems += refused
        return None if unresolved else instance

    def path(self, text: str) -> Path:
        """Return an absolute path from what a file says, ``~`` expanded."""
        try:
            return self._base / Path(text).expanduser()
        except RuntimeError:  # no home directory
            return self._base / text

    def resolved(self, table: Table) -> dict[str, Any]:
        """Return the values of a table with what can be resolved; what cannot is not reported here."""
        return attempt(table, self._base, self._environ)[0]

    def existing(self, path: KeyPath, text: Any, kind: Literal["file", "directory"]) -> Path:
        """Return the absolute path of the file or directory that `path` names; report it if it is not there.

        :param text: the value at `path`, resolved. What is no text of a path has been reported by its model
        """
        if not isinstance(text, str) or not text.strip() or "\0" in text:
            return self._base
        found = self.path(text)
        try:
            present, fits = found.exists(), found.is_file() if kind == "file" else found.is_dir()
        except OSError:
            present = fits = False
        if not fits:
            written = self._document.written(path)
            why = f"it is not a {kind}" if present else f"there is no such {kind}"
            fix = _replacement(found, kind) if isinstance(written, str) else ""
            self.report(path, f"{describe(path, written)} cannot be used", why=why, fix=fix)
        return found


def _replacement(path: Path, kind: Literal["file", "directory"]) -> str:
    """Return what to do about a path that is not there: the name that was meant, or how to make it."""

    def is_alike(item: Path) -> bool:
        if kind == "directory":
            return item.is_dir()
        return path.suffix in ("", item.suffix)  # a configuration is no component, whatever it is called

    try:
        items = [item.name for item in path.parent.iterdir() if item.name != path.name and is_alike(item)]
        hint = nearest_file(path.name, items)
    except (OSError, ValueError):
        hint = ""
    if hint.startswith("did you"):
        return hint
    return f"mkdir -p {path}" if kind == "directory" else ""
