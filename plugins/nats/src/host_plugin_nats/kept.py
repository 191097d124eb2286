"""What a stream keeps under a subject: it is read, and removed, by its number in the stream."""

from __future__ import annotations

from collections.abc import AsyncIterator

from wasmplex.capabilities.messaging import CASES, Message

from host_plugin_nats.answers import strange
from host_plugin_nats.api import headers_of
from host_plugin_nats.failures import ApiError
from host_plugin_nats.jetstream import JetStream, failed

__all__ = ["messages", "remove"]

_NO_MESSAGE = {10037, 10043, 10057}


async def messages(jetstream: JetStream, stream: str, subject: str) -> AsyncIterator[tuple[int, Message]]:
    """Return what a stream keeps under a subject now, the oldest first; not what comes meanwhile."""
    try:
        last = (await jetstream.ask(f"STREAM.INFO.{stream}")).the("state").number("last_seq")
    except ApiError as error:
        raise failed(error) from error
    sequence = 0
    while sequence < last:
        wanted = {"seq": sequence + 1, "next_by_subj": subject}
        try:
            found = (await jetstream.ask(f"STREAM.MSG.GET.{stream}", wanted)).the("message")
        except ApiError as error:
            if error.code in _NO_MESSAGE:
                return
            raise failed(error) from error
        before, sequence = sequence, found.number("seq")
        if sequence <= before:
            raise strange(CASES)  # it would be asked for again and again
        if sequence > last:
            return
        headers = headers_of(found.data("hdrs"))
        yield sequence, Message(found.text("subject"), found.data("data"), None, headers or None)


async def remove(jetstream: JetStream, stream: str, sequence: int) -> None:
    """Remove a message from a stream, if it is there."""
    try:
        await jetstream.ask(f"STREAM.MSG.DELETE.{stream}", {"seq": sequence, "no_erase": True})
    except ApiError as error:
        if error.code not in _NO_MESSAGE:
            raise failed(error) from error
