"""What becomes of a message after a delivery, and what a dead letter says. Decides, and does nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from enum import Enum, auto
from hashlib import blake2b
from typing import NamedTuple

from wasmplex.capabilities.messaging import Delivery, Message
from wasmplex.capabilities.messaging.handling import HandlerRejected
from wasmplex.capabilities.messaging.subjects import is_subject, matcher
from wasmplex.escaping import escape
from wasmplex.redaction import KNOWN
from wasmplex.triggers.causes import in_one_line
from wasmplex.triggers.messaging.settings import MessagingTriggerSettings

__all__ = [
    "HEADER",
    "LETTER",
    "TOO_OFTEN",
    "Fate",
    "Verdict",
    "backoff",
    "before",
    "dead_letter",
    "is_of",
    "judge",
    "left_out",
    "resent",
    "size_left_out",
    "smaller",
    "without_body",
]

HEADER = "Wasmplex-"
"""What the headers of dead letters begin with; none that a sender has put there is kept."""
_FIRST_SEEN = f"{HEADER}First-Seen"
_LEFT_OUT = f"{HEADER}Body-Left-Out"
"""How many bytes the body had of a message that was too large to be kept."""
_HEADERS_LEFT_OUT = f"{HEADER}Headers-Left-Out"
"""How many headers the sender had given a message that was too large to be kept with them."""
LETTER = f"{HEADER}Letter"
"""Which dead letter a message was that is sent again: a broker need not keep one twice."""
TOO_OFTEN = "max-deliver"
"""Why a message is a dead letter that was delivered as often as it may be."""

_SHOWN = 500
"""Characters of an error's text that a dead letter has."""


class Fate(Enum):
    """What becomes of a message."""

    DONE = auto()
    AGAIN = auto()
    DEAD = auto()


class Verdict(NamedTuple):
    """The fate of a message.

    :ivar after: seconds until it is delivered again
    :ivar reason: why it is a dead letter, in a word
    """

    fate: Fate
    after: float = 0.0
    reason: str = ""


_DONE = Verdict(Fate.DONE)


def before(delivery: Delivery, settings: MessagingTriggerSettings) -> Verdict | None:
    """Judge a message that the component is not to be called with, but for a last call; None if it is.

    A message that was delivered too often without any outcome may be what ends the host.
    """
    if len(delivery.message.body) > settings.max_body:
        return Verdict(Fate.DEAD, reason="message-too-large")
    if delivery.tries > settings.max_deliver:
        return Verdict(Fate.DEAD, reason=TOO_OFTEN)
    return None


def judge(error: Exception | None, tries: int, settings: MessagingTriggerSettings) -> Verdict:
    """Judge a message by what its handling raised; None if it was handled."""
    if error is None:
        return _DONE
    if isinstance(error, HandlerRejected):
        return Verdict(Fate.DEAD, reason="rejected")
    if tries >= settings.max_deliver:
        return Verdict(Fate.DEAD, reason=TOO_OFTEN)
    return Verdict(Fate.AGAIN, backoff(tries, settings))


def backoff(tries: int, settings: MessagingTriggerSettings) -> float:
    """Return the seconds until a message is delivered again, after so many tries."""
    doublings = min(tries - 1, 32)
    return float(min(settings.backoff * 2**doublings, settings.max_backoff))


def dead_letter(
    delivery: Delivery, subject: str, workload: str, reason: str, error: BaseException | None
) -> Message:
    """Return the message as it goes to the dead letters, with headers that say what happened to it."""
    message = delivery.message
    said = {
        "Workload": workload,
        "Reason": reason,
        "Subject": message.subject,
        "Tries": str(delivery.tries),
        "First-Seen": _first_seen(delivery),
        "Error": _one_line(error),
        "Reply-To": message.reply_to or "",
    }
    headers = {f"{HEADER}{name}": value for name, value in said.items() if value}
    return Message(subject, message.body, None, {**_senders(message.headers), **headers})


def _first_seen(delivery: Delivery) -> str:
    """Return when the broker had a message first, also if that was before it was sent again.

    What its headers say is believed if it is a time before this delivery's: whoever sends may write there.
    """
    at = datetime.fromtimestamp(delivery.first_seen, UTC)
    with suppress(ValueError, TypeError, OverflowError):  # also of one at an end of the calendar
        said = datetime.fromisoformat((delivery.message.headers or {}).get(_FIRST_SEEN, ""))
        at = min(at, said.astimezone(UTC)) if said.tzinfo is not None else at
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def smaller(letter: Message) -> Iterator[Message]:
    """Return a dead letter as it may be kept: whole, and ever less of it where it is too large.

    A broker may have a limit for headers that is far below that for bodies, and no guest sees headers.
    """
    yield letter
    bare = _without_headers(letter)
    if bare is not None:
        yield bare
    yield without_body(letter)
    if bare is not None:
        yield without_body(bare)


def _without_headers(letter: Message) -> Message | None:
    """Return a dead letter without the headers of its sender; None if it has none of them."""
    headers = letter.headers or {}
    if not (senders := _senders(headers)):
        return None
    ours = {name: value for name, value in headers.items() if name not in senders}
    return letter._replace(headers={**ours, _HEADERS_LEFT_OUT: str(len(senders))})


def left_out(letter: Message) -> str:
    """Return what a dead letter was kept without, for people; empty for nothing."""
    headers = letter.headers or {}
    parts = {"its sender's headers": _HEADERS_LEFT_OUT, "its body": _LEFT_OUT}
    return " and ".join(what for what, name in parts.items() if name in headers)


def size_left_out(letter: Message) -> str | None:
    """Return how many bytes the body had that a dead letter was kept without; None if it has its body."""
    return (letter.headers or {}).get(_LEFT_OUT)


def without_body(letter: Message) -> Message:
    """Return a dead letter that says of the body no more than how large it was."""
    headers = {**(letter.headers or {}), _LEFT_OUT: str(len(letter.body))}
    return letter._replace(body=b"", headers=headers)


def is_of(letter: Message, workload: str) -> bool:
    """Say whether a dead letter is a workload's; one that does not say whose it is is anybody's."""
    return (letter.headers or {}).get(f"{HEADER}Workload", workload) == workload


def resent(letter: Message, patterns: Sequence[str], token: str) -> Message:
    """Return the message that a dead letter was; headers say when it was first seen, and which letter it was.

    Whoever may publish to where it is kept may have made it, so it goes to no subject but those that its
    workload is called with, nor has it an answer go where no message could.

    :param token: what its broker calls the letter
    :param patterns: those subjects; one that begins with ``$`` is taken by a pattern that does so, too
    :raises ValueError: if it does not say that it was sent to one of them, or was kept without its body
    """
    headers: Mapping[str, str] = letter.headers or {}
    subject = headers.get(f"{HEADER}Subject")
    if not subject:
        raise ValueError(f"the header {HEADER}Subject is missing")
    takes = matcher(pattern for pattern in patterns if pattern[0] == "$" or subject[0] != "$")
    if not is_subject(subject) or not takes.fullmatch(subject):
        raise ValueError(f"the workload takes no messages to {subject}")
    if (size := size_left_out(letter)) is not None:
        raise ValueError(f"its body of {size} bytes was too large to be kept")
    reply_to = headers.get(f"{HEADER}Reply-To")
    if reply_to is not None and not is_subject(reply_to):
        reply_to = None
    ours = {_FIRST_SEEN: headers[_FIRST_SEEN]} if _FIRST_SEEN in headers else {}
    return Message(
        subject, letter.body, reply_to, {**_senders(headers), **ours, LETTER: _name(letter, token)}
    )


def _name(letter: Message, token: str) -> str:
    """Return a name that no other letter has: a broker that was begun anew gives the same tokens again."""
    content = repr((token, letter.subject, letter.body, sorted((letter.headers or {}).items())))
    return blake2b(content.encode(errors="surrogatepass"), digest_size=16).hexdigest()


def _senders(headers: Mapping[str, str] | None) -> dict[str, str]:
    """Return the headers that the sender of a message gave it, without those that only hosts give."""
    ours = HEADER.lower()
    return {name: value for name, value in (headers or {}).items() if not name.lower().startswith(ours)}


def _one_line(error: BaseException | None) -> str:
    """Return an error's text, safe for a header: printable, in a line, without secrets; cut with a sign."""
    if error is None:
        return ""
    shown = escape(KNOWN.text(in_one_line(error)))
    return shown if len(shown) <= _SHOWN else shown[: _SHOWN - 1] + "…"
