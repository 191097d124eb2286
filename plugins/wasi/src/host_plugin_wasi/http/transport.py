"""Sends requests, over connections of asyncio, with httptools. Imported when the first request goes out.

Requests leave as the guest made them: no redirect is followed, nothing is decompressed, no cookie is kept, no
proxy of the environment is used, and no header is added but those that frame the message.
"""

from __future__ import annotations

import asyncio
from functools import partial

from host_plugin_wasi.http.authority import Origin
from host_plugin_wasi.http.connecting import Connector
from host_plugin_wasi.http.connection import Connection
from host_plugin_wasi.http.errors import HttpError, internal, report
from host_plugin_wasi.http.exchange import Exchange, Unheard
from host_plugin_wasi.http.messages import IncomingResponse, RequestOptions
from host_plugin_wasi.http.outbound import Outbound
from host_plugin_wasi.http.pool import Pool
from host_plugin_wasi.http.upload import Upload
from host_plugin_wasi.http_settings import OutgoingSettings

__all__ = ["Transport"]

_NANO = 1e-9


class Transport:
    """The connections of one import."""

    def __init__(self, settings: OutgoingSettings) -> None:
        self._settings = settings
        self._connector = Connector(settings)
        self._pool = Pool(self._connector.connect, settings.max_connections, settings.keep_alive)
        self._exchanges: set[Exchange] = set()
        self._answered: set[Exchange] = set()

    @property
    def under_way(self) -> int:
        """How many responses have begun and not ended."""
        return len(self._answered)

    async def send(
        self, request: Outbound, upload: Upload | None, options: RequestOptions
    ) -> IncomingResponse:
        """Send a request; return when the head of the response is here.

        It is sent once more if a connection that was used before turns out to be closed, and the request is
        one that may be sent twice (RFC 9110 section 9.2.2) and can be: nothing of its body has been let go.

        :raises HttpError: if it does not come to a response
        """
        origin, again = request.origin, False
        while True:
            connection, used = await self._pool.take(origin, self._until(options), fresh=again)
            exchange = self._begin(request, connection, options)
            whole: bytes | None = None
            try:
                whole = upload.whole() if upload is not None else b""
                exchange.send(upload, whole)
                head = await exchange.response(self._first_byte(options))
            except Unheard as error:
                exchange.fail(error)
                if not (used and request.idempotent and whole is not None):
                    raise
                again = True
            except BaseException as error:
                exchange.fail(error if isinstance(error, HttpError) else HttpError(internal("cancelled")))
                raise
            else:
                if exchange in self._exchanges:
                    self._answered.add(exchange)
                    exchange.on_failure = partial(report, request.authority)
                return IncomingResponse(head.status, head.headers, exchange)

    def _begin(self, request: Outbound, connection: Connection, options: RequestOptions) -> Exchange:
        pause = _least(options.between_bytes, self._settings.between_bytes_timeout)
        exchange = Exchange(request, connection, self._settings, pause)
        exchange.on_over = partial(self._over, request.origin, connection, exchange)
        self._exchanges.add(exchange)
        return exchange

    def _over(self, origin: Origin, connection: Connection, exchange: Exchange, reusable: bool) -> None:
        self._exchanges.discard(exchange)
        self._answered.discard(exchange)
        self._pool.give(origin, connection, reusable=reusable)

    def _until(self, options: RequestOptions) -> float:
        seconds = _least(options.connect, self._settings.connect_timeout)
        return asyncio.get_running_loop().time() + seconds

    def _first_byte(self, options: RequestOptions) -> float:
        seconds = _least(options.first_byte, self._settings.first_byte_timeout)
        return asyncio.get_running_loop().time() + seconds

    async def close(self) -> None:
        """Close every connection, also those whose response nobody has read to its end."""
        sending = [exchange.sending for exchange in self._exchanges if exchange.sending is not None]
        for exchange in [*self._exchanges]:
            exchange.on_failure = None
            exchange.fail(HttpError(internal("the workload is being closed")))
        await asyncio.gather(*sending, return_exceptions=True)
        await self._pool.close()
        self._connector.close()


def _least(nanoseconds: int | None, seconds: float) -> float:
    """Return the guest's time, but no more than the host's."""
    return seconds if nanoseconds is None else min(nanoseconds * _NANO, seconds)
