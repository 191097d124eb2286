"""The table of types in docs/postgres.md is what the code does with the types of a server's own catalogue.

``WASMPLEX_WRITE=1 python -m pytest plugins/postgres/tests/test_types_table.py`` writes it.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from databases import opened
from host_plugin_postgres.codecs import Codecs
from wasmplex.testing.servers import PostgresServer

pytestmark = pytest.mark.anyio

PAGE = Path(__file__).parents[3] / "docs" / "postgres.md"
BEGIN, END = "<!-- made by plugins/postgres/tests/test_types_table.py -->\n", "<!-- end -->\n"
CATALOGUE = """
SELECT t.oid::int8, format_type(t.oid, NULL)::text, t.typarray::int8
FROM pg_type t
WHERE t.typnamespace = 'pg_catalog'::regnamespace AND t.typtype <> 'c'
  AND NOT EXISTS (SELECT FROM pg_type AS element WHERE element.typarray = t.oid)
ORDER BY format_type(t.oid, NULL) COLLATE "C"
"""


def table(types: list[tuple[int, str, int]]) -> str:
    """Return the table, and a list of the types that no case is for."""
    codecs = Codecs()
    lines = ["| type | comes out as | goes in from | arrays |", "|---|---|---|---|"]
    without: list[str] = []
    for oid, name, array in types:
        codec = codecs.get(oid)
        if codec is None:
            without.append(f"`{name}`")
            continue
        cases = ", ".join(f"`{case}`" for case in codec.encode) or "nothing"
        several = codecs.get(array)
        lines.append(f"| `{name}` | `{codec.case}` | {cases} | {f'`{several.case}`' if several else ''} |")
    lines += ["", "No case is for " + ", ".join(without) + ".", ""]
    return "\n".join(lines)


async def test_the_table_of_types(postgres_server: PostgresServer) -> None:
    async with opened(postgres_server.url) as database:
        major = int(await database.value("SELECT current_setting('server_version_num')")) // 10000
        if major != 18:
            pytest.skip(f"the table is that of PostgreSQL 18, not {major}")
        rows = await database.query(CATALOGUE)
    made = table([(oid[1], name[1], array[1]) for oid, name, array in rows])
    text = PAGE.read_text()
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    wanted = f"{before}{BEGIN}{made}{END}{after}"
    if os.environ.get("WASMPLEX_WRITE"):
        PAGE.write_text(wanted)
    assert text == wanted or os.environ.get("WASMPLEX_WRITE")
