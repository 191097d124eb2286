"""Every type that has a case, both ways: 200 values each, against the server's own text output."""

from __future__ import annotations

import asyncio
import math
import struct
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, closing
from typing import Any

import pytest
from databases import Database, opened, texts
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from wasmplex.capabilities.postgres.values import PAYLOADS, parts_of, whole
from wasmplex.testing.servers import PostgresServer

Literals = st.SearchStrategy[str]

plain_text = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=30)


def whole_numbers(bits: int) -> Literals:
    limit = 1 << (bits - 1)
    return st.integers(-limit, limit - 1).map(str)


def floats(width: int) -> Literals:
    return st.floats(width=width).map(lambda number: f"{number!r}".replace("inf", "Infinity"))  # type: ignore[arg-type]


numerics = st.one_of(
    st.decimals(allow_nan=False, allow_infinity=False, places=8).map(str),
    st.builds("{}.{:020d}".format, st.integers(-(10**30), 10**30), st.integers(0, 10**20 - 1)),
    st.integers(10**999, 10**1000 - 1).map(lambda n: f"-{n}.{n}"),
    st.builds("{}e{}".format, st.integers(-99999, 99999), st.integers(-300, 300)),
    st.sampled_from(["NaN", "Infinity", "-Infinity", "0", "-0.00", "10000", "0.0001"]),
)
cents = st.integers(-(10**16), 10**16).map(lambda n: f"{'-' * (n < 0)}{abs(n) // 100}.{abs(n) % 100:02d}")
dates = st.one_of(
    st.dates().map(str),
    st.tuples(st.integers(1, 4713), st.integers(1, 10), st.integers(1, 28)).map(
        lambda d: f"{d[0]:04d}-{d[1]:02d}-{d[2]:02d} BC"
    ),
    st.tuples(st.integers(10000, 5874896), st.integers(1, 12), st.integers(1, 28)).map(
        lambda d: f"{d[0]}-{d[1]:02d}-{d[2]:02d}"
    ),
    st.sampled_from(["infinity", "-infinity", "2000-02-29", "0001-01-01", "4713-01-01 BC", "5874897-12-31"]),
)
clock = st.one_of(st.times().map(str), st.just("24:00:00"))
zones = st.tuples(
    st.sampled_from("+-"), st.integers(0, 15), st.integers(0, 59), st.sampled_from([0, 0, 30])
).map(lambda z: f"{z[0]}{z[1]:02d}:{z[2]:02d}:{z[3]:02d}")
stamps = st.one_of(
    st.datetimes().map(str),
    st.sampled_from(["infinity", "-infinity", "4713-01-01 00:00:00 BC", "294276-12-31 23:59:59.999999"]),
)
real = st.floats(allow_nan=False, allow_infinity=False).map(repr)
points = st.tuples(real, real).map(lambda p: f"({p[0]},{p[1]})")
small = st.integers(-(2**20), 2**20).map(lambda n: str(n / 1024))
small_points = st.tuples(small, small).map(lambda p: f"({p[0]},{p[1]})")
bits = st.text("01", min_size=1, max_size=70)
v4 = st.ip_addresses(v=4).map(str)
v6 = st.one_of(
    st.ip_addresses(v=6).map(str),
    st.lists(st.sampled_from(["0", "0", "0", "ffff", "1"]), min_size=8, max_size=8).map(":".join),
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | plain_text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(plain_text, inner, max_size=3),
    max_leaves=5,
)


def listed(items: st.SearchStrategy[str], least: int = 1) -> Literals:
    return st.lists(items, min_size=least, max_size=6).map(",".join)


def _json(value: Any) -> str:
    import json

    return json.dumps(value, ensure_ascii=False).replace("\\u0000", "")


def ranges() -> Literals:
    def made(ends: tuple[Any, Any], shape: str) -> str:
        low, high = sorted(ends)
        return f"{shape[0]}{low},{high}{shape[1]}" if low != high else f"[{low},{high}]"

    return st.builds(made, st.tuples(st.dates(), st.dates()), st.sampled_from(["[]", "[)", "(]"])).filter(
        lambda text: "9999-12-31" not in text
    )


def snapshots(numbers: list[int]) -> str:
    low, high = sorted(numbers)
    return f"{low}:{high + 1}:{','.join(str(number) for number in sorted({low, high}))}"


quoted_words = st.text(st.sampled_from("abcäöü' \\:"), min_size=1, max_size=8).map(
    lambda word: "'" + word.replace("\\", "\\\\").replace("'", "''") + "'"
)
vectors = st.lists(
    st.tuples(
        quoted_words,
        st.lists(st.tuples(st.integers(1, 16383), st.sampled_from(["", "A", "B", "C", "D"])), max_size=4),
    ),
    max_size=5,
).map(
    lambda words: " ".join(
        word + (":" if places else "") + ",".join(f"{at}{weight}" for at, weight in places)
        for word, places in words
    )
)
queries = st.lists(quoted_words, min_size=1, max_size=4).flatmap(
    lambda words: st.sampled_from([" & ", " | ", " <-> ", " & !"]).map(lambda between: between.join(words))
)
pairs = st.dictionaries(plain_text, st.none() | plain_text, max_size=4).map(
    lambda d: ",".join(f"{_quote(k)}=>{'NULL' if v is None else _quote(v)}" for k, v in d.items())
)


def _quote(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def masked(addresses: Literals, most: int) -> Literals:
    return st.builds("{}/{}".format, addresses, st.integers(0, most))


TYPES: dict[str, tuple[str, Literals]] = {
    "bool": ("bool", st.sampled_from(["t", "f"])),
    "int2": ("int2", whole_numbers(16)),
    "int4": ("int4", whole_numbers(32)),
    "int8": ("int8", whole_numbers(64)),
    "float4": ("float4", floats(32)),
    "float8": ("float8", floats(64)),
    "numeric": ("numeric", numerics),
    "money": ("money", cents),
    "text": ("text", plain_text),
    "varchar": ("varchar", plain_text),
    "char(12)": ("char", plain_text.map(lambda text: text[:12].rstrip())),
    "name": ("name", plain_text.map(lambda text: text.encode()[:63].decode(errors="ignore"))),
    '"char"': ("char", st.sampled_from(["a", "~", " ", ""])),
    "bytea": ("bytea", st.binary(max_size=40).map(lambda raw: f"\\x{raw.hex()}")),
    "json": ("json", json_values.map(_json)),
    "jsonb": ("jsonb", json_values.map(_json)),
    "xml": ("xml", st.text("abcäé ", max_size=20).map(lambda text: f"<a>{text}</a>")),
    "uuid": ("uuid", st.uuids().map(str)),
    "date": ("date", dates),
    "time": ("time", clock),
    "timetz": ("time-tz", st.builds(str.__add__, clock, zones)),
    "timestamp": ("timestamp", stamps),
    "timestamptz": ("timestamp-tz", stamps),
    "daterange": ("interval", ranges()),
    "bit(70)": ("bit", bits.map(lambda text: text.ljust(70, "0"))),
    "varbit": ("varbit", bits),
    "point": ("point", points),
    "lseg": ("lseg", st.builds("[{},{}]".format, points, points)),
    "box": ("box", st.builds("{},{}".format, points, points)),
    "path": ("path", listed(points, 2).map(lambda text: f"({text})")),
    "polygon": ("polygon", listed(small_points)),
    "circle": ("circle", st.builds("<{},{}>".format, small_points, st.integers(0, 1000))),
    "inet": ("inet", st.one_of(v4, v6, masked(v4, 32), masked(v6, 128))),
    "cidr": ("cidr", st.one_of(v4, v6, st.integers(0, 255).map(lambda n: f"10.{n}.0.0/16"))),
    "macaddr": ("macaddr", st.binary(min_size=6, max_size=6).map(lambda raw: raw.hex(":"))),
    "macaddr8": ("macaddr8", st.binary(min_size=8, max_size=8).map(lambda raw: raw.hex(":"))),
    "pg_lsn": ("pg-lsn", st.integers(0, 2**64 - 1).map(lambda n: f"{n >> 32:X}/{n & 0xFFFFFFFF:X}")),
    "xid8": ("txid-snapshot", st.integers(0, 2**63 - 1).map(str)),
    "oid": ("text", st.integers(0, 2**32 - 1).map(str)),
    "pg_snapshot": ("pg-snapshot", st.lists(st.integers(3, 10**9), min_size=2, max_size=2).map(snapshots)),
    "txid_snapshot": ("pg-snapshot", st.lists(st.integers(3, 10**9), min_size=2, max_size=2).map(snapshots)),
    "tsvector": ("ts-vector", vectors),
    "tsquery": ("ts-query", queries),
    "int2vector": ("int2-vector", st.lists(whole_numbers(16), min_size=1, max_size=5).map(" ".join)),
    "hstore": ("hstore", pairs),
    "mood": ("text", st.sampled_from(["sad", "so so", "glad"])),
    "positive": ("int4", st.integers(1, 2**31 - 1).map(str)),
}  # fmt: skip
"""By type: the case that comes out, and literals of it."""

ARRAYS = [name for name, (case, _) in TYPES.items() if f"{case}-array" in PAYLOADS and name != "positive"]


class Session:
    """A database used by tests that are not asynchronous themselves: Hypothesis calls them many times."""

    def __init__(self, url: str) -> None:
        self._runner = asyncio.Runner()
        self._stack = AsyncExitStack()
        self.database = self.run(self._stack.enter_async_context(opened(url)))

    def run(self, coroutine: Any) -> Any:
        return self._runner.run(coroutine)

    def close(self) -> None:
        self.run(self._stack.aclose())
        self._runner.close()


@pytest.fixture(scope="module")
def session(postgres_server: PostgresServer) -> Iterator[Session]:
    session = Session(postgres_server.url)
    database: Database = session.database
    session.run(
        database.batch(
            "CREATE EXTENSION IF NOT EXISTS hstore; DROP TYPE IF EXISTS mood; DROP DOMAIN IF EXISTS positive;"
            "CREATE TYPE mood AS ENUM ('sad', 'so so', 'glad');"
            "CREATE DOMAIN positive AS int4 CHECK (VALUE > 0)"
        )
    )
    yield session
    session.close()


EXAMPLES = settings(
    max_examples=5,
    deadline=None,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=[*HealthCheck],
)


async def there_and_back(database: Database, name: str, case: str, literals: list[str]) -> None:
    """Have the server make values and say them as text; read them, give them back, and compare."""
    select = (
        "SELECT v, format('%s', v) FROM unnest($1::text[]) WITH ORDINALITY AS s(t, n), "
        f"LATERAL (SELECT t::{name} AS v) AS x ORDER BY n"
    )
    rows = await database.query(select, texts(literals))
    assert {value[0] for value, _ in rows} <= {case}
    for value, said in rows:
        check_payload(name, value[1], said[1])
    again = ", ".join(f"format('%s', ${number}::{name})" for number in range(1, len(rows) + 1))
    (back,) = await database.query(f"SELECT {again}", *(value for value, _ in rows))
    assert [one[1] for one in back] == [said[1] for _, said in rows]


def check_payload(name: str, payload: Any, said: str) -> None:
    """Compare a payload with the server's text by other means than our codec, where there are any."""
    if (render := RENDER.get(name)) is not None:
        assert render(payload) == said


def _date(date: Any, time: str = "") -> str:
    kind, ymd = date
    if kind != "ymd":
        return "infinity" if kind == "positive-infinity" else "-infinity"
    year, month, day = ymd
    text = f"{year if year > 0 else 1 - year:04d}-{month:02d}-{day:02d}{time}"
    return text if year > 0 else f"{text} BC"


def _time(time: Any) -> str:
    text = f"{time['hour']:02d}:{time['min']:02d}:{time['sec']:02d}"
    return f"{text}.{time['micro']:06d}".rstrip("0") if time["micro"] else text


RENDER: dict[str, Callable[[Any], str]] = {
    "bool": lambda value: "t" if value else "f",
    "int2": str, "int4": str, "int8": str, "numeric": str, "text": str, "name": str, "json": str,
    "jsonb": str, "xml": str, "uuid": str, "inet": str, "cidr": str, "oid": str, "xid8": str, "tsquery": str,
    "mood": str, "positive": str,
    "varchar": lambda value: value[1].decode(),
    "bytea": lambda value: f"\\x{value.hex()}",
    "date": _date,
    "time": _time,
    "timetz": lambda value: _time(value["time"]) + value["timesonze"].removesuffix(":00"),
    "timestamp": lambda value: _date(value["date"], f" {_time(value['time'])}"),
    "bit(70)": lambda value: "".join(f"{byte:08b}" for byte in value[1])[: value[0]],
    "varbit": lambda value: "".join(f"{byte:08b}" for byte in value[1])[: value[0]],
    "macaddr": lambda value: bytes(value["bytes"]).hex(":"),
    "macaddr8": lambda value: bytes(value["bytes"]).hex(":"),
    "pg_lsn": lambda value: f"{value >> 32:X}/{value & 0xFFFFFFFF:X}",
    "pg_snapshot": lambda value: f"{value[0]}:{value[1]}:{','.join(map(str, value[2]))}",
    "int2vector": lambda value: " ".join(map(str, value)),
}  # fmt: skip


@pytest.fixture
def able(request: pytest.FixtureRequest, session: Session, name: str) -> Iterator[Session]:
    """A session of a server that has the type: the wheel's is built without libxml, Debian's with it."""
    if name != "xml":
        yield session
        return
    with closing(Session(request.getfixturevalue("older_server").url)) as other:
        yield other


@pytest.mark.parametrize("name", TYPES)
def test_a_type(able: Session, name: str) -> None:
    session = able
    case, literals = TYPES[name]

    @EXAMPLES
    @given(st.lists(literals, min_size=40, max_size=40))
    def both_ways(values: list[str]) -> None:
        session.run(there_and_back(session.database, name, case, values))

    both_ways()


@pytest.mark.parametrize("name", ARRAYS)
def test_an_array(able: Session, name: str) -> None:
    session = able
    case, literals = TYPES[name]

    @settings(EXAMPLES, max_examples=1)
    @given(st.lists(literals, min_size=5, max_size=5))
    def both_ways(values: list[str]) -> None:
        session.run(array(values))

    async def array(values: list[str]) -> None:
        select = f"SELECT a, format('%s', a) FROM (SELECT $1::text[]::{name}[] AS a) AS x"
        for items in (values, values[:1], []):
            ((found, said),) = await session.database.query(select, texts(items))
            assert found[0] == f"{case}-array"
            assert len(found[1]) == len(items)
            ((back,),) = await session.database.query(f"SELECT format('%s', $1::{name}[])", found)
            assert back == said

    both_ways()


# ---------------------------------------------------------------- floats, in the WIT's form


@given(st.binary(min_size=8, max_size=8))
def test_every_bit_of_a_double_is_kept(raw: bytes) -> None:
    assert whole(parts_of(raw), 64) == raw


@given(st.binary(min_size=4, max_size=4))
def test_every_bit_of_a_float_is_kept(raw: bytes) -> None:
    assert whole(parts_of(raw), 32) == raw


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_float_is_the_product_of_its_parts(number: float) -> None:
    mantissa, exponent, sign = parts_of(struct.pack(">d", number))
    assert math.ldexp(sign * mantissa, exponent) == number
    assert math.copysign(1, number) == sign


def test_parts_as_other_hosts_have_them() -> None:
    def parts(number: float) -> tuple[int, int, int]:
        return parts_of(struct.pack(">d", number))

    assert parts(1.0) == (1 << 52, -52, 1)
    assert parts(-0.0) == (0, -1075, -1)
    assert parts(5e-324) == (2, -1075, 1)
    assert parts(math.inf) == (1 << 52, 972, 1)


@pytest.mark.parametrize(
    ("parts", "number"), [((1, 0, 1), 1.0), ((3, -1, -1), -1.5), ((0, 5, 1), 0.0), ((2**60, 0, 1), 2.0**60)]
)
def test_parts_that_are_not_normal(parts: tuple[int, int, int], number: float) -> None:
    assert struct.unpack(">d", whole(parts, 64)) == (number,)


@pytest.mark.parametrize("parts", [(2**53 + 1, 0, 1), (1, 2000, 1), (1, -2000, 1)])
def test_parts_that_are_no_float(parts: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="float"):
        whole(parts, 64)
    with pytest.raises(ValueError, match="float"):
        whole((2**24 + 1, 0, 1), 32)
