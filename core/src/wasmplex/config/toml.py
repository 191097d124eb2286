"""TOML with positions: `tomllib` parses, a scanner finds the line of every key.

`tomllib` is exact and keeps no positions. The scanner only ever sees text that `tomllib` has accepted, so
it looks for where keys begin and values end and checks nothing.
"""

from __future__ import annotations

import re
import tomllib
from bisect import bisect_right
from typing import NoReturn

from wasmplex.config.document import Parsed
from wasmplex.config.model import KeyPath
from wasmplex.errors import ConfigError
from wasmplex.escaping import escape

__all__ = ["index", "parse"]

_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_DOT = re.compile(r"[ \t]*\.[ \t]*")
_BARE = re.compile(r"[A-Za-z0-9_-]+")
_SCALAR = re.compile(r"[^,\]}\n#]+")
# The multi-line forms come first; they may end in up to two quotes that belong to the text.
_STRING = re.compile(
    r'"""(?:[^"\\]|\\.|"(?!""))*""""{0,2}'
    r"|'''(?:[^']|'(?!''))*''''{0,2}"
    r'|"(?:[^"\\]|\\.)*"'
    r"|'[^']*'",
    re.DOTALL,
)
_PLACE = re.compile(r"\s*\(at (?:line (?P<line>\d+), column (?P<column>\d+)|end of document)\)$")
_MAX_DEPTH = 100
_HUGE_NUMBER = re.compile(r"[0-9_]{4300}")


def parse(text: str, file: str) -> Parsed:
    """Parse `text`, whose line ends may be those of any system.

    :raises ConfigError: it is not TOML; the message has the line
    """
    text = text.replace("\r\n", "\n")
    try:
        values = tomllib.loads(text)
        return Parsed(values, index(text))
    except RecursionError:
        raise ConfigError(f"{file} is nested too deeply", where=f"{file}:1") from None
    except ValueError as error:  # TOMLDecodeError, and what int() and datetime() refuse
        _refuse(text, file, str(error))


def _refuse(text: str, file: str, reason: str) -> NoReturn:
    place = _PLACE.search(reason)
    reason = reason[: place.start()] if place else reason
    if place and place["line"]:
        line = int(place["line"])
    elif place:
        line = max(1, len(text.rstrip("\n").splitlines()))
    else:
        huge = _HUGE_NUMBER.search(text)
        line = text.count("\n", 0, huge.start()) + 1 if huge else 1
    fix = _advice(reason, (text.split("\n")[line - 1 : line] or [""])[0])
    column = f", column {place['column']}" if place and place["line"] else ""
    raise ConfigError(
        f"{file} is not valid TOML", where=f"{file}:{line}{column}", why=_explain(reason), fix=fix
    ) from None


def _explain(reason: str) -> str:
    if reason.startswith(("Cannot overwrite", "Cannot declare", "Cannot mutate")):
        return f"a key or table is written twice ({reason[0].lower()}{reason[1:]})"
    if reason.startswith("Exceeds the limit"):
        return "a number has thousands of digits"
    return escape(reason[:1].lower() + reason[1:])


def _advice(reason: str, line: str) -> str:
    """Return the line to type for the mistakes that are made most; it repeats keys, never values."""
    key = re.match(r"\s*([A-Za-z0-9_.-]+)\s*(=|:|$)", line)
    if key is None:
        return ""
    if reason.startswith("Invalid value") and key[2] == "=":
        return f'text is quoted: {key[1]} = "..."'
    if reason.startswith("Expected '='"):
        return f"{key[1]} = ..."
    if reason.startswith("Cannot overwrite"):
        return f"keep one of the lines that set {key[1]!r}"
    return ""


def index(text: str) -> dict[KeyPath, int]:
    """Return the line of every key, table and array item of a valid TOML text.

    Its line ends are line feeds alone. A table's line is that of its own header, or of the first header or
    key that implies it.
    """
    return _Scanner(text).scan()


class _Scanner:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._ends = [match.start() for match in re.finditer("\n", text)]
        self._lines: dict[KeyPath, int] = {}
        self._tables: dict[KeyPath, int] = {}  # arrays of tables and how many they hold

    def scan(self) -> dict[KeyPath, int]:
        table: KeyPath = ()
        while self._blank() < len(self._text):
            if self._text[self._at] == "[":
                table = self._header()
            else:
                self._pair(table)
        return self._lines

    def _line(self) -> int:
        return bisect_right(self._ends, self._at - 1) + 1

    def _blank(self) -> int:
        self._at = _end(_BLANK, self._text, self._at)
        return self._at

    def _header(self) -> KeyPath:
        array = self._text.startswith("[[", self._at)
        line = self._line()
        self._at += 2 if array else 1
        self._blank()
        path: KeyPath = ()
        for key in self._keys():
            path = _longer(self._enter(path), key)
            self._lines.setdefault(path, line)
        self._blank()
        self._at += 2 if array else 1
        if not array:
            self._lines[path] = line
            return path
        self._tables[path] = self._tables.get(path, 0) + 1
        path = self._enter(path)
        self._lines[path] = line
        return path

    def _enter(self, path: KeyPath) -> KeyPath:
        """Return the path of the last table, if `path` is an array of them."""
        return (*path, self._tables[path] - 1) if path in self._tables else path

    def _pair(self, path: KeyPath) -> None:
        line = self._line()
        for key in self._keys():
            path = _longer(path, key)
            self._lines.setdefault(path, line)
        self._at = self._text.index("=", self._at) + 1
        self._blank()
        self._value(path)

    def _keys(self) -> list[str]:
        keys = [self._key()]
        while dot := _DOT.match(self._text, self._at):
            self._at = dot.end()
            keys.append(self._key())
        return keys

    def _key(self) -> str:
        start = self._at
        if self._text[start] not in "\"'":
            self._at = _end(_BARE, self._text, start)
            return self._text[start : self._at]
        self._at = _end(_STRING, self._text, start)
        name: str = tomllib.loads(f"key = {self._text[start : self._at]}")["key"]
        return name

    def _value(self, path: KeyPath) -> None:
        match self._text[self._at]:
            case "[":
                self._array(path)
            case "{":
                self._inline_table(path)
            case '"' | "'":
                self._at = _end(_STRING, self._text, self._at)
            case _:
                self._at = _end(_SCALAR, self._text, self._at)

    def _array(self, path: KeyPath) -> None:
        self._at += 1
        count = 0
        while self._text[self._blank()] != "]":
            self._lines[(*path, count)] = self._line()
            self._value((*path, count))
            count += 1
            self._comma()
        self._at += 1

    def _inline_table(self, path: KeyPath) -> None:
        self._at += 1
        while self._text[self._blank()] != "}":
            self._pair(path)
            self._comma()
        self._at += 1

    def _comma(self) -> None:
        if self._text[self._blank()] == ",":
            self._at += 1


def _longer(path: KeyPath, key: str) -> KeyPath:
    """Return `path` with one more key; the length of all paths together would grow with its square."""
    if len(path) >= _MAX_DEPTH:
        raise RecursionError
    return (*path, key)


def _end(pattern: re.Pattern[str], text: str, at: int) -> int:
    match = pattern.match(text, at)
    assert match is not None, "tomllib accepted what the scanner cannot read"  # noqa: S101
    return match.end()
