"""Messages as the server has them, and as the host has them."""

from __future__ import annotations

import re
from collections.abc import Mapping

from wasmplex.capabilities.messaging import Message
from wasmplex.capabilities.messaging.subjects import is_subject

from host_plugin_nats.parsing import Arrived

__all__ = ["REPLY_TO", "for_server", "message_of", "named", "size_of", "status_of"]

REPLY_TO = "Wasmplex-Reply-To"
"""Where an answer is expected, for messages that a stream keeps: it does not keep their reply subject."""

_LETTER = "Wasmplex-Letter"
"""Which dead letter a message was that is sent again."""
_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
"""Names that the client library sends; it takes more than these from others."""


def size_of(headers: Mapping[str, str]) -> int:
    """Return the bytes that headers take on their way, but for what is before and after all of them."""
    return len(
        "".join([f"{name}: {value}\r\n" for name, value in headers.items()]).encode(errors="surrogatepass")
    )


def status_of(message: Arrived) -> str | None:
    """Return what the server says with a message of its own, ``404``; None for a message of anybody else.

    Whoever sends one may give it a header ``Status``. The server's have no content; what a stream keeps comes
    with a subject for its outcome, or with its sequence.
    """
    headers = message.headers
    if not headers or "Status" not in headers or message.body or message.reply_to:
        return None
    return None if "Nats-Sequence" in headers else headers["Status"]


def named(headers: Mapping[str, str]) -> Mapping[str, str]:
    """Return headers for a stream, which does not keep a dead letter twice that is sent again twice.

    It knows that for as long as its ``duplicate_window`` says, two minutes if nothing else was asked for.
    """
    if _LETTER not in headers:
        return headers
    return {"Nats-Msg-Id" if name == _LETTER else name: text for name, text in headers.items()}


def message_of(message: Arrived, reply: str | None) -> Message:
    """Return a message of the server's.

    :param reply: where an answer is expected, as the server says
    """
    subject, body, _, headers = message
    if headers:
        asked = headers.get(REPLY_TO)  # of whoever has sent it, who may write there what is no subject
        reply = asked if asked and is_subject(asked) else reply
    return tuple.__new__(Message, (subject, body, reply, headers))  # a frame less for each message


def for_server(message: Message) -> Message:
    """Return a message as it may be sent: without headers by which somebody tells a stream what to do.

    A message that is sent again, as a dead letter say, has those of its sender, which were for its first
    stream alone: the next one would refuse it for an expectation, or take it for one that it has. Nor has it
    those that cannot be sent, whose sender used another library.
    """
    if not message.headers:
        return message
    headers = {name: value for name, value in message.headers.items() if _may_be_sent(name)}
    return message._replace(headers=headers or None)


def _may_be_sent(name: str) -> bool:
    return name[:5].lower() != "nats-" and _NAME.fullmatch(name) is not None
