"""What is escaped can neither begin a line, nor act on a terminal, nor reorder or hide what is shown."""

from __future__ import annotations

import json
import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wasmplex.errors import Diagnostic, UsageError
from wasmplex.escaping import as_json, escape

JOINERS = {"\u200c", "\u200d"}
ANY = st.text(st.characters(codec=None) | st.sampled_from("\n\r\t\x1b\x85\x9b\u2028\u202e\ud800\U000e0041"))


def is_unsafe(character: str) -> bool:
    return character not in JOINERS and unicodedata.category(character) in {"Cc", "Cf", "Cs", "Zl", "Zp"}


def test_every_character_there_is() -> None:
    wrong = []
    for number in range(sys.maxunicode + 1):
        character = chr(number)
        escaped = escape(character)
        if escaped != character and (not escaped.isascii() or not escaped.isprintable()):
            wrong.append(number)
        if (escaped != character) != is_unsafe(character) and unicodedata.category(character) != "Cn":
            wrong.append(number)  # one that is not assigned in this Python may be so in the next
    assert not wrong, [hex(number) for number in wrong]


@given(ANY)
def test_what_comes_out_is_one_line_that_can_be_encoded(text: str) -> None:
    escaped = escape(text)
    assert len(escaped.splitlines()) <= 1
    escaped.encode()
    assert escape(escaped) == escaped


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("a\nb\rc\td\0\x1b[31m\x7f", r"a\nb\rc\td\x00\x1b[31m\x7f"),
        ("\x85\x9b\u2028\u2029", r"\x85\x9b\u2028\u2029"),
        ("abc\u202egnp.exe\u2066\ufeff", r"abc\u202egnp.exe\u2066\ufeff"),
        ("\udcff\U000e0041", r"\udcff\U000e0041"),
        ("é ß 漢字 👩\u200d🚀 \xa0", "é ß 漢字 👩\u200d🚀 \xa0"),
    ],
)
def test_how_it_looks(text: str, escaped: str) -> None:
    assert escape(text) == escaped


@given(st.recursive(ANY, lambda inner: st.lists(inner) | st.dictionaries(ANY, inner)))
def test_json_means_the_same(value: object) -> None:
    printed = as_json(json.dumps(value, ensure_ascii=False, indent=2))
    printed.encode()
    assert escape(printed, keep="\n") == printed
    assert json.loads(printed) == json.loads(json.dumps(value))


def test_a_diagnostic_quotes_safely() -> None:
    error = UsageError([Diagnostic("no \x1b[2J\nfile", "here\u2028there", "a\r\nb\x9b", "try\x00")])
    assert str(error) == r"no \x1b[2J\nfile" "\n  at: here there\n  because: a b\\x9b\n  try: try\\x00"
    assert error.render() == f"error: {error}"
