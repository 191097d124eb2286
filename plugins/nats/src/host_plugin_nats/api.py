"""The API of JetStream: requests to it, what they are answered, and headers as it writes them."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from wasmplex.capabilities.errors import CapabilityError, ErrorCases

from host_plugin_nats.answers import Said, loaded, strange
from host_plugin_nats.failures import ApiError
from host_plugin_nats.headers import status_of
from host_plugin_nats.link import Headers, Link
from host_plugin_nats.parsing import Arrived

__all__ = ["Api", "answered", "headers_of"]


class Api:
    """What one account asks of JetStream.

    :ivar prefix: what the subjects of its requests begin with
    :param domain: the JetStream domain, None for the server's own
    :param cases: the errors of the capability that it is for
    :param nobody: what it means that nobody is there to answer
    :param seconds: what an answer may take; None where whoever asks has a deadline
    """

    def __init__(
        self, link: Link, domain: str | None, cases: ErrorCases, nobody: str, seconds: float | None = None
    ) -> None:
        self.prefix = f"$JS.{domain}.API" if domain else "$JS.API"
        self._link = link
        self._cases = cases
        self._nobody = nobody
        self._seconds = seconds

    async def request(self, what: str, body: Any = None) -> Arrived:
        """Send a request and return the answer as it came.

        :raises wasmplex.capabilities.errors.CapabilityError: `ErrorCases.timeout` if there is none in time,
            and what `Link.request` raises
        """
        payload = b"" if body is None else json.dumps(body).encode()
        subject = f"{self.prefix}.{what}"
        if self._seconds is None:
            return await self._link.request(subject, payload)
        late = self._cases.timeout(f"JetStream has not answered within {self._seconds:g} s")
        return await answered(self._link, subject, payload, None, self._seconds, late)

    async def ask(self, what: str, body: Any = None) -> Said:
        """Send a request and return what the answer says.

        :raises ApiError: if it is an error
        :raises wasmplex.capabilities.errors.CapabilityError: as `request` and `parsed` do
        """
        return self.parsed(await self.request(what, body))

    def parsed(self, answer: Arrived) -> Said:
        """Return what an answer says.

        :raises ApiError: if it is an error
        :raises wasmplex.capabilities.errors.CapabilityError: `ErrorCases.unavailable` if it is none of
            JetStream's
        """
        if status_of(answer) == "503":
            raise self._cases.unavailable(self._nobody)
        found = loaded(answer.body or b"{}")
        if not isinstance(found, dict):
            raise strange(self._cases)
        if error := found.get("error"):
            raise ApiError(error if isinstance(error, dict) else {"description": str(error)})
        return Said(found, self._cases)


async def answered(
    link: Link, subject: str, payload: bytes, headers: Headers | None, seconds: float, late: CapabilityError
) -> Arrived:
    """Publish, and return the first answer.

    The timer fails the answer and cancels no task: the first step of a guest's call may be in another one.

    :param late: raised if there is none within so many seconds
    """
    token, answer = await link.send(subject, payload, headers)
    timer = asyncio.get_running_loop().call_later(seconds, _expire, answer, late)
    try:
        return await answer
    finally:
        timer.cancel()
        link.forget(token)


def _expire(answer: asyncio.Future[Arrived], late: CapabilityError) -> None:
    if not answer.done():
        answer.set_exception(late)


def headers_of(raw: bytes) -> dict[str, str]:
    """Return headers as a stream keeps them: a line of the protocol, then one for each."""
    lines = raw.decode(errors="replace").split("\r\n")[1:]
    pairs = (line.partition(":") for line in lines)
    return {name.strip(): text.strip() for name, colon, text in pairs if colon and name.strip()}
