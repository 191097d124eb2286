"""What a database's catalogue says of types that are not built in."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from host_plugin_postgres.codecs import Codecs, TypeEntry

__all__ = ["Catalogue"]

_LOOK_UP = """
WITH RECURSIVE wanted AS (
  SELECT t.* FROM pg_catalog.pg_type t WHERE t.oid IN ({oids})
  UNION
  SELECT t.* FROM pg_catalog.pg_type t, wanted w WHERE t.oid IN (w.typbasetype, w.typelem)
)
SELECT w.oid, pg_catalog.format_type(w.oid, NULL)::pg_catalog.text, w.typtype::pg_catalog.text,
       w.typbasetype, (CASE WHEN w.typcategory = 'A' THEN w.typelem ELSE 0 END),
       w.typname::pg_catalog.text
FROM wanted w
"""


class Catalogue:
    """The types of one database, shared by its connections.

    :ivar codecs: those known so far
    """

    def __init__(self) -> None:
        self.codecs = Codecs()

    async def learn(self, fetch: Callable[[str], Awaitable[Iterable[Any]]], oids: Iterable[int]) -> None:
        """Look up types, and what they are made of.

        :param fetch: returns the rows of a query, each a list of its fields, which are texts
        """
        unknown = sorted(oid for oid in oids if not self.codecs.knows(oid))
        if not unknown:
            return
        rows = await fetch(_LOOK_UP.format(oids=",".join(map(str, unknown))))
        entries = [_entry(*(field.decode() for field in row)) for row in rows]
        self.codecs.learn({entry.oid: entry for entry in entries})


def _entry(oid: str, name: str, kind: str, base: str, element: str, bare: str) -> TypeEntry:
    return TypeEntry(int(oid), name, kind, int(base), int(element), bare)
