"""Sends requests with aiohttp. Imported when the first request goes out.

Requests leave as the guest made them: no redirect is followed, nothing is decompressed, no cookie is
kept, no proxy of the environment is used, and no header is added but those that frame the message.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from weakref import WeakSet

import aiohttp
from wasmplex.capabilities.http import Headers
from wasmplex.plugin import Variant
from yarl import URL

from host_plugin_wasi.http.errors import HttpError, dns_error, internal
from host_plugin_wasi.http.messages import IncomingResponse, RequestOptions
from host_plugin_wasi.http.upload import Upload

__all__ = ["Transport"]

_CONNECTIONS = 128
_BUFFER = 64 * 1024
_OWN_HEADERS = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")
"""What aiohttp would add to a request."""

_ERRNO = {
    errno.ECONNREFUSED: "connection-refused",
    errno.ECONNRESET: "connection-terminated",
    errno.EPIPE: "connection-terminated",
    errno.ETIMEDOUT: "connection-timeout",
    errno.ENETUNREACH: "destination-IP-unroutable",
    errno.EHOSTUNREACH: "destination-IP-unroutable",
    errno.EACCES: "destination-IP-prohibited",
    errno.EMFILE: "connection-limit-reached",
}

_CASES: tuple[tuple[type[BaseException], str], ...] = (
    (aiohttp.ConnectionTimeoutError, "connection-timeout"),
    (aiohttp.ClientConnectorCertificateError, "TLS-certificate-error"),
    (aiohttp.ClientSSLError, "TLS-protocol-error"),
    (TimeoutError, "connection-read-timeout"),
    (aiohttp.ServerDisconnectedError, "connection-terminated"),
    (aiohttp.ClientPayloadError, "HTTP-response-incomplete"),
    (aiohttp.InvalidURL, "HTTP-request-URI-invalid"),
    (aiohttp.ClientResponseError, "HTTP-protocol-error"),
)


class Transport:
    """The connections of one workload."""

    def __init__(self) -> None:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=_CONNECTIONS),
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=_OWN_HEADERS,
            auto_decompress=False,
            trust_env=False,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
            read_bufsize=_BUFFER,
        )
        self._responses: WeakSet[aiohttp.ClientResponse] = WeakSet()

    async def send(
        self,
        method: str,
        url: str,
        headers: Sequence[tuple[bytes, bytes]],
        upload: Upload | None,
        options: RequestOptions,
    ) -> IncomingResponse:
        """Send a request; return when the head of the response is here.

        :raises HttpError: if it does not come to that
        """
        connect, first = _seconds(options.connect), _seconds(options.first_byte)
        with _errors():
            async with asyncio.timeout(None if first is None else first + (connect or 0)):
                response = await self._session.request(
                    method,
                    URL(url, encoded=True),
                    headers=[(str(n, "latin-1"), str(v, "latin-1")) for n, v in headers],
                    data=upload.whole_or_pieces() if upload is not None else None,
                    allow_redirects=False,
                    timeout=aiohttp.ClientTimeout(total=None, connect=connect, sock_connect=connect),
                )
        self._responses.add(response)
        source = _ResponseBody(response, _seconds(options.between_bytes))
        return IncomingResponse(response.status, response.raw_headers, source)

    async def close(self) -> None:
        """Close every connection, also those whose response nobody has read to its end."""
        for response in [*self._responses]:
            response.close()
        await self._session.close()


class _ResponseBody:
    """A response's body as a `BodySource`."""

    __slots__ = ("_pause", "_response")

    def __init__(self, response: aiohttp.ClientResponse, pause: float | None) -> None:
        self._response = response
        self._pause = pause

    async def read(self) -> bytes:
        with _errors():
            async with asyncio.timeout(self._pause):
                return await self._response.content.readany()

    def read_nowait(self) -> bytes | None:
        content = self._response.content
        with _errors():
            return content.read_nowait() or (b"" if content.at_eof() else None)

    def trailers(self) -> Headers | None:
        """Return None: aiohttp throws them away."""
        return None

    def close(self) -> None:
        self._response.close()


def _seconds(nanoseconds: int | None) -> float | None:
    return None if nanoseconds is None else nanoseconds / 1e9


@contextmanager
def _errors() -> Iterator[None]:
    try:
        yield
    except (aiohttp.ClientError, OSError, ValueError) as error:
        if isinstance(error.__cause__, HttpError):  # raised by our own side of the upload
            raise error.__cause__ from None
        raise HttpError(_code(error), str(error) or type(error).__name__) from error


def _code(error: Exception) -> Variant:
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return dns_error(_resolver_says(error.os_error))
    for kind, case in _CASES:
        if isinstance(error, kind):
            return Variant(case)
    if isinstance(error, OSError) and error.errno in _ERRNO:
        return Variant(_ERRNO[error.errno])
    if isinstance(error, aiohttp.ClientConnectorError):
        return Variant("destination-unavailable")
    if isinstance(error, aiohttp.ClientConnectionError):
        return Variant("connection-terminated")
    return internal(type(error).__name__)


def _resolver_says(error: OSError) -> str:
    known = {socket.EAI_NONAME: "NXDOMAIN", socket.EAI_AGAIN: "SERVFAIL"}
    return known.get(error.errno or 0) or error.strerror or "SERVFAIL"
