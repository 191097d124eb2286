"""A connection that is replaced by a new one when it is lost.

The client library could reconnect by itself; it would also send later what was published while the server was
away, go on waiting for answers that were lost, and stay closed after some errors.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, Protocol

import anyio
from nats import errors
from nats.aio.client import Client
from wasmplex.capabilities.errors import CapabilityError, ErrorCases
from wasmplex.plugin import get_logger

from host_plugin_nats import client as library
from host_plugin_nats.backlog import Backlog
from host_plugin_nats.failures import NO_SERVER, connecting_failed, refused

__all__ = ["Connection", "User"]

logger = get_logger("wasmplex.backends.nats")

_FIRST_PAUSE: Final = 0.05
_LONGEST_PAUSE: Final = 0.5
"""Seconds between attempts to connect."""
_PING_INTERVAL: Final = 10
"""Seconds; a peer that is gone without a word is noticed after two of them."""
_CLOSING: Final = 0.5
"""Seconds in which what was published is sent before a connection is closed."""


class User(Protocol):
    """Who uses a connection, and is told what becomes of it."""

    async def begin(self, client: Client) -> None:
        """Get a new connection ready for use."""

    def ended(self, error: CapabilityError) -> None:
        """Give up what is under way: the connection is lost, or closed."""

    def complained(self, error: Exception) -> None:
        """Hear what the server says of something that was asked of it."""


class Connection:
    """A connection to one of several servers.

    :ivar client: the client of the library; None while there is no connection
    :ivar backlog: what came and is not taken yet
    :param options: for ``nats.connect``
    :param renew: returns the options of now, for a server that refuses the old ones
    :param cases: the errors of the capability that it is for
    """

    def __init__(
        self,
        options: Mapping[str, Any],
        renew: Callable[[], Awaitable[Mapping[str, Any]]],
        cases: ErrorCases,
        user: User,
    ) -> None:
        self.client: Client | None = None
        self.backlog = Backlog()
        self._options = options
        self._renew = renew
        self._cases = cases
        self._user = user
        self._up = asyncio.Event()
        self._denied = False
        self._closed = False
        self._reconnecting: asyncio.Task[None] | None = None

    @property
    def is_up(self) -> bool:
        """Whether there is a connection that is ready for use."""
        return self._up.is_set()

    async def wait_up(self) -> None:
        """Wait until there is a connection."""
        await self._up.wait()

    def usable(self) -> Client:
        """Return the client.

        :raises wasmplex.capabilities.errors.CapabilityError: typed, if there is no connection
        """
        if self.client is None or not self.client.is_connected:
            if self._denied:
                raise refused(self._cases, self._options)
            raise self._cases.unavailable("the connection is lost" if not self._closed else "it is closed")
        return self.client

    async def open(self) -> None:
        """Connect.

        :raises wasmplex.capabilities.errors.CapabilityError: typed, if that is not possible
        """
        try:
            await self._connect()
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Close the connection for good."""
        self._closed = True
        with anyio.CancelScope(shield=True):
            if self._reconnecting is not None:
                self._reconnecting.cancel()
                await asyncio.wait([self._reconnecting])
            client = self.client
            if client is not None:
                with anyio.move_on_after(_CLOSING):
                    await client.close()
            self._lost(client, "it is closed")
            await self.backlog.close()
            await anyio.lowlevel.checkpoint()  # what was cancelled ends

    async def _connect(self) -> None:
        reasons: list[Exception] = []

        async def note(error: Exception) -> None:
            if self.client is not None:  # it may be what it is made ready with
                self._user.complained(error)
            else:
                reasons.append(error)

        client = library.made()
        try:
            await self._open(client, note)
        except (errors.Error, OSError) as error:
            await self._abandon(client)
            raise self._refusal([error, *reasons]) from error
        except Exception as error:
            await self._abandon(client)
            if library.is_greeted(client):
                raise
            raise self._cases.unavailable(NO_SERVER) from error
        except BaseException:
            await self._abandon(client)
            raise
        self._up.set()

    async def _open(self, client: Client, note: Callable[[Exception], Awaitable[None]]) -> None:
        """Connect, and have it ready for use; `note` is told of what the server complains of."""
        await client.connect(
            allow_reconnect=False,
            max_reconnect_attempts=1,
            reconnect_time_wait=0,
            ping_interval=_PING_INTERVAL,
            max_outstanding_pings=2,
            pending_size=64 * 2**20,
            error_cb=note,
            **self._options,
        )
        library.receive(client, self.backlog)
        self.client, self._denied = client, False
        library.on_end(client, lambda: self._lost(client, "the connection is lost"))
        await self._user.begin(client)
        if self.client is not client:  # it was lost meanwhile, which whoever got it ready may not have seen
            raise self._cases.unavailable("the connection is lost")

    async def _abandon(self, client: Client) -> None:
        if self.client is client:  # who has used it already is to hear of it
            self.client = None
            self._user.ended(self._cases.unavailable("the connection is lost"))
        # Closing what never was a connection, after a failed TLS handshake say, may wait for ever.
        with anyio.move_on_after(_CLOSING, shield=True):
            await client.close()
        library.end(client)

    def _refusal(self, reasons: list[Exception]) -> CapabilityError:
        error = connecting_failed(reasons, self._cases, self._options)
        self._denied = self._denied or isinstance(error, self._cases.denied)
        return error

    def _lost(self, client: Client | None, why: str) -> None:
        if client is not self.client:
            return
        self.client = None
        self._up.clear()
        if client is not None:
            library.end(client)
        self._user.ended(self._cases.unavailable(why))
        if not self._closed and self._reconnecting is None:
            self._reconnecting = asyncio.get_running_loop().create_task(self._reconnect())

    async def _reconnect(self) -> None:
        longest = _FIRST_PAUSE
        while True:
            await anyio.sleep(random.uniform(longest / 2, longest))  # noqa: S311  spreads attempts
            longest = min(2 * longest, _LONGEST_PAUSE)
            try:
                if self._denied:
                    self._options = await self._renew()
                await self._connect()
            except CapabilityError as error:
                logger.debug("nats: still no connection: %s", error)
            except Exception as error:  # noqa: BLE001  whatever it is, the next attempt may succeed
                logger.warning("nats: cannot use the new connection: %s", type(error).__name__)
            else:
                self._reconnecting = None
                return
