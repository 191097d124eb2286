"""Rows that go from a server's messages to a guest's memory: as if Python had read and written them."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wasmplex.bridge.codec import elements
from wasmplex.bridge.elements import Elements
from wasmplex.bridge.kinds import KindTable
from wasmplex.bridge.rowlayout import RowLayout
from wasmplex.capabilities.postgres.values import parts_of
from wasmplex.packed import Columns, PackedRows
from wasmplex.wit.mismatch import ValueMismatch
from wasmplex.wit.types import Case, ListType, Option, Primitive, TupleType, VariantType

OCTETS = ListType(Primitive("u8"))
PARTS = TupleType((Primitive("u64"), Primitive("s16"), Primitive("s8")))
PAYLOADS = {
    "null": None, "one": Primitive("s8"), "two": Primitive("s16"), "four": Primitive("s32"),
    "eight": Primitive("s64"), "truth": Primitive("bool"), "double": PARTS, "float": PARTS,
    "text": Primitive("string"), "bytes": OCTETS, "varchar": TupleType((Option(Primitive("u32")), OCTETS)),
    "other": ListType(Primitive("string")),
}  # fmt: skip
ROW = ListType(VariantType(tuple(Case(*item) for item in PAYLOADS.items())))
COLUMNS: Columns = (
    ("one", "integer"), ("two", "integer"), ("four", "integer"), ("eight", "integer"), ("truth", "boolean"),
    ("double", "double"), ("float", "float"), ("text", "text"), ("bytes", "octets"),
    ("varchar", "characters"),
)  # fmt: skip


def signed(width: int) -> st.SearchStrategy[bytes]:
    half = 1 << (8 * width - 1)
    return st.integers(-half, half - 1).map(lambda n: n.to_bytes(width, "big", signed=True))


FIELDS = [
    *(signed(width) for width in (1, 2, 4, 8)),
    st.sampled_from([b"\0", b"\1"]),
    st.floats().map(lambda x: struct.pack(">d", x)),
    st.floats(width=32).map(lambda x: struct.pack(">f", x)),
    st.text().map(str.encode),
    st.binary(max_size=40),
    st.binary(max_size=40),
]
ROWS = st.lists(st.tuples(*(st.none() | field for field in FIELDS)), min_size=1, max_size=70)


def value(column: tuple[str, str], raw: bytes | None) -> tuple[str, Any]:
    case, form = column
    if raw is None:
        return "null", None
    decode: dict[str, Any] = {
        "integer": lambda raw: int.from_bytes(raw, "big", signed=True),
        "boolean": lambda raw: raw != b"\0",
        "double": parts_of,
        "float": parts_of,
        "text": bytes.decode,
        "octets": bytes,
        "characters": lambda raw: (None, raw),
    }
    return case, decode[form](raw)


def packed(rows: Sequence[Sequence[bytes | None]], columns: Columns = COLUMNS) -> PackedRows:
    data, starts = b"", [0]
    for row in rows:
        body = b"".join(struct.pack(">i", -1 if f is None else len(f)) + (f or b"") for f in row)
        data += b"D" + struct.pack(">IH", len(body) + 6, len(row)) + body
        starts.append(len(data))
    return PackedRows(columns, data, starts, lambda fields: [*map(value, columns, fields)])


def layout() -> RowLayout:
    found = RowLayout.of(ROW)
    assert found is not None
    return found


@settings(max_examples=100, deadline=None)
@given(ROWS, st.integers(0, 1 << 20).map(lambda n: n * 16), st.data())
def test_packed_rows_are_what_python_would_write(rows: list[Any], base: int, data: st.DataObject) -> None:
    read, _ = elements(ROW, KindTable())
    whole, wanted = packed(rows), [[*map(value, COLUMNS, row)] for row in rows]
    assert list(whole) == wanted
    begin = data.draw(st.integers(0, len(rows) - 1))
    for some, expected in ((whole, wanted), (whole[begin:], wanted[begin:])):
        block = layout().write(some, base)
        assert len(block) <= layout().bound(some)
        assert read((block, 0, len(some)), base, None) == expected


@pytest.mark.parametrize(
    "text",
    [b"\xff", b"\xc0\x80", b"\xe2\x82", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"abcdefgh\x80", b"\xc3("],
)
def test_text_that_is_none_is_refused(text: bytes) -> None:
    with pytest.raises(ValueMismatch, match="rows that are none"):
        layout().write(packed([[text]], (("text", "text"),)), 0)
    assert layout().write(packed([["ä€𝄞".encode()]], (("text", "text"),)), 0)  # the machine goes on


@pytest.mark.parametrize(
    ("column", "field"),
    [(("four", "integer"), b"123"), (("truth", "boolean"), b""), (("double", "double"), b"1")],
)
def test_a_field_of_another_width_is_refused(column: Any, field: bytes) -> None:
    with pytest.raises(ValueMismatch, match="rows that are none"):
        layout().write(packed([[field]], (column,)), 0)


def test_a_message_that_lies_about_its_length_reads_nothing_else() -> None:
    rows = packed([[b"abc"]], (("text", "text"),))
    lying = bytearray(rows.data)
    lying[7:11] = struct.pack(">i", 1000)
    with pytest.raises(ValueMismatch):
        layout().write(PackedRows(rows.columns, lying, rows.starts, rows.read), 0)


def test_columns_that_cannot_be_written_packed_are_read_by_python() -> None:
    of_rows = Elements(ROW, KindTable(), 0)
    lists: Columns = (("text", "octets"),)
    assert of_rows.checked(packed([[b"x"]], lists)) == [[("text", b"x")]]
    whole = packed([[b"x" * 1000]] * 64, (("text", "text"),))
    assert of_rows.checked(whole) is whole
    first = of_rows.packed(whole)
    assert first is not None
    assert 1 < len(first) < 64  # what fits a buffer
    assert of_rows.packed(packed([[b"x" * (1 << 20)]], (("text", "text"),))) is None
    assert Elements(OCTETS, KindTable(), 0).rows is None


def test_rows_are_a_sequence() -> None:
    rows = packed([[n.to_bytes(1, "big")] for n in range(9)], (("one", "integer"),))
    assert rows[-1] == [("one", 8)]
    assert [row[0][1] for row in rows[2:5][1:]] == [3, 4]
    assert rows[5:2:1].size == 0
    assert not rows[9:]
    assert rows.size == len(rows.data)
    with pytest.raises(IndexError):
        rows[9]
    with pytest.raises(ValueError, match="step"):
        rows[::2]
