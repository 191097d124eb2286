"""WAVE: what is printed reads back as the same value, for every type, and what is wrong is said well."""

from __future__ import annotations

import math
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wasmplex.values import Err, Ok, Some, Variant
from wasmplex.wit.mismatch import mismatch
from wasmplex.wit.types import (
    Case,
    Enum,
    Field,
    Flags,
    ListType,
    MapType,
    Option,
    Own,
    Primitive,
    Record,
    Resource,
    ResultType,
    StreamType,
    TupleType,
    ValueType,
    VariantType,
)
from wasmplex.wit.wave import WaveError, parse, render

BOOL, U8, S32, U64, F32, F64, CHAR, STRING = (
    Primitive(name) for name in ("bool", "u8", "s32", "u64", "f32", "f64", "char", "string")
)  # fmt: skip

# ------------------------------------------------------------ any type, and any value of it

LABELS = st.sampled_from(
    ["a", "b", "two-words", "x1", "HTTP", "is-XML", "true", "none", "some", "ok", "err", "nan", "inf"]
)
PRIMITIVES = st.sampled_from(
    [Primitive(n) for n in ("bool", "char", "string", "f32", "f64")]
    + [Primitive(f"{sign}{bits}") for sign in "su" for bits in (8, 16, 32, 64)]  # type: ignore[arg-type]
)
NAMES = st.lists(LABELS, min_size=1, max_size=4, unique=True).map(tuple)


def compound(inner: st.SearchStrategy[ValueType]) -> st.SearchStrategy[ValueType]:
    several = st.lists(inner, min_size=1, max_size=3).map(tuple)
    maybe = st.none() | inner
    return st.one_of(
        st.builds(ListType, inner, st.none() | st.integers(1, 3)),
        st.builds(MapType, st.sampled_from([STRING, U8, BOOL]), inner),
        st.builds(Option, inner),
        st.builds(ResultType, maybe, maybe),
        st.builds(TupleType, several),
        st.tuples(NAMES, several).map(
            lambda pair: Record(tuple(Field(n, pair[1][i % len(pair[1])]) for i, n in enumerate(pair[0])))
        ),
        st.tuples(NAMES, st.lists(maybe, min_size=1)).map(
            lambda pair: VariantType(tuple(Case(n, pair[1][i % len(pair[1])]) for i, n in enumerate(pair[0])))
        ),
    )


TYPES = st.recursive(PRIMITIVES | st.builds(Enum, NAMES) | st.builds(Flags, NAMES), compound, max_leaves=6)


def primitive_values(name: str) -> st.SearchStrategy[Any]:
    match name:
        case "bool":
            return st.booleans()
        case "char":
            return st.characters(exclude_categories=["Cs"])
        case "string":
            return st.text(st.characters(exclude_categories=["Cs"]))
        case "f32":
            return st.floats(width=32)
        case "f64":
            return st.floats()
    bits = int(name[1:])
    low = 0 if name[0] == "u" else -(2 ** (bits - 1))
    return st.integers(low, low + 2**bits - 1)


def values(type: ValueType | None) -> st.SearchStrategy[Any]:
    match type:
        case Primitive(name):
            return primitive_values(name)
        case ListType(Primitive("u8"), None):
            return st.binary(max_size=5)
        case ListType(element, length):
            return st.lists(values(element), min_size=length or 0, max_size=length or 3)
        case MapType(key, item):
            return st.dictionaries(values(key), values(item), max_size=3)
        case Option(Option() as element):
            return st.none() | values(element).map(Some)
        case Option(element):
            return st.none() | values(element)
        case ResultType(ok, err):
            return values(ok).map(Ok) | values(err).map(Err)
        case None:
            return st.none()
        case _:
            return named_values(type)


def named_values(type: ValueType) -> st.SearchStrategy[Any]:
    match type:
        case TupleType(elements):
            return st.tuples(*map(values, elements))
        case Record(fields):
            return st.fixed_dictionaries({field.name: values(field.type) for field in fields})
        case VariantType(cases):
            return st.one_of(*(st.builds(Variant, st.just(c.name), values(c.type)) for c in cases))
        case Enum(cases):
            return st.sampled_from(cases)
        case Flags(names):
            return st.frozensets(st.sampled_from(names))
    raise AssertionError(type)


def same(one: Any, other: Any) -> bool:
    """Equality in which NaN is itself and 0.0 is not -0.0."""
    match one, other:
        case (float(), float()):
            return (math.isnan(one) and math.isnan(other)) or struct.pack("<d", one) == struct.pack(
                "<d", other
            )
        case (Ok(value=a), Ok(value=b)) | (Err(value=a), Err(value=b)):
            return same(a, b)
        case (dict(), dict()):
            return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
        case (list() | tuple(), list() | tuple()):
            return type(one) is type(other) and len(one) == len(other) and all(map(same, one, other))
        case _:
            return type(one) is type(other) and bool(one == other)


@given(st.data())
def test_what_is_printed_reads_back(data: st.DataObject) -> None:
    wanted = data.draw(TYPES)
    value = data.draw(values(wanted))
    text = render(value, wanted)
    assert "\n" not in text
    assert same(parse(text, wanted), value)
    assert same(parse(f" {text} // comment", wanted), value)


@given(TYPES, st.data())
def test_whatever_is_read_is_of_the_type(type: ValueType, data: st.DataObject) -> None:
    """Also after the text of a right value was damaged."""
    text = render(data.draw(values(type)), type)
    at, upto = sorted((data.draw(st.integers(0, len(text))), data.draw(st.integers(0, len(text)))))
    damaged = (
        text[:at] + data.draw(st.sampled_from(["", "(", "}", ",", "1", '"', "some", "%", "\\"])) + text[upto:]
    )
    try:
        value = parse(damaged, type)
    except WaveError as error:
        place = error.column
    else:
        place = 1
        assert mismatch(type, value) is None
    assert 1 <= place <= len(damaged) + 1


@given(TYPES, st.text(max_size=30))
def test_any_text_is_read_or_refused(type: ValueType, text: str) -> None:
    try:
        value = parse(text, type)
    except WaveError:
        return
    assert mismatch(type, value) is None


# ------------------------------------------------------------ examples

POINT = Record((Field("x", S32), Field("label", Option(STRING))))
SHAPE = VariantType((Case("dot"), Case("circle", F64), Case("err", STRING)))


@pytest.mark.parametrize(
    ("type", "text", "value"),
    [
        (BOOL, "true", True),
        (S32, "-9", -9),
        (F64, "6.022e+23", 6.022e23),
        (F64, "3", 3.0),
        (F64, "-inf", -math.inf),
        (CHAR, "'x'", "x"),
        (CHAR, r"'\''", "'"),
        (CHAR, "'\"'", '"'),
        (CHAR, r"'\u{0}'", "\0"),
        (STRING, r'"abc\t123 \u{1F600} it' + "'s\"", "abc\t123 😀 it's"),
        (STRING, '"""\nA single line\n"""', "A single line"),
        (STRING, '"""\n"""', ""),
        (
            STRING,
            '"""\n    Indentation determined\n      by ending delimiter\n  """',
            "  Indentation determined\n    by ending delimiter",
        ),
        (STRING, '"""\r\n  cr \\r\r\n  quotes ""\\""\r\n  """', 'cr \r\nquotes """"'),
        (ListType(U8), "[1, 2,]", b"\1\2"),
        (ListType(STRING), "[]", []),
        (TupleType((STRING, U8)), '("abc", 123)', ("abc", 123)),
        (POINT, '{label: "a", x: 1}', {"x": 1, "label": "a"}),
        (POINT, "{%x: 1,}", {"x": 1, "label": None}),
        (Record((Field("a", Option(U8)),)), "{:}", {"a": None}),
        (SHAPE, "dot", Variant("dot")),
        (SHAPE, "circle(2)", Variant("circle", 2.0)),
        (SHAPE, '%err("x")', Variant("err", "x")),
        (Enum(("ok", "not-found")), "%ok", "ok"),
        (Option(STRING), '"flat"', "flat"),
        (Option(STRING), 'some("x")', "x"),
        (Option(Enum(("none", "all"))), "%none", "none"),
        (Option(Option(U8)), "some(none)", Some(None)),
        (Option(Option(U8)), "some(some(1))", Some(1)),
        (ResultType(U8, None), "5", Ok(5)),
        (ResultType(None, STRING), "ok", Ok()),
        (ResultType(None, STRING), 'err("no")', Err("no")),
        (Flags(("read", "write")), "{ write, read }", frozenset({"read", "write"})),
        (Flags(("read", "write")), "{}", frozenset()),
        (MapType(STRING, U8), '[("a", 1)]', {"a": 1}),
    ],
)
def test_reading(type: ValueType, text: str, value: Any) -> None:
    assert same(parse(text, type), value)


@pytest.mark.parametrize(
    ("type", "value", "text"),
    [
        (F32, struct.unpack("<f", struct.pack("<f", 0.1))[0], "0.1"),
        (F64, 0.1, "0.1"),
        (F64, 1e300, "1e+300"),
        (F64, 5.0, "5"),
        (F64, -0.0, "-0"),
        (F32, math.nan, "nan"),
        (STRING, "a\"b'c\\d\n\x1b", r'"a\"b' + r"\'" + r'c\\d\n\u{1b}"'),
        (POINT, {"x": 1, "label": None}, "{x: 1}"),
        (Record((Field("a", Option(U8)),)), {"a": None}, "{:}"),
        (Enum(("ok",)), "ok", "%ok"),
        (Option(U8), 1, "some(1)"),
        (ResultType(None, None), Ok(), "ok"),
        (Flags(("read", "write")), frozenset({"write", "read"}), "{read, write}"),
    ],
)
def test_writing(type: ValueType, value: Any, text: str) -> None:
    assert render(value, type) == text


@pytest.mark.parametrize(
    ("type", "text", "column", "message"),
    [
        (STRING, "hello", 1, "a string such as \"text\" is wanted, not 'hello'"),
        (STRING, '"a', 1, 'the closing " is missing'),
        (STRING, '"a\nb"', 3, r"a line break in a text is written \n"),
        (STRING, r'"\x"', 2, r"""not an escape; there are \\ \" \' \t \n \r and \u{1f600}"""),
        (STRING, r'"\u{d800}"', 2, "U+D800 is not a character"),
        (
            STRING,
            '"""x"""',
            1,
            'text of several lines begins with """ and a line break, and ends in a line with """',
        ),
        (STRING, '"""\nx\n  """', 1, "each line is indented as the closing quotes are, by 2"),
        (CHAR, "'ab'", 1, "one character is wanted between the quotes, not 2"),
        (U8, "256", 1, "256 is out of range for u8: 0 to 255"),
        (U8, "-1", 1, "-1 is out of range for u8: 0 to 255"),
        (U8, "1.5", 1, "1.5 is not a whole number of type u8"),
        (U8, "9" * 5000, 1, "9" * 24 + " is not a whole number of type u8"),
        (U8, "x", 1, "a whole number (u8) is wanted, not 'x'"),
        (U8, "1 2", 3, "nothing is wanted after the value, not '2'"),
        (U8, "", 1, "a whole number (u8) is wanted, not the end"),
        (F32, "1e39", 1, "1e39 is out of range for f32"),
        (BOOL, "yes", 1, "true or false is wanted, not 'yes'"),
        (ListType(U8), "[1 2]", 4, "']' is wanted, not '2'"),
        (ListType(U8, 2), "[1]", 1, "a list of 2 is wanted, not of 1"),
        (TupleType((U8, U8)), "(1)", 1, "a tuple of 2 is wanted, not of 1"),
        (TupleType((U8,)), "(1, 2)", 5, "a tuple of 1 is wanted, and this is one more"),
        (POINT, "{y: 1}", 2, "y is not a field of the record; known: label, x"),
        (POINT, "{x: 1, x: 2}", 8, "the field x is there twice"),
        (POINT, "{:}", 1, "the field x of the record is missing"),
        (SHAPE, "cirle(1)", 1, "cirle is not a case of the variant; did you mean 'circle'?"),
        (SHAPE, "circle", 7, "'(' is wanted, not the end"),
        (SHAPE, "dot(1)", 4, "dot has no payload"),
        (SHAPE, 'err("x")', 1, "err is a keyword; write %err"),
        (Enum(("north",)), "noth", 1, "noth is not a case of the enum; did you mean 'north'?"),
        (Flags(("read",)), "{read, read}", 12, "a flag is there twice"),
        (Option(Option(U8)), "5", 1, "some(...) or none is wanted, not '5'"),
        (ResultType(None, None), "5", 1, "ok or err is wanted, not '5'"),
        (Own(Resource(0)), "1", 1, "resources, streams and futures cannot be written as text"),
    ],
)  # fmt: skip
def test_what_is_wrong(type: ValueType, text: str, column: int, message: str) -> None:
    with pytest.raises(WaveError) as caught:
        parse(text, type)
    assert (caught.value.column, str(caught.value)) == (column, message)


def test_what_has_no_text() -> None:
    with pytest.raises(ValueError, match="no text"):
        render(object(), StreamType(U8))
