"""One connection: statements prepared once, a transaction that costs no round trip to begin, and a reset.

asyncpg's connection logs in, and cancels. All that is asked of the server after that is asked here: what
belongs together goes in one write, rows stay the bytes that they are, and nothing waits that need not.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import OrderedDict
from typing import Any

from asyncpg import exceptions as pg
from wasmplex.capabilities.postgres import PackedRows

from host_plugin_postgres import messages
from host_plugin_postgres.codecs.catalogue import Catalogue
from host_plugin_postgres.messages import BEGIN, SYNC, close, execute, simple
from host_plugin_postgres.prepared import Prepared
from host_plugin_postgres.tap import Answer, Collected, Tap

__all__ = ["NOTHING_PREPARED", "Link", "Portion", "Stale", "quoted"]

KEPT = 100
"""Statements that a connection keeps prepared; the one longest unused is forgotten."""

_RESET = (
    "SET SESSION AUTHORIZATION DEFAULT;RESET ROLE;RESET ALL;CLOSE ALL;UNLISTEN *;"
    "SELECT pg_advisory_unlock_all();DISCARD TEMP;DISCARD SEQUENCES;"
)
_FOREIGN = "SELECT FROM pg_prepared_statements WHERE from_sql"
"""Its answer's tag tells how many statements somebody has prepared in SQL."""
NOTHING_PREPARED = "SELECT 0"
_COMMIT, _ROLLBACK = simple("COMMIT"), simple("ROLLBACK")
_ALL = execute(0) + SYNC


class Stale(Exception):
    """What the connection knew of a statement is no longer so. It was not executed, and may be prepared anew.

    :ivar why: the server's error
    """

    def __init__(self, why: Exception) -> None:
        super().__init__(str(why))
        self.why = why


class Link:
    """A connection of the pool, used by one operation at a time.

    :param named: whether prepared statements outlive their transaction
    :param opening: what each transaction begins with, where settings of the session cannot be relied on
    :param shown: what the server's views call it, whoever uses it
    :ivar user: whose session it was last
    """

    def __init__(
        self,
        connection: Any,
        catalogue: Catalogue,
        user: str,
        *,
        named: bool = True,
        opening: str = "",
        shown: str | None = None,
    ) -> None:
        self.connection = connection
        self._tap = Tap(connection)
        self._catalogue = catalogue
        self._statements: OrderedDict[str, Prepared] = OrderedDict()
        self._unused: list[str] = []
        """Names that the server may know, and nobody uses: it forgets them before the next is prepared."""
        self._numbers = itertools.count(1)
        self._named = named
        self._opening = opening
        self._shown = shown
        self._use(user)
        self.resetting: Answer | None = None
        """What will say whether the session is clean, if it was asked already."""

    @property
    def is_open(self) -> bool:
        """Whether it can be used."""
        return not self.connection.is_closed()

    @property
    def checks_text(self) -> bool:
        """Whether the server has made sure that text is such: not in a database of ``SQL_ASCII``."""
        settings = self.connection.get_settings()
        return getattr(settings, "server_encoding", "SQL_ASCII") != "SQL_ASCII"

    @property
    def is_busy(self) -> bool:
        """Whether the server is at work on something else than a reset that was asked for with the rest."""
        return self._tap.current is not None and self.resetting is None

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction has been begun, and not ended."""
        return self._tap.status != "I"

    def poll(self) -> None:
        """Take what the server has sent by now."""
        self._tap.poll()

    def watch(self, answer: asyncio.Future[Any]) -> None:
        """Take what the server sends until it has answered, see `Tap.watch`."""
        self._tap.watch(answer)

    async def greet(self, user: str) -> None:
        """Tell the server whose session it is from now on."""
        if user != self.user and self._named and self._shown is None:
            await self.simple(f"SET application_name = {quoted(user)}")
        self._use(user)

    def _use(self, user: str) -> None:
        self.user = user
        name = f"SET application_name = {quoted(self._shown or user)};" if self._named else ""
        self._reset = f"{_RESET}{name}{_FOREIGN}"
        self._reset_alone = simple(self._reset)

    async def simple(self, sql: str) -> str:
        """Execute statements without parameters; return the last one's tag."""
        return await self._tap.ask(simple(sql))[0]

    async def texts(self, sql: str) -> PackedRows:
        """Return the rows of a query; their fields are texts, or None."""
        collected = Collected()
        await self._tap.ask(simple(sql), rows=collected)[0]
        return PackedRows((), collected.data, collected.starts, list)

    async def interrupt(self, *, grace: float = 0) -> Exception | None:
        """Have the server do nothing any more; return what the statement failed with, if it did.

        :param grace: seconds after which that is cancelled
        """
        if (current := self._tap.current) is None:
            return None
        (idle,) = self._tap.ask(SYNC)
        self._tap.poll()  # what is held in the socket has been done
        if grace:
            await asyncio.wait({idle}, timeout=grace)
        if self._tap.current is current:
            await self.connection._cancel(asyncio.get_running_loop().create_future())  # noqa: SLF001
        await idle
        return current.error

    # ------------------------------------------------------------ statements

    async def prepare(self, sql: str) -> Prepared:
        """Return the statement, prepared by the server if it was not."""
        if (known := self._statements.get(sql)) is not None:
            self._statements.move_to_end(sql)
            return known
        name = f"wasmplex_{next(self._numbers)}" if self._named else ""
        forget = b"".join(map(close, self._unused))
        self._unused = [name] if self._named else []  # until it is known: whoever waits may be cancelled
        parameters, columns = await self._described(forget, name, sql)
        # The server forgets a statement without a name meanwhile: it is `Stale` when it is executed.
        await self._catalogue.learn(self.texts, {*parameters, *(oid for _, oid in columns)})
        prepared = Prepared(name, sql, self._catalogue.codecs, parameters, columns)
        if self._named:
            self._remember(sql, prepared)
        return prepared

    async def _described(
        self, before: bytes, name: str, sql: str
    ) -> tuple[tuple[int, ...], list[tuple[str, int]]]:
        """Have the server prepare a statement; return the types of what goes in, and what comes out."""
        (answer,) = self._tap.ask(before + messages.prepare(name, sql))
        await answer
        return messages.parameter_types(answer.parameters), messages.column_types(answer.columns)

    def _remember(self, sql: str, prepared: Prepared) -> None:
        self._statements[sql] = prepared
        self._unused.clear()
        if len(self._statements) > KEPT:
            _, old = self._statements.popitem(last=False)
            self._unused.append(old.name)

    # ------------------------------------------------------------ executing

    async def complete(
        self, bound: bytes, *, rows: Collected | None = None, reset: bool = False
    ) -> tuple[str, int]:
        """Execute a statement to its end, in a transaction of its own.

        :param bound: see `Prepared.bind`
        :param rows: where its rows go, if they are wanted
        :param reset: ask for the reset in the same write, as `end` does, where that can be; if the outcome is
            known, the answer to that is `resetting`
        :return: its tag, and how many rows are not wanted
        """
        self.resetting = None
        behind = (self._reset_alone,) if reset and self._named else ()
        done, *clean = self._tap.ask(bound + _ALL, *behind, rows=rows)
        self._tap.watch(done)
        try:
            return await _tag_of(done), done.count
        finally:
            if clean and not done.cancelled():
                self.resetting = clean[0]

    def first(self, prepared: Prepared, bound: bytes, limit: int) -> Portion:
        """Begin a transaction, execute, and ask for the first rows."""
        return self._portion(prepared, (BEGIN if self._named else b"") + bound, limit)

    def more(self, prepared: Prepared, limit: int) -> Portion:
        """Ask for the next rows of what `first` began; they stay in the socket until they are waited for."""
        return self._portion(prepared, b"", limit, held=True)

    def _portion(self, prepared: Prepared, before: bytes, limit: int, *, held: bool = False) -> Portion:
        collected = Collected()
        (answer,) = self._tap.ask(before + execute(limit) + SYNC, rows=collected, held=held)
        return Portion(self._tap, prepared, answer, collected)

    async def begin(self) -> None:
        """Begin a transaction, where it cannot be done in the message that executes."""
        await self.simple(
            f"BEGIN;{self._opening}SET LOCAL application_name = {quoted(self._shown or self.user)}"
        )

    # ------------------------------------------------------------ the end of a session

    def end(self, *, commit: bool) -> tuple[Answer | None, Answer]:
        """Ask for the end of the transaction, and for a clean session; wait for neither.

        :return: how the transaction ends, None if there is none; and how the session is left,
            `NOTHING_PREPARED` unless `forget` is needed
        """
        if (asked := self.resetting) is not None:
            self.resetting = None
            return None, asked
        if not self.in_transaction:
            return None, self._tap.ask(self._reset_alone)[0]
        if not self._named:  # two messages might go to two sessions of the server
            (both,) = self._tap.ask(simple(("COMMIT;" if commit else "ROLLBACK;") + self._reset))
            return both, both
        ended, clean = self._tap.ask(_COMMIT if commit else _ROLLBACK, self._reset_alone)
        return ended, clean

    async def forget(self) -> None:
        """Have nothing prepared, on either side."""
        self.resetting = None
        await self.simple("DEALLOCATE ALL")
        self._statements.clear()
        self._unused.clear()

    def abort(self) -> None:
        """End the connection at once."""
        self.connection.terminate()


class Portion:
    """Rows that were asked for."""

    __slots__ = ("_answer", "_collected", "_prepared", "_tap")

    def __init__(self, tap: Tap, prepared: Prepared, answer: Answer, collected: Collected) -> None:
        self._tap = tap
        self._prepared = prepared
        self._answer = answer
        self._collected = collected

    @property
    def came(self) -> bool:
        """Whether some are here."""
        return bool(self._collected.data)

    def rows_nowait(self) -> tuple[PackedRows, bool] | None:
        """Return what `rows` would, if they are here; None if not, or if something went wrong."""
        answer = self._answer
        if not answer.done():
            self._tap.poll()
        if not answer.done() or answer.cancelled() or answer.exception() is not None:
            return None
        return self._prepared.rows(self._collected), not answer.result()

    async def rows(self) -> tuple[PackedRows, bool]:
        """Return them, and whether there may be more."""
        if not self._answer.done():
            self._tap.watch(self._answer)
        if not self._answer.done():
            self._tap.let_in()
        tag = await _tag_of(self._answer)
        return self._prepared.rows(self._collected), not tag


async def _tag_of(answer: Answer) -> str:
    """Return the tag of a statement that was executed; empty if there may be more rows.

    :raises Stale: if it was not, and may be prepared anew
    """
    try:
        return await answer
    except (pg.InvalidCachedStatementError, pg.InvalidSQLStatementNameError) as error:
        if answer.began:  # what it executes has said so, of another one
            raise
        raise Stale(error) from error


def quoted(text: str) -> str:
    """Return a text as a literal of SQL."""
    plain = text.replace("\\", "/").replace("\0", "").replace("'", "''")
    return f"'{plain}'"
