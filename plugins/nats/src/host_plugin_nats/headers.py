"""Messages as the server has them, and as the host has them."""

from __future__ import annotations

from nats.aio.msg import Msg
from wasmplex.capabilities.messaging import Message

__all__ = ["REPLY_TO", "message_of"]

REPLY_TO = "Wasmplex-Reply-To"
"""Where an answer is expected, for messages that a stream keeps: it does not keep their reply subject."""


def message_of(message: Msg, reply: str) -> Message:
    """Return a message of the server's.

    :param reply: where an answer is expected, as the server says
    """
    headers = message.headers
    if headers:
        reply = headers.get(REPLY_TO) or reply
    return Message(message.subject, message.data, reply or None, headers)
