"""The grammar of subjects: that of NATS, whatever the backend.

A subject is one token or more, with dots between: ``orders.new``. In a pattern the token ``*`` stands for any
one token, and ``>``, as the last one, for one or more; both stand nowhere else. See https://docs.nats.io/nats-concepts/subjects.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from wasmplex.capabilities.messaging.errors import SubjectInvalid

__all__ = [
    "MAX_SUBJECT", "check_pattern", "check_subject", "covers", "distinct", "is_subject", "matcher", "overlap",
]  # fmt: skip

MAX_SUBJECT = 1024
"""Bytes of UTF-8 in a subject."""

_FORBIDDEN = re.compile(r"[\s\x00-\x1f\x7f]")


def check_subject(subject: str) -> str:
    """Return a subject that a message may have.

    :raises SubjectInvalid: if it is none, or holds a wildcard
    """
    _check(subject, "subject")
    if "*" in subject or ">" in subject:
        raise SubjectInvalid("a message goes to one subject: it has no wildcard")
    return subject


def is_subject(text: str) -> bool:
    """Say whether a message may have a text as its subject."""
    try:
        check_subject(text)
    except SubjectInvalid:
        return False
    return True


def check_pattern(pattern: str) -> str:
    """Return a pattern of subjects, which may be a plain one.

    :raises SubjectInvalid: if it is none
    """
    _check(pattern, "pattern")
    tokens = pattern.split(".")
    if any(len(token) > 1 and ("*" in token or ">" in token) for token in tokens):
        raise SubjectInvalid("a wildcard is a token of its own")
    if ">" in tokens[:-1]:
        raise SubjectInvalid("the wildcard > is not the last token of the pattern")
    return pattern


def _check(text: str, what: str) -> None:
    if _FORBIDDEN.search(text):
        raise SubjectInvalid(f"the {what} has a space or a control character in it")
    if not text:
        raise SubjectInvalid(f"the {what} is empty")
    if text[0] == "." or text[-1] == "." or ".." in text:
        raise SubjectInvalid(f"a token of the {what} is empty")
    if len(text) > MAX_SUBJECT // 4 and len(text.encode()) > MAX_SUBJECT:
        raise SubjectInvalid(f"the {what} is over {MAX_SUBJECT} bytes")


def matcher(patterns: Iterable[str]) -> re.Pattern[str]:
    """Return what matches, as a whole, the subjects of any of the patterns: for ``fullmatch``."""
    return re.compile("|".join(_expression(pattern) for pattern in patterns))


def _expression(pattern: str) -> str:
    tokens = {"*": r"[^.]+", ">": r".+"}
    return r"\.".join(tokens.get(token) or re.escape(token) for token in pattern.split("."))


def covers(pattern: str, other: str) -> bool:
    """Say whether every subject of the pattern `other` is one of `pattern`."""
    ours, theirs = pattern.split("."), other.split(".")
    for place, own in enumerate(ours):
        if own == ">":
            return len(theirs) > place
        if place >= len(theirs) or (theirs[place] != own and (own != "*" or theirs[place] == ">")):
            return False
    return len(ours) == len(theirs)


def distinct(patterns: Iterable[str]) -> tuple[str, ...]:
    """Return the patterns without those that another one covers."""
    kept: list[str] = []
    for pattern in patterns:
        if not any(covers(own, pattern) for own in kept):
            kept = [own for own in kept if not covers(pattern, own)] + [pattern]
    return tuple(kept)


def overlap(pattern: str, other: str) -> bool:
    """Say whether there is a subject that both patterns match."""
    ours, theirs = pattern.split("."), other.split(".")
    for one, two in zip(ours, theirs, strict=False):
        if ">" in (one, two):
            return True
        if one != two and "*" not in (one, two):
            return False
    return len(ours) == len(theirs)
