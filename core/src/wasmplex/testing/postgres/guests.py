"""Reaching a backend as guests do: of ``wasmcloud:postgres@0.2.0``, and of ``@0.1.1-draft``."""

from __future__ import annotations

import re
from typing import Any, ClassVar

from wasmplex.capabilities.postgres import PgValue, Row
from wasmplex.interfaces.postgres.policy import PostgresPolicySettings
from wasmplex.testing import kit
from wasmplex.testing.kit import Guest, Refused
from wasmplex.testing.postgres.driver import WORDS, Database, Found, PostgresDriver
from wasmplex.values import Err

_SQLSTATE = re.compile("[0-9A-Z]{5}: ")

__all__ = ["DraftGuestDriver", "GuestDriver"]


class GuestDriver(kit.GuestDriver[Any], PostgresDriver):
    """Through a guest whose functions are async and whose rows stream, under three labels."""

    words = WORDS
    component = "postgres.wasm"
    package = "wasmcloud:postgres"
    labels: ClassVar[tuple[str, ...]] = ("kit", "statements", "others")

    async def database(self, workload: str, settings: PostgresPolicySettings) -> Database:
        """Return one binding to the backend."""
        binding = settings.model_dump(exclude_none=True)
        return self.made(await self.bound((workload, repr(binding)), workload, binding))

    def made(self, guest: Guest) -> Database:
        """Return how the guest is used."""
        return _Guest(guest, self)

    def refusal(self, error: Any) -> Refused:
        """Return how a kit is told of an error that the guest returned."""
        case, payload = error
        if case == "query-failed":
            return Refused(case, f"{payload['code']} {payload['message']}")
        return Refused(case, payload or "")


class _Guest:
    def __init__(self, guest: Guest, driver: GuestDriver) -> None:
        self._guest = guest
        self._driver = driver

    async def query(self, sql: str, *params: PgValue, most: int | None = None) -> Found:
        async with self._guest.calling() as call:
            columns, rows, completion = await call("forward-postgres#query", sql, params)
            found: list[Row] = []
            while (most is None or len(found) < most) and (chunk := await rows.read()) is not None:
                found += ([tuple(value) for value in row] for row in chunk)
            rows.close()
            try:
                await completion
            except Err as error:
                raise self._driver.refusal(error.value) from error
            return Found(columns, found)

    async def batch(self, sql: str) -> None:
        await self._guest.call("forward-postgres#query-batch", sql)

    async def prepare(self, sql: str) -> str:
        token: str = await self._guest.call("forward-postgres#prepare", sql)
        return token

    async def execute(self, token: str, *params: PgValue) -> int:
        count: int = await self._guest.call("forward-postgres#exec", token, params)
        return count

    async def execute_elsewhere(self, token: str) -> int:
        count: int = await self._guest.call("forward-postgres#exec-other", token, [])
        return count


class DraftGuestDriver(GuestDriver):
    """Through a guest whose functions are not async and whose rows are a list."""

    words = frozenset()
    component = "postgres-draft.wasm"
    labels = ("kit", "statements")

    def made(self, guest: Guest) -> Database:
        """Return how the guest is used."""
        return _DraftGuest(guest, self)

    def refusal(self, error: Any) -> Refused:
        """Return the nearest case of 0.2.0."""
        case, payload = error
        if case == "query-error":
            case, payload = payload
        if case == "invalid-query":
            return Refused("query-failed" if _SQLSTATE.match(payload) else case, payload)
        if case == "unknown-prepared-query":
            return Refused("unknown-prepared-statement", "")
        if case == "unexpected":
            return Refused("other", payload)
        return Refused(case, payload)


class _DraftGuest(_Guest):
    async def query(self, sql: str, *params: PgValue, most: int | None = None) -> Found:
        rows = await self._guest.call("forward-postgres#query", sql, params)
        columns = [entry["column-name"] for entry in rows[0]] if rows else []
        return Found(columns, [[tuple(entry["value"]) for entry in row] for row in rows])
