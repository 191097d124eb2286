"""The grammar of subjects."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wasmplex.capabilities.messaging import SubjectInvalid
from wasmplex.capabilities.messaging.subjects import (
    check_pattern,
    check_subject,
    covers,
    distinct,
    matcher,
    overlap,
)

tokens = st.sampled_from(["a", "b", "ab", "*", ">"])
texts = st.lists(tokens, min_size=1, max_size=4).map(".".join)
WILDCARDS = {"*", ">"}


def matches(pattern: str, subject: str) -> bool:
    """Say whether a pattern matches a subject, token by token."""
    ours, theirs = pattern.split("."), subject.split(".")
    for place, own in enumerate(ours):
        if own == ">":
            return len(theirs) > place
        if place >= len(theirs) or own not in ("*", theirs[place]):
            return False
    return len(ours) == len(theirs)


@given(texts, texts)
def test_what_a_pattern_matches(pattern: str, subject: str) -> None:
    if ">" in pattern.split(".")[:-1]:
        with pytest.raises(SubjectInvalid, match="last"):
            check_pattern(pattern)
        return
    if WILDCARDS & set(subject.split(".")):
        with pytest.raises(SubjectInvalid, match="wildcard"):
            check_subject(subject)
        return
    found = matcher([check_pattern(pattern)]).fullmatch(check_subject(subject))
    assert bool(found) == matches(pattern, subject)


@pytest.mark.parametrize("text", ["a*", "*a.b", "a.b>", "**"])
def test_a_wildcard_is_a_token_of_its_own(text: str) -> None:
    with pytest.raises(SubjectInvalid):
        check_pattern(text)
    with pytest.raises(SubjectInvalid):
        check_subject(text)


@given(texts, texts, texts)
def test_what_covers_a_pattern_matches_all_that_it_matches(one: str, other: str, subject: str) -> None:
    if any(">" in text.split(".")[:-1] for text in (one, other)) or WILDCARDS & set(subject.split(".")):
        return
    if covers(one, other) and matches(other, subject):
        assert matches(one, subject)


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [("a.>", "a.*", True), ("a.*", "a.>", False), (">", "a", True), ("a.b", "a.*", False), ("a", "a", True),
     ("*.b", "a.b", True), ("a.>", "a", False), ("*.*", "a.>", False)],
)  # fmt: skip
def test_covering(one: str, other: str, expected: bool) -> None:
    assert covers(one, other) is expected


@given(texts, texts, texts)
def test_patterns_that_match_one_subject_overlap(one: str, other: str, subject: str) -> None:
    if any(">" in text.split(".")[:-1] for text in (one, other)) or WILDCARDS & set(subject.split(".")):
        return
    if matches(one, subject) and matches(other, subject):
        assert overlap(one, other)


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [("a.*", "*.b", True), ("a.>", "*.b.c", True), ("a.*", "a.b.c", False), ("a.b", "a.c", False),
     ("a", "a.>", False), ("*", ">", True)],
)  # fmt: skip
def test_overlapping(one: str, other: str, expected: bool) -> None:
    assert overlap(one, other) is overlap(other, one) is expected


def test_patterns_that_others_cover() -> None:
    assert distinct(("a.b", "a.*", "a.>", "b")) == ("a.>", "b")
    assert distinct(("a.*.c", "a.b.*")) == ("a.*.c", "a.b.*")
