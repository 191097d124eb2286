"""The codecs of PostgreSQL's types, by oid: pure functions between bytes and payloads of ``pg-value``.

The oids of built-in types are fixed (``pg_type.dat`` of PostgreSQL's source). What a database adds is looked
up in its catalogue, and gets the codec of what it is made of.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from host_plugin_postgres.codecs import geometry, network, numbers, search, text, times
from host_plugin_postgres.codecs.model import Codec, Unfit, Unreadable, array_codec

__all__ = ["NAMES", "TSQUERY", "Codec", "Codecs", "TypeEntry", "Unfit", "Unreadable"]


def _null(raw: bytes) -> None:
    return None


_SINGLE: list[tuple[str, int, int, Callable[[], Codec]]] = [
    ("bool", 16, 1000, numbers.boolean),
    ("bytea", 17, 1001, text.bytea),
    ("char", 18, 1002, text.char),
    ("name", 19, 1003, text.name),
    ("int8", 20, 1016, lambda: numbers.integer("int8", 8)),
    ("int2", 21, 1005, lambda: numbers.integer("int2", 2)),
    ("int4", 23, 1007, lambda: numbers.integer("int4", 4)),
    ("text", 25, 1009, text.text),
    ("oid", 26, 1028, numbers.oid),
    ("json", 114, 199, text.json_text),
    ("xml", 142, 143, text.xml),
    ("point", 600, 1017, geometry.point),
    ("lseg", 601, 1018, geometry.lseg),
    ("path", 602, 1019, geometry.path),
    ("box", 603, 1020, geometry.box),
    ("polygon", 604, 1027, geometry.polygon),
    ("line", 628, 629, geometry.line),
    ("cidr", 650, 651, network.cidr),
    ("float4", 700, 1021, lambda: numbers.floating("float4", 32)),
    ("float8", 701, 1022, lambda: numbers.floating("float8", 64)),
    ("circle", 718, 719, geometry.circle),
    ("macaddr8", 774, 775, lambda: network.macaddr("macaddr8", 8)),
    ("macaddr", 829, 1040, lambda: network.macaddr("macaddr", 6)),
    ("inet", 869, 1041, network.inet),
    ("bpchar", 1042, 1014, text.bpchar),
    ("varchar", 1043, 1015, text.varchar),
    ("date", 1082, 1182, times.date),
    ("time", 1083, 1183, times.time),
    ("timestamp", 1114, 1115, times.timestamp),
    ("timestamptz", 1184, 1185, times.timestamp_tz),
    ("timetz", 1266, 1270, times.time_tz),
    ("bit", 1560, 1561, search.bit),
    ("varbit", 1562, 1563, search.varbit),
    ("numeric", 1700, 1231, numbers.numeric),
    ("uuid", 2950, 2951, text.uuid),
    ("pg_lsn", 3220, 3221, numbers.pg_lsn),
    ("daterange", 3912, 3913, times.date_range),
    ("jsonb", 3802, 3807, text.jsonb),
    ("tsvector", 3614, 3643, search.tsvector),
    ("txid_snapshot", 2970, 2949, search.snapshot),
    ("pg_snapshot", 5038, 5039, search.snapshot),
    ("xid8", 5069, 271, numbers.xid8),
]
"""Name, oid, the oid of its array, codec."""

NAMES: Mapping[int, str] = {
    **{oid: name for name, oid, _, _ in _SINGLE},
    **{array: f"{name}[]" for name, _, array, _ in _SINGLE},
    22: "int2vector", 1006: "int2vector[]", 705: "unknown", 790: "money", 791: "money[]", 2278: "void",
    3615: "tsquery", 1186: "interval",
}  # fmt: skip

TSQUERY = 3615
"""Asked for and sent as text, which is what guests get: its binary form is a tree."""


@dataclass(frozen=True, slots=True)
class TypeEntry:
    """What the catalogue says of a type that a database has added.

    :ivar oid: its own
    :ivar name: ``schema.name``, as the server would write it
    :ivar kind: ``typtype``: b, c, d, e, p, r, m
    :ivar base: the oid of what a domain is made of, 0 for all others
    :ivar element: the oid of what an array is made of, 0 for all others
    :ivar bare: the name without its schema
    """

    oid: int
    name: str
    kind: str
    base: int
    element: int
    bare: str


class Codecs:
    """The codecs that one database needs: those of built-in types, and of what it has added.

    :param money_scale: digits after the point of its money
    """

    def __init__(self, money_scale: int = 2) -> None:
        self.money_scale = money_scale
        self._codecs: dict[int, Codec] = {}
        self._names: dict[int, str] = dict(NAMES)
        for _, oid, array, make in _SINGLE:
            self._add(oid, array, make())
        self._add(790, 791, numbers.money(lambda: self.money_scale))
        vector = array_codec(self._codecs[21], 21, "int2-vector", lower=0)
        self._codecs[22] = vector
        self._codecs[1006] = array_codec(vector, 22, "int2-vector-array")
        self._codecs[705] = text.text()
        self._codecs[2278] = Codec("null", _null)
        self._codecs[TSQUERY] = text.tsquery()

    def _add(self, oid: int, array: int, codec: Codec) -> None:
        self._codecs[oid] = codec
        case = f"{codec.case}-array"
        if case in _ARRAYS:
            self._codecs[array] = array_codec(codec, oid, case)

    def __iter__(self) -> Iterator[int]:
        return iter(self._codecs)

    def get(self, oid: int) -> Codec | None:
        """Return the codec of a type; None if it has none, or is not known yet."""
        return self._codecs.get(oid)

    def name(self, oid: int) -> str:
        """Return the name of a type for an error."""
        return self._names.get(oid, f"oid {oid}")

    def knows(self, oid: int) -> bool:
        """Return whether the catalogue need not be asked for a type."""
        return oid in self._names

    def learn(self, entries: Mapping[int, TypeEntry]) -> None:
        """Take in what the catalogue says: of the types themselves, and of all that they are made of."""
        for entry in entries.values():
            self._names[entry.oid] = entry.name
            if (codec := self._made_of(entry, entries)) is not None:
                self._codecs[entry.oid] = codec

    def _made_of(self, entry: TypeEntry, entries: Mapping[int, TypeEntry]) -> Codec | None:
        if entry.oid in self._codecs:
            return self._codecs[entry.oid]
        if entry.kind == "d":
            inner = entries.get(entry.base)
            return self._codecs.get(entry.base) or (self._made_of(inner, entries) if inner else None)
        if entry.kind == "e" or entry.bare == "citext":
            return text.labels()
        if entry.bare == "hstore":
            return text.hstore()
        if entry.element:
            inner = entries.get(entry.element)
            element = self._codecs.get(entry.element) or (self._made_of(inner, entries) if inner else None)
            if element is not None and f"{element.case}-array" in _ARRAYS:
                return array_codec(element, entry.element, f"{element.case}-array")
        return None


_ARRAYS = frozenset(
    f"{case}-array"
    for case in (
        "int8", "bool", "float8", "float4", "int4", "numeric", "int2", "bit", "varbit", "bytea", "char",
        "varchar", "cidr", "inet", "macaddr", "macaddr8", "box", "circle", "line", "lseg", "path", "point",
        "polygon", "date", "interval", "time", "time-tz", "timestamp", "timestamp-tz", "json", "jsonb",
        "money", "pg-lsn", "name", "text", "xml", "uuid",
    )
)  # fmt: skip
"""The cases of arrays that there are."""
