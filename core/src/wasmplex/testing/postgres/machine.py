"""A state machine that does to a table whatever guests do in transactions, and compares it with a dict."""

# Rules are named after what they do.
# ruff: noqa: D102

from __future__ import annotations

from functools import partial
from typing import ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import invariant, rule

from wasmplex.testing.kit import ClientMachine
from wasmplex.testing.postgres.driver import Bench, Database

__all__ = ["PostgresMachine"]

GUESTS = ("first", "second", "third")
guests = st.sampled_from(GUESTS)
keys = st.integers(0, 3)
amounts = st.integers(-5, 5)


class PostgresMachine(ClientMachine):
    """Accounts, whose sum is changed by one transaction at a time.

    :cvar databases: each guest's binding
    """

    bench: ClassVar[Bench]
    databases: ClassVar[dict[str, Database]]
    table: ClassVar[str]

    @classmethod
    async def prepare(cls) -> None:
        """Give each guest a binding, and make the table."""
        cls.table = cls.bench.table
        cls.databases = {guest: await cls.bench.database(guest) for guest in GUESTS}
        await cls.databases["first"].batch(
            f"CREATE TABLE {cls.table} (run int, k int, v int, UNIQUE (run, k))"
        )

    def __init__(self) -> None:
        super().__init__()
        self.number = next(self.numbers)
        self.known: dict[int, int] = {}

    def do(self, guest: str, sql: str) -> str:
        return self.result(partial(self.databases[guest].batch, sql))

    def upsert(self, key: int, amount: int) -> str:
        return (
            f"INSERT INTO {self.table} AS t VALUES ({self.number}, {key}, {amount}) "
            f"ON CONFLICT (run, k) DO UPDATE SET v = t.v + {amount}"
        )

    @invariant()
    def all_guests_see_the_same(self) -> None:
        sql = f"SELECT k, v FROM {self.table} WHERE run = {self.number}"
        for guest in GUESTS:
            found = self.run(partial(self.databases[guest].query, sql))
            assert {key[1]: value[1] for key, value in found.rows} == self.known

    @rule(guest=guests, key=keys, amount=amounts)
    def add(self, guest: str, key: int, amount: int) -> None:
        assert self.do(guest, self.upsert(key, amount)) == "ok"
        self.known[key] = self.known.get(key, 0) + amount

    @rule(guest=guests, one=keys, other=keys, amount=amounts)
    def move(self, guest: str, one: int, other: int, amount: int) -> None:
        """Change two accounts in one transaction."""
        assert self.do(guest, f"{self.upsert(one, -amount)}; {self.upsert(other, amount)}") == "ok"
        self.known[one] = self.known.get(one, 0) - amount
        self.known[other] = self.known.get(other, 0) + amount

    @rule(guest=guests, key=keys, how=st.sampled_from(["SELECT 1/0", "ROLLBACK", "selct"]))
    def change_and_fail(self, guest: str, key: int, how: str) -> None:
        assert self.do(guest, f"BEGIN; {self.upsert(key, 100)}; {how}") in ("ok", "query-failed")

    @rule(guest=guests, key=keys, by_query=st.booleans())
    def leave_open(self, guest: str, key: int, by_query: bool) -> None:
        """Leave a transaction, a lock and a setting behind: the next one sees none of it."""
        if by_query:
            self.run(partial(self.databases[guest].query, "BEGIN"))
        assert self.do(guest, f"BEGIN; {self.upsert(key, 100)}; SET search_path = nowhere") == "ok"

    @rule(guest=guests, key=keys, amount=amounts)
    def execute(self, guest: str, key: int, amount: int) -> None:
        """Change an account by a prepared statement, which returns how many rows that were."""
        database = self.databases[guest]
        sql = f"UPDATE {self.table} SET v = v + $1 WHERE run = $2 AND k = $3"
        token = self.run(partial(database.prepare, sql))
        params = ("int4", amount), ("int4", self.number), ("int4", key)
        assert self.run(partial(database.execute, token, *params)) == (key in self.known)
        if key in self.known:
            self.known[key] += amount

    @rule(key=keys)
    def add_at_once(self, key: int) -> None:
        """Change one account from all guests at the same time: nothing is lost."""
        operations = [partial(self.databases[guest].batch, self.upsert(key, 1)) for guest in GUESTS * 2]
        self.together(operations)
        self.known[key] = self.known.get(key, 0) + len(operations)

    @rule(guest=guests, turns=st.integers(0, 8))
    def cancel_reading(self, guest: str, turns: int) -> None:
        sql = f"SELECT * FROM {self.table}, pg_sleep(0.05), generate_series(1, 1000)"
        self.cancel(partial(self.databases[guest].query, sql), turns)

    @rule(guest=guests)
    def delete_all(self, guest: str) -> None:
        sql = f"DELETE FROM {self.table} WHERE run = {self.number} RETURNING k"
        found = self.run(partial(self.databases[guest].query, sql))
        assert {row[0][1] for row in found.rows} == set(self.known)
        self.known.clear()
