"""Messages as the server has them, and as the host has them."""

from __future__ import annotations

from wasmplex.capabilities.messaging import Message

from host_plugin_nats.parsing import Answer

__all__ = ["REPLY_TO", "for_server", "message_of"]

REPLY_TO = "Wasmplex-Reply-To"
"""Where an answer is expected, for messages that a stream keeps: it does not keep their reply subject."""


def message_of(message: Answer, reply: str) -> Message:
    """Return a message of the server's.

    :param reply: where an answer is expected, as the server says
    """
    headers = message.headers
    if headers:
        reply = headers.get(REPLY_TO) or reply
    return Message(message.subject, message.data, reply or None, headers)


def for_server(message: Message) -> Message:
    """Return a message as it may be sent: without headers by which somebody tells a stream what to do.

    A message that is sent again, as a dead letter say, has those of its sender, which were for its first
    stream alone: the next one would refuse it for an expectation, or take it for one that it has.
    """
    if not message.headers:
        return message
    headers = {name: value for name, value in message.headers.items() if not _for_stream(name)}
    return message._replace(headers=headers or None)


def _for_stream(name: str) -> bool:
    return name[:5].lower() == "nats-"
