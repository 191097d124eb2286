"""Values of every case, there and back."""

from __future__ import annotations

from typing import Any

from wasmplex.capabilities.postgres import PAYLOADS, PgValue
from wasmplex.capabilities.postgres.values import Time, parts_of
from wasmplex.testing.kit import Conformance
from wasmplex.testing.postgres.driver import Bench

__all__ = ["SAMPLES", "ValueTests"]

_ONE = parts_of(b"\x3f\xf0\0\0\0\0\0\0")
_TINY = parts_of(b"\x80\0\0\0\0\0\0\1")
_SINGLE = parts_of(b"\x3f\x80\0\0")
_POINT = (_ONE, _TINY)
_TIME: Time = {"hour": 23, "min": 59, "sec": 58, "micro": 1}
_DATE: Any = ("ymd", (-43, 3, 15))
_LATER: Any = ("ymd", (2024, 2, 29))
_STAMP: Any = {"date": _DATE, "time": _TIME}

SAMPLES: dict[str, tuple[str, Any]] = {
    "int8": ("int8", -(2**63)), "bool": ("bool", True), "float8": ("float8", _TINY),
    "float4": ("float4", _SINGLE),
    "int4": ("int4", 2**31 - 1), "numeric": ("numeric", "-123456789012345678901234567890.0001"),
    "int2": ("int2", -32768), "int2-vector": ("int2vector", [1, -2]), "bit": ("bit(3)", (3, b"\xa0")),
    "varbit": ("varbit", (9, b"\xff\x80")), "bytea": ("bytea", b"\0\xff"),
    "char": ("char(3)", (3, "é  ".encode())),
    "varchar": ("varchar", (None, "é\n".encode())), "cidr": ("cidr", "10.0.0.0/8"),
    "inet": ("inet", "::ffff:1.2.3.4/96"), "macaddr": ("macaddr", {"bytes": (8, 0, 43, 1, 2, 255)}),
    "macaddr8": ("macaddr8", {"bytes": (8, 0, 43, 1, 2, 3, 4, 255)}),
    "box": ("box", ((_TINY, _TINY), (_ONE, _ONE))),
    "circle": ("circle", (_POINT, _ONE)), "line": ("line", ((parts_of(bytes(8)), _ONE), (_ONE, _ONE))),
    "lseg": ("lseg", (_POINT, (_ONE, _ONE))), "path": ("path", [_POINT, (_ONE, _ONE), _POINT]),
    "point": ("point", _POINT), "polygon": ("polygon", [_POINT, (_ONE, _ONE)]), "date": ("date", _DATE),
    "interval": (
        "daterange", {"start": _DATE, "start-inclusive": True, "end": _LATER, "end-inclusive": False},
    ),
    "time": ("time", _TIME), "time-tz": ("timetz", {"timesonze": "-02:30", "time": _TIME}),
    "timestamp": ("timestamp", _STAMP),
    "timestamp-tz": ("timestamptz", {"timestamp": _STAMP, "offset": ("western-hemisphere-secs", 0)}),
    "json": ("json", '{"b": 1,  "a": "é"}'), "jsonb": ("jsonb", '{"a": "é"}'), "money": ("money", "-12.30"),
    "pg-lsn": ("pg_lsn", 2**64 - 1), "pg-snapshot": ("pg_snapshot", (10, 20, [10, 15])),
    "txid-snapshot": ("xid8", 2**40), "name": ("name", "a name"), "text": ("text", "\U0001f600\x01"),
    "ts-query": ("tsquery", "'fat' & !'rat':AB"),
    "ts-vector": (
        "tsvector",
        [{"position": None, "weight": None, "data": "a"},
         {"position": 3, "weight": "A", "data": "b"}],
    ),
    "uuid": ("uuid", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
}  # fmt: skip
"""A type and a value for each case that comes out of one."""

_ALIASES = {
    "big-int": "int8", "big-serial": "int8", "serial8": "int8", "boolean": "bool", "double": "float8",
    "real": "float4", "integer": "int4", "int": "int4", "decimal": "numeric", "serial": "int4",
    "serial4": "int4", "small-int": "int2", "small-serial": "int2", "serial2": "int2",
    "bit-varying": "varbit",
}  # fmt: skip
"""Cases that are other names of those above: they go in, and come out under the other name."""

_LEFT_OUT = {"null", "hstore", "xml", "xml-array", "int2-vector-array"}
"""Not in every server, or with a test of its own."""


class ValueTests(Conformance):
    """All of ``pg-value``."""

    async def test_every_case(self, bench: Bench) -> None:
        """values: every case is encoded and decoded, alone and in an array."""
        database = await bench.database()
        for case, (name, payload) in SAMPLES.items():
            value: PgValue = (case, payload)
            assert (await database.query(f"SELECT $1::{name}", value)).rows == [[value]], case
            if f"{case}-array" in PAYLOADS and f"{case}-array" not in _LEFT_OUT:
                several: PgValue = (f"{case}-array", [payload, payload])
                assert (await database.query(f"SELECT $1::{name}[]", several)).rows == [[several]], case

    async def test_other_names(self, bench: Bench) -> None:
        """values: serial and the like are integers."""
        database = await bench.database()
        for alias, case in _ALIASES.items():
            name, payload = SAMPLES[case]
            found = await database.query(f"SELECT $1::{name}", (alias, payload))
            assert found.rows == [[(case, payload)]], alias

    def test_no_case_is_left_out(self) -> None:
        """Every case of the WIT is in one of the tests."""
        arrays = {f"{case}-array" for case in SAMPLES}
        assert set(PAYLOADS) == (
            {*SAMPLES, *_ALIASES, *_LEFT_OUT} | {array for array in arrays if array in PAYLOADS}
        )

    async def test_enums_and_domains(self, bench: Bench) -> None:
        """values: enums as text, domains as their base type."""
        database = await bench.database()
        mood, positive = f"mood{bench.table}", f"positive{bench.table}"
        await database.batch(
            f"CREATE TYPE {mood} AS ENUM ('sad', 'glad'); CREATE DOMAIN {positive} AS int CHECK (VALUE > 0)"
        )
        found = await database.query(
            f"SELECT $1::{mood}, $2::{positive}, ARRAY['sad'::{mood}]", ("text", "glad"), ("int4", 5)
        )
        assert found.rows == [[("text", "glad"), ("int4", 5), ("text-array", ["sad"])]]
