"""What a database's catalogue says of types that are not built in."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import asyncpg

from host_plugin_postgres.codecs import Codecs, TypeEntry

__all__ = ["Catalogue"]

_LOOK_UP = """
WITH RECURSIVE wanted AS (
  SELECT t.* FROM pg_catalog.pg_type t WHERE t.oid IN ({oids})
  UNION
  SELECT t.* FROM pg_catalog.pg_type t, wanted w WHERE t.oid IN (w.typbasetype, w.typelem)
)
SELECT w.oid::int8, pg_catalog.format_type(w.oid, NULL)::pg_catalog.text, w.typtype::pg_catalog.text,
       w.typbasetype::int8, (CASE WHEN w.typcategory = 'A' THEN w.typelem ELSE 0 END)::int8,
       w.typname::pg_catalog.text
FROM wanted w
"""


class Catalogue:
    """The types of one database, shared by its connections.

    :ivar codecs: those known so far
    """

    def __init__(self) -> None:
        self.codecs = Codecs()

    async def learn(self, connection: Any, oids: Iterable[int]) -> None:
        """Look up types, and what they are made of."""
        unknown = sorted(oid for oid in oids if not self.codecs.knows(oid))
        if not unknown:
            return
        sql = _LOOK_UP.format(oids=",".join(map(str, unknown)))
        protocol = connection._protocol  # noqa: SLF001
        state = await protocol.prepare("", sql, None, record_class=asyncpg.Record)
        state._init_codecs()  # noqa: SLF001
        rows, _, _ = await protocol.bind_execute(state, (), "", 0, True, None)
        entries = [TypeEntry(*row) for row in rows]
        self.codecs.learn({entry.oid: entry for entry in entries})
