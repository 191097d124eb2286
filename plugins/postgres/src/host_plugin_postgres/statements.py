"""Reading SQL as far as the host has to: which commands stand in it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

from wasmplex.capabilities.postgres import InvalidQuery

__all__ = ["check", "check_statement", "first_words", "is_empty", "is_plain"]

_SHORT = 4096
"""Characters of statements that are looked at once: what was found out of so many is kept."""

_TOKEN = re.compile(
    r"""
    (?P<space> \s+ | --[^\n]* )
  | (?P<comment> /\* )
  | (?P<string> [eE]'(?:[^'\\]|\\.|'')*(?:'|\Z) | '[^']*(?:'|\Z) | "[^"]*(?:"|\Z) )
  | (?P<dollar> \$ (?:[A-Za-z_\x80-\U0010ffff][\w\x80-\U0010ffff]*)? \$ )
  | (?P<word> [A-Za-z_\x80-\U0010ffff][\w$\x80-\U0010ffff]* )
  | (?P<end> ; )
  | (?P<other> . )
    """,
    re.VERBOSE | re.DOTALL,
)


def check(sql: str) -> None:
    """Refuse what would break the conversation with the server.

    :raises InvalidQuery: for COPY from or to the client, and for a NUL character, which ends a message's text
    """
    if "\0" in sql:
        raise InvalidQuery("the SQL has a NUL character in it")
    if re.search(r"copy", sql, re.IGNORECASE) and "copy" in first_words(sql):
        raise InvalidQuery("COPY is not available: use INSERT to write, and a query to read")


def check_statement(sql: str) -> None:
    """Refuse what `check` does, and what is no statement at all.

    :raises InvalidQuery: for these
    """
    (_known if len(sql) <= _SHORT else _known.__wrapped__)(sql)


@lru_cache(512)
def _known(sql: str) -> None:
    check(sql)
    if is_empty(sql):
        raise InvalidQuery("there is no statement in the SQL")


def is_empty(sql: str) -> bool:
    """Return whether there is no statement at all, only space, comments and semicolons."""
    at = 0
    while match := _TOKEN.match(sql, at):
        if match.lastgroup not in ("space", "comment", "end"):
            return False
        at = _after_comment(sql, match.end()) if match.lastgroup == "comment" else match.end()
    return True


_PLAIN = frozenset({"delete", "insert", "merge", "select", "table", "update", "values", "with"})
_TELLING = re.compile(r"lock|listen|notify|temp|set_config|dblink", re.IGNORECASE)


def is_plain(sql: str) -> bool:
    """Return whether other sessions see nothing more of a statement once its transaction has ended.

    This says how long an answer may wait, not what is reset: a function may do anything, and all is reset.
    """
    return not _TELLING.search(sql) and {*first_words(sql)} <= _PLAIN


def first_words(sql: str) -> Iterator[str]:
    """Yield the first word of each statement, in lower case."""
    at, begins = 0, True
    while match := _TOKEN.match(sql, at):
        at = match.end()
        kind = match.lastgroup
        if kind == "comment":
            at = _after_comment(sql, at)
        elif kind == "dollar":
            found = sql.find(match[0], at)
            at, begins = len(sql) if found < 0 else found + len(match[0]), False
        elif kind == "end":
            begins = True
        elif kind == "word" and begins:
            yield match[0].lower()
            begins = False
        elif kind not in ("space", "word") and match[0] != "(":
            begins = False


def _after_comment(sql: str, at: int) -> int:
    """Return where a comment ends; they nest."""
    depth = 1
    for match in re.compile(r"/\*|\*/").finditer(sql, at):
        depth += 1 if match[0] == "/*" else -1
        if not depth:
            return match.end()
    return len(sql)
