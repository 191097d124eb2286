"""One connection: statements prepared once, a transaction that costs no round trip to begin, and a reset.

asyncpg's connection logs in and knows the protocol. Its protocol object is called directly for what the
connection does not offer: executing in portions without a cursor of its own, and beginning the transaction in
the same message. Values pass through the driver as bytes, see `host_plugin_postgres.codecs`.
"""

from __future__ import annotations

import itertools
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import asyncpg
from asyncpg import exceptions as pg
from wasmplex.capabilities.postgres import InvalidParams, PackedRows

from host_plugin_postgres.codecs.catalogue import Catalogue
from host_plugin_postgres.prepared import Prepared
from host_plugin_postgres.tap import Answer, Collected, Tap, simple

__all__ = ["NOTHING_PREPARED", "Link", "Stale"]

KEPT = 100
"""Statements that a connection keeps prepared; the one longest unused is forgotten."""

_BEGIN = (
    b"P\0\0\0\x0d\0BEGIN\0\0\0"  # Parse, unnamed, no parameter types
    b"B\0\0\0\x0c\0\0\0\0\0\0\0\0"  # Bind, unnamed
    b"E\0\0\0\x09\0\0\0\0\0"  # Execute, all of it
)
"""Messages that begin a transaction when the next Sync is sent (PostgreSQL, "Message Formats")."""

_RESET = (
    "SET SESSION AUTHORIZATION DEFAULT;RESET ROLE;RESET ALL;CLOSE ALL;UNLISTEN *;"
    "SELECT pg_advisory_unlock_all();DISCARD TEMP;DISCARD SEQUENCES;"
)
_FOREIGN = "SELECT FROM pg_prepared_statements WHERE from_sql"
"""Its answer's tag tells how many statements somebody has prepared in SQL."""
NOTHING_PREPARED = "SELECT 0"
_COMMIT, _ROLLBACK = simple("COMMIT"), simple("ROLLBACK")


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
        self.user = user
        self._protocol = connection._protocol  # noqa: SLF001
        self._tap = Tap(connection)
        self._settled = True
        """Whether nothing of the driver is under way for sure."""
        self._catalogue = catalogue
        self._registered: set[int] = set()
        self._statements: OrderedDict[str, Prepared] = OrderedDict()
        self._forgotten: list[str] = []
        self._numbers = itertools.count(1)
        self._named = named
        self._opening = opening
        self._shown = shown
        self._register()

    @property
    def is_open(self) -> bool:
        """Whether it can be used."""
        return not self.connection.is_closed()

    @property
    def checks_text(self) -> bool:
        """Whether the server has made sure that text is such: not in a database of ``SQL_ASCII``."""
        return getattr(self._protocol.get_settings(), "server_encoding", "SQL_ASCII") != "SQL_ASCII"

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction has been begun, and not ended."""
        return self._tap.status != "I"

    @property
    def pid(self) -> int:
        """The process of the server that it talks to."""
        number: int = self.connection.get_server_pid()
        return number

    async def greet(self, user: str) -> None:
        """Tell the server whose session it is from now on."""
        if user != self.user and self._named and self._shown is None:
            await self.simple(f"SET application_name = {quoted(user)}")
        self.user = user

    async def simple(self, sql: str) -> str:
        """Execute statements without parameters; return the last one's tag."""
        self._settled = False
        tag: str = await self._protocol.query(sql, None)
        self._settled = True
        return tag

    # ------------------------------------------------------------ statements

    async def prepare(self, sql: str) -> Prepared:
        """Return the statement, prepared by the server if it was not."""
        if (known := self._statements.get(sql)) is not None:
            self._statements.move_to_end(sql)
            return known
        name = f"wasmplex_{next(self._numbers)}" if self._named else ""
        state = await self._protocol.prepare(name, sql, None, record_class=asyncpg.Record)
        await self._learn(state)
        prepared = Prepared(state, self._catalogue.codecs, sql)
        if self._named:
            self._remember(sql, prepared, name)
        return prepared

    def _remember(self, sql: str, prepared: Prepared, name: str) -> None:
        self._statements[sql] = prepared
        if len(self._statements) > KEPT:
            _, old = self._statements.popitem(last=False)
            self._forgotten.append(old.state.name)

    async def _learn(self, state: Any) -> None:
        """Find out about the types of a statement that are not built in."""
        if missing := state._init_types():  # noqa: SLF001
            await self._catalogue.learn(self.connection, missing)
            self._register(missing)
        used = [*state._get_parameters(), *(one.type for one in state._get_attributes())]  # noqa: SLF001
        # The driver knows types that have no case; their names are for messages.
        await self._catalogue.learn(self.connection, {one.oid for one in used})
        state._init_codecs()  # noqa: SLF001

    def _register(self, more: Any = ()) -> None:
        """Have the driver pass on bytes, but for types whose own codec does just what ours does."""
        settings, codecs = self._protocol.get_settings(), self._catalogue.codecs
        for oid in {*codecs, *more} - self._registered:
            codec = codecs.get(oid)
            self._registered.add(oid)
            if codec is not None and codec.native and oid in NATIVE:
                continue
            form = "text" if oid in TEXTUAL or (codec is not None and codec.native) else "binary"
            give = bytes if form == "binary" else str
            settings.add_python_codec(oid, codecs.name(oid), "public", [], "scalar", give, give, form)

    # ------------------------------------------------------------ executing

    async def complete(self, prepared: Prepared, arguments: list[Any]) -> tuple[list[Any], str, bool]:
        """Execute a statement to its end, in a transaction of its own; return its rows and its tag."""
        return await self._execute(prepared, arguments, 0)

    async def first(
        self, prepared: Prepared, arguments: list[Any], limit: int, *, packed: bool = False
    ) -> tuple[Sequence[Any], bool]:
        """Begin a transaction and execute; return the first rows, and whether there may be more.

        :param packed: return rows as `PackedRows`
        """
        if self._named:
            self.connection._transport.write(_BEGIN)  # noqa: SLF001
        with self._collecting(packed) as collected:
            rows, tag, completed = await self._execute(prepared, arguments, limit)
        # Beginning has completed too; what a statement that was suspended completed last is just that.
        return _found(prepared, rows, collected), tag == "BEGIN" or not completed

    async def more(
        self, prepared: Prepared, limit: int, *, packed: bool = False
    ) -> tuple[Sequence[Any], bool]:
        """Return the next rows of what `first` began, and whether there may be more."""
        self._settled = False
        with self._collecting(packed) as collected:
            rows, _, completed = await self._protocol.execute(prepared.state, "", limit, True, None)
        self._settled = True
        return _found(prepared, rows, collected), not completed

    @contextmanager
    def _collecting(self, packed: bool) -> Iterator[Collected | None]:
        self._tap.collected = Collected() if packed else None
        try:
            yield self._tap.collected
        finally:
            self._tap.collected = None

    async def _execute(
        self, prepared: Prepared, arguments: list[Any], limit: int
    ) -> tuple[list[Any], str, bool]:
        self._settled = False
        try:
            rows, tag, completed = await self._protocol.bind_execute(
                prepared.state, arguments, "", limit, True, None
            )
        except (pg.InvalidCachedStatementError, pg.InvalidSQLStatementNameError) as error:
            raise Stale(error) from error
        except asyncpg.InterfaceError as error:
            if not isinstance(error, ValueError):
                raise
            raise InvalidParams("a parameter does not fit") from None  # the driver's text quotes it
        self._settled = True
        return rows, (tag or b"").decode(), completed

    async def begin(self) -> None:
        """Begin a transaction, where it cannot be done in the message that executes."""
        await self.simple(
            f"BEGIN;{self._opening}SET LOCAL application_name = {quoted(self._shown or self.user)}"
        )

    # ------------------------------------------------------------ the end of a session

    async def finish(self, *, commit: bool) -> None:
        """End the transaction, and leave nothing of the session: one message does both.

        :raises Exception: if committing fails; the session is clean all the same
        :raises Stale: if the session cannot be cleaned
        """
        try:
            tag = await self.simple(self._ending(commit))
        except asyncpg.PostgresError:
            if not commit:
                raise
            await self._clean(await self.simple(self._ending(commit=False)))
            raise
        await self._clean(tag)

    @property
    def ends_apart(self) -> bool:
        """Whether `end` may be used: the driver is done, and all messages reach one session of the server."""
        return self._settled and self._named and self.is_open

    def end(self, *, commit: bool) -> tuple[Answer | None, Answer]:
        """Ask for what `finish` asks for, and wait for nothing: whoever reads the rows need not.

        :return: how the transaction ends, if there is one; and what `is_clean` and `forget` are told of
        """
        reset = simple(self._leaving())
        if not self.in_transaction:
            return None, self._tap.ask(reset)[0]
        ended, clean = self._tap.ask(_COMMIT if commit else _ROLLBACK, reset)
        return ended, clean

    def _ending(self, commit: bool) -> str:
        end = ""
        if self.in_transaction:
            end = "COMMIT;" if commit else "ROLLBACK;"
        return end + self._leaving()

    def _leaving(self) -> str:
        gone = "".join(f'DEALLOCATE "{name}";' for name in self._forgotten)
        self._forgotten.clear()
        name = f"SET application_name = {quoted(self._shown or self.user)};" if self._named else ""
        return f"{_RESET}{gone}{name}{_FOREIGN}"

    async def _clean(self, tag: str) -> None:
        if tag != NOTHING_PREPARED:
            await self.forget()

    async def forget(self) -> None:
        """Have nothing prepared, on either side."""
        self._statements.clear()
        self._forgotten.clear()
        await self.simple("DEALLOCATE ALL")

    def abort(self) -> None:
        """End the connection at once."""
        self.connection.terminate()


def _found(prepared: Prepared, rows: list[Any], collected: Collected | None) -> Sequence[Any]:
    if collected is None or prepared.packs is None:
        return rows
    return PackedRows(prepared.packs, collected.data, collected.starts, prepared.read)


NATIVE = frozenset({16, 17, 20, 21, 23, 25, 19, 114, 142, 705})
"""Types that the driver has a codec for that does what ours does: bool, bytea, integers, texts."""
TEXTUAL = frozenset({3615})
"""Types that are asked for and sent as text: tsquery."""


def quoted(text: str) -> str:
    """Return a text as a literal of SQL."""
    plain = text.replace("\\", "/").replace("\0", "").replace("'", "''")
    return f"'{plain}'"
