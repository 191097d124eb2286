"""The Postgres contract: what a backend implements, and what guests get through every WIT interface.

Each operation has a session of its own: none sees a transaction, setting, role, temporary table, lock, cursor
or prepared statement of another. Deadlines, grants and the tokens of prepared statements are the host's part
(`wasmplex.interfaces.postgres.policy`). `wasmplex.testing.PostgresConformance` tests what is written here.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from wasmplex.capabilities.postgres.values import PgValue, Row
from wasmplex.plugins.backends import Backend

__all__ = ["ROWS_AHEAD", "PostgresBackend", "Rows", "Statement"]

ROWS_AHEAD = 64
"""Rows that `Rows.next` returns at most: so many there are beyond those that the guest has taken."""


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement that the server has prepared once.

    :ivar sql: its text
    :ivar parameters: how many it has
    """

    sql: str
    parameters: int


class Rows(ABC):
    """The rows of one query. Holds a session until it ends, in whatever way; `close` is called in any case.

    :ivar columns: their names, in order; there may be none, and some may be equal
    """

    columns: Sequence[str] = ()

    @abstractmethod
    async def next(self) -> Sequence[Row]:
        """Return the next rows; none at the end, when all of it is committed.

        There are at most `ROWS_AHEAD`. Asked for when the guest has taken all of those before, no sooner.

        :raises wasmplex.capabilities.postgres.PostgresError: what ended the rows; nothing was committed
        """

    def next_nowait(self) -> Sequence[Row] | None:
        """Return what `next` would if that is at hand; None if it is to be asked, for errors as well.

        It does not block. A backend need not have it.
        """
        return None

    @abstractmethod
    async def close(self, *, commit: bool = False) -> None:
        """Read no more, and give the session back. What the server is doing is cancelled.

        :param commit: keep what the statement has done so far; otherwise it is undone
        """


class PostgresBackend(Backend):
    """An open database.

    Every operation may be cancelled at any await, and is then cancelled on the server too.

    :ivar features: none: every backend has all of it
    """

    capability = "postgres"
    features: frozenset[str] = frozenset()

    @abstractmethod
    async def query(self, user: str, sql: str, params: Sequence[PgValue]) -> Rows:
        """Execute one statement and return its rows.

        :param user: whose session it is, workload and label, for the server's views
        """

    async def stream(self, user: str, sql: str, params: Sequence[PgValue]) -> Rows:
        """Execute one statement for somebody who passes its rows on: they may be `PackedRows`, unread."""
        return await self.query(user, sql, params)

    @abstractmethod
    async def batch(self, user: str, sql: str) -> None:
        """Execute any number of statements without parameters: one transaction unless they say otherwise."""

    @abstractmethod
    async def prepare(self, user: str, sql: str) -> Statement:
        """Have the server prepare a statement."""

    @abstractmethod
    async def execute(self, user: str, statement: Statement, params: Sequence[PgValue]) -> int:
        """Execute a prepared statement and return how many rows it returned or changed."""
