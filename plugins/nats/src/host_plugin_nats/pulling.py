"""What the server says of a request for messages of a consumer that it does not take."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

__all__ = ["PENDING", "refusal"]

PENDING: Final = "Nats-Pending-Messages"
"""How many messages a request has not had that the server has taken, and that has ended now."""
_ENDED: Final = ("Consumer Deleted", "Leadership Change", "Server Shutdown", "Batch Completed")
"""What ends a request that the server has taken; some servers say no more than this."""
_MOST: Final = 200
"""Characters that are shown of what the server says: anybody on the account may say it in its place."""
_FULL: Final = "Exceeded MaxWaiting"


def refusal(asked: str, status: str | None, headers: Mapping[str, str]) -> str | None:
    """Return what is wrong, and what is to be done, if the server refuses a request; None if it does not.

    Asked again at once, it would refuse again at once.

    :param asked: the subject of the request, which ends with the stream and the consumer
    :param status: what the server says, ``409``; None for a message of anybody else
    """
    said = headers.get("Description") or ""
    if status not in ("400", "409") or PENDING in headers or said.startswith(_ENDED):
        return None
    *_, stream, consumer = asked.split(".")
    if said.startswith(_FULL):
        fix = "as many hosts wait for messages as its max_waiting lets: run fewer of them"
    else:
        fix = f"see what somebody has set on it: nats consumer info {stream} {consumer}"
    return (
        f"the consumer {consumer} of the stream {stream} takes no request for messages,"
        f" because the server says {said[:_MOST]!r}; {fix}"
    )
