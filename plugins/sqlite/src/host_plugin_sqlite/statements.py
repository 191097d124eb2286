"""The layout of the file, and every statement that an operation runs.

Each operation is one statement, so SQLite itself makes it atomic, and cancelling whoever waits for it leaves
nothing open. Each is one or a few searches of the unique index on
``(namespace, bucket, key)``; none scans the table.

A row's version is its ``AUTOINCREMENT`` row id. Every write replaces the row by a new one, so a version is
never used twice in the life of the file, by any key, also after the row was deleted.
"""

# Statements are put together from constants of this module; what comes from outside is always a parameter.
# ruff: noqa: S608

from __future__ import annotations

__all__ = [
    "APPLICATION_ID", "CURRENT", "DELETE", "EXISTS", "GET", "HAS_BUCKET", "INCREMENT", "LAYOUT",
    "LAYOUT_VERSION", "LIST", "PURGE", "SET", "SET_IF_ABSENT", "SWAP", "delete_many", "get_many", "set_many",
]  # fmt: skip

APPLICATION_ID = 0x776D_706B
"""``wmpk``: marks the file as ours."""
LAYOUT_VERSION = 1

LAYOUT = (
    # Small columns first: reading them does not walk the pages of a large value.
    """
    CREATE TABLE entry (
        version   INTEGER PRIMARY KEY AUTOINCREMENT,
        namespace TEXT NOT NULL,
        bucket    TEXT NOT NULL,
        key       TEXT NOT NULL,
        expires   INTEGER,        -- milliseconds since the epoch; from then on the row does not exist
        value     BLOB NOT NULL,
        UNIQUE (namespace, bucket, key)
    )
    """,
    "CREATE INDEX entry_expires ON entry (expires) WHERE expires IS NOT NULL",
    f"PRAGMA application_id = {APPLICATION_ID}",
    f"PRAGMA user_version = {LAYOUT_VERSION}",
)

_PLACE = "namespace = :namespace AND bucket = :bucket AND key = :key"
_LIVE = "(expires IS NULL OR expires > :now)"
_COLUMNS = "entry (namespace, bucket, key, value, expires)"

GET = f"SELECT value FROM entry WHERE {_PLACE} AND {_LIVE}"
EXISTS = f"SELECT 1 FROM entry WHERE {_PLACE} AND {_LIVE}"
CURRENT = f"SELECT value, CAST(version AS TEXT) FROM entry WHERE {_PLACE} AND {_LIVE}"
DELETE = f"DELETE FROM entry WHERE {_PLACE}"

SET = f"INSERT OR REPLACE INTO {_COLUMNS} VALUES (:namespace, :bucket, :key, :value, :expires)"

SET_IF_ABSENT = f"""
    INSERT OR REPLACE INTO {_COLUMNS} SELECT :namespace, :bucket, :key, :value, :expires
    WHERE NOT EXISTS ({EXISTS}) RETURNING 1
"""

# `next_count` is the Python function; where it refuses it returns NULL, which the column refuses in turn.
INCREMENT = f"""
    INSERT OR REPLACE INTO {_COLUMNS}
    SELECT :namespace, :bucket, :key, next_count(old.value, :delta, :minimum), old.expires
    FROM (SELECT 1) LEFT JOIN (SELECT value, expires FROM entry WHERE {_PLACE} AND {_LIVE}) AS old
    RETURNING value
"""

SWAP = f"""
    INSERT OR REPLACE INTO {_COLUMNS}
    SELECT namespace, bucket, key, :value, NULL FROM entry WHERE {_PLACE} AND {_LIVE}
    AND (:require_version IS NULL OR CAST(version AS TEXT) = :require_version)
    AND (:require_value IS NULL OR value = :require_value)
    RETURNING 1
"""

LIST = f"""
    SELECT key FROM entry
    WHERE namespace = :namespace AND bucket = :bucket AND key >= :first AND key < :end AND {_LIVE}
    ORDER BY key LIMIT :limit
"""

HAS_BUCKET = f"SELECT 1 FROM entry WHERE namespace = :namespace AND bucket = :bucket AND {_LIVE} LIMIT 1"

PURGE = """
    DELETE FROM entry WHERE version IN (SELECT version FROM entry WHERE expires <= :now LIMIT :limit)
    RETURNING version
"""


def get_many(count: int) -> str:
    """Return the statement for `count` keys; parameters: namespace, bucket, now, then the keys."""
    marks = ", ".join(["?"] * count)
    return f"""
        SELECT key, value FROM entry
        WHERE namespace = ? AND bucket = ? AND (expires IS NULL OR expires > ?) AND key IN ({marks})
    """


def set_many(count: int) -> str:
    """Return the statement for `count` items; parameters: namespace, bucket, key and value of each."""
    rows = ", ".join(["(?, ?, ?, ?, NULL)"] * count)
    return f"INSERT OR REPLACE INTO {_COLUMNS} VALUES {rows}"


def delete_many(count: int) -> str:
    """Return the statement for `count` keys; parameters: namespace, bucket, then the keys."""
    marks = ", ".join(["?"] * count)
    return f"DELETE FROM entry WHERE namespace = ? AND bucket = ? AND key IN ({marks})"
