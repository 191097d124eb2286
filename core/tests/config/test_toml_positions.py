"""The index of TOML positions against `tomllib`: the same keys, and lines that are right."""

from __future__ import annotations

import string
import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wasmplex.config import toml
from wasmplex.config.model import KeyPath


def key_paths(value: Any, path: KeyPath = ()) -> set[KeyPath]:
    """Every key path of parsed TOML."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    found: set[KeyPath] = {path} if path else set()
    for key, item in items:
        found |= key_paths(item, (*path, key))
    return found


# ------------------------------------------------------------ TOML text, in every spelling the grammar has

BARE = st.text(string.ascii_letters + string.digits + "-_", min_size=1, max_size=3)
ANY_TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=6)
WEIRD = st.sampled_from(
    ["=", "]", "[", "#", ",", "}", "{", ".", "'", '"', "\\", " ", "a.b", '"""', "'''", "\n"]
)


def basic(text: str) -> str:
    escapes = {"\\": "\\\\", '"': '\\"', "\n": "\\n"}
    return '"' + "".join(escapes.get(c, c) for c in text) + '"'


@st.composite
def quoted_text(draw: st.DrawFn, multiline: bool = True) -> str:
    text = "".join(draw(st.lists(ANY_TEXT | WEIRD, max_size=4)))
    forms = [basic(text)]
    if "'" not in text and "\n" not in text:
        forms.append(f"'{text}'")
    if multiline and "'''" not in text:
        forms.append(f"'''\n{text}" + "'''" if not text.endswith("'") else f"'''{text}''''")
    if multiline:
        body = text.replace("\\", "\\\\").replace('"""', '\\"""')
        forms.append(f'"""{body}"""' if not body.endswith('"') else f'"""{body}"""""')
    return draw(st.sampled_from(forms))


KEY = BARE | quoted_text(multiline=False)
SPACE = st.sampled_from(["", " ", "\t"])
GAP = st.sampled_from(["", " ", "\n", " # not, a = [key]\n", "\n\n\t"])
SCALAR = st.sampled_from(
    ["1", "-0.5e3", "inf", "0xBEEF", "1_000", "true", "1979-05-27 07:32:00", "1979-05-27", "07:32:00.5"]
)


@st.composite
def dotted(draw: st.DrawFn) -> str:
    keys = draw(st.lists(KEY, min_size=1, max_size=3))
    return (draw(SPACE) + "." + draw(SPACE)).join(keys)


@st.composite
def array(draw: st.DrawFn, items: st.SearchStrategy[str]) -> str:
    text = "["
    parts = draw(st.lists(items, max_size=3))
    for number, part in enumerate(parts):
        text += draw(GAP) + part + draw(GAP)
        if number < len(parts) - 1 or draw(st.booleans()):
            text += ","
    return text + draw(GAP) + "]"


@st.composite
def inline_table(draw: st.DrawFn, items: st.SearchStrategy[str]) -> str:
    pairs = draw(st.lists(st.tuples(dotted(), items), max_size=3))
    return "{" + ",".join(f"{draw(SPACE)}{key} = {value}{draw(SPACE)}" for key, value in pairs) + "}"


VALUE = st.recursive(SCALAR | quoted_text(), lambda items: array(items) | inline_table(items), max_leaves=6)


@st.composite
def statement(draw: st.DrawFn) -> str:
    tail = draw(st.sampled_from(["\n", " # [comment] = 1\n", "\r\n", "\n\n  "]))
    match draw(st.sampled_from(["pair", "pair", "table", "array"])):
        case "pair":
            return f"{draw(dotted())}{draw(SPACE)}={draw(SPACE)}{draw(VALUE)}{tail}"
        case "table":
            return f"[{draw(SPACE)}{draw(dotted())}{draw(SPACE)}]{tail}"
        case _:
            return f"[[{draw(dotted())}]]{tail}"


@st.composite
def documents(draw: st.DrawFn) -> str:
    """A valid document: statements that `tomllib` does not accept after those before are left out."""
    text = ""
    for part in draw(st.lists(statement(), max_size=8)):
        try:
            tomllib.loads(text + part)
        except tomllib.TOMLDecodeError:
            continue
        text += part
    return text


@given(documents())
def test_the_index_has_the_key_paths_of_tomllib(text: str) -> None:
    parsed = toml.parse(text, "host.toml")
    assert set(parsed.lines) == key_paths(tomllib.loads(text))


@given(documents())
def test_the_line_of_a_key_has_its_name(text: str) -> None:
    lines = text.replace("\r\n", "\n").split("\n")
    for path, line in toml.parse(text, "host.toml").lines.items():
        name = path[-1]
        if isinstance(name, str) and name.isascii() and name.isalnum():
            assert name in lines[line - 1]


@given(documents(), st.text(max_size=3), st.integers(min_value=0))
def test_text_that_tomllib_accepts_is_indexed_whatever_it_is(text: str, junk: str, at: int) -> None:
    at %= len(text) + 1
    text = text[:at] + junk + text[at:]
    try:
        values = tomllib.loads(text)
    except ValueError:
        return
    assert set(toml.parse(text, "host.toml").lines) == key_paths(values)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a = 1\nb = 2", {("a",): 1, ("b",): 2}),
        ("a.b.c = 1", {("a",): 1, ("a", "b"): 1, ("a", "b", "c"): 1}),
        ("[a.b]\nc = 1\n[a]\nd = 1", {("a", "b"): 1, ("a", "b", "c"): 2, ("a",): 3, ("a", "d"): 4}),
        ('["a b".\'c\']\n"\\u0064" = 1', {("a b",): 1, ("a b", "c"): 1, ("a b", "c", "d"): 2}),
        (
            "[[a]]\nx = 1\n[a.b]\ny = 2\n[[a]]\n[[a.c]]\n[[a.c]]\nz = 3",
            {
                ("a",): 1, ("a", 0): 1, ("a", 0, "x"): 2, ("a", 0, "b"): 3, ("a", 0, "b", "y"): 4,
                ("a", 1): 5, ("a", 1, "c"): 6, ("a", 1, "c", 0): 6, ("a", 1, "c", 1): 7,
                ("a", 1, "c", 1, "z"): 8,
            },
        ),
        (
            'a = """\nb = 1\n\\"""\n""""\nc = \'\'\'\n[d]\n\'\'\'\'\'\ne = 1',
            {("a",): 1, ("c",): 5, ("e",): 8},
        ),
        (
            "a = [ # ]\n  1, '2',\n\n  [3]\n]\nb = { c = 1, d.e = [\n] }",
            {
                ("a",): 1, ("a", 0): 2, ("a", 1): 2, ("a", 2): 4, ("a", 2, 0): 4,
                ("b",): 6, ("b", "c"): 6, ("b", "d"): 6, ("b", "d", "e"): 6,
            },
        ),
        ("a = 1\r\n\r\nb = 2\r\n", {("a",): 1, ("b",): 3}),
    ],
)  # fmt: skip
def test_lines(text: str, expected: dict[KeyPath, int]) -> None:
    assert toml.parse(text, "host.toml").lines == expected
