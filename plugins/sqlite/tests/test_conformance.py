"""The SQLite backend keeps the key-value contract."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from host_plugin_sqlite import SqliteProvider
from wasmplex.testing import KeyValueConformance
from wasmplex.testing.keyvalue import (
    EVERY_DRIVER,
    ContractDriver,
    GuestDriver,
    LabelledAsyncGuestDriver,
    LabelledGuestDriver,
)
from wasmplex.testing.loops import everything


class SqliteProbe:
    """Reads and writes the file with the standard library alone."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def get(self, namespace: str, bucket: str, key: str) -> bytes | None:
        with closing(sqlite3.connect(self._path)) as connection:
            row = connection.execute(
                "SELECT value FROM entry WHERE namespace = ? AND bucket = ? AND key = ?",
                (namespace, bucket, key),
            ).fetchone()
        return None if row is None else row[0]

    async def set(self, namespace: str, bucket: str, key: str, value: bytes) -> None:
        with closing(sqlite3.connect(self._path)) as connection, connection:
            connection.execute(
                "INSERT OR REPLACE INTO entry (namespace, bucket, key, value) VALUES (?, ?, ?, ?)",
                (namespace, bucket, key, value),
            )


class TestSqlite(KeyValueConformance):
    provider = SqliteProvider()
    drivers = (  # by each transport, and asynchronously without a label: otherwise the memory backend alone
        EVERY_DRIVER
        if everything()
        else (ContractDriver, GuestDriver, LabelledGuestDriver, LabelledAsyncGuestDriver)
    )

    @pytest.fixture
    def settings(self) -> Mapping[str, Any]:
        return {"path": "kv.db"}

    @pytest.fixture
    def probe(self, tmp_path: Path) -> SqliteProbe:
        return SqliteProbe(tmp_path / "kv.db")
