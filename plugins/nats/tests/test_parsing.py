"""What the server sends, however it is cut: each message gets to who takes it, once and whole."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from host_plugin_nats.parsing import Arrived, DirectParser
from hypothesis import given, settings
from hypothesis import strategies as st

pytestmark = pytest.mark.anyio


class Client:
    """Stands where the library has its client; notes what its parser found."""

    def __init__(self) -> None:
        self.seen: list[Any] = []

    async def _process_msg(self, number: int, subject: bytes, reply: bytes, data: bytes, head: Any) -> None:
        self.seen.append((number, subject.decode(), reply.decode(), data, head))

    async def _process_ping(self) -> None:
        self.seen.append("ping")


BODIES = st.one_of(
    st.binary(max_size=20), st.sampled_from([b"", b"\r\n", b"MSG a 1 1\r\nx\r\n", b"x" * 5000])
)
DIRECT, INDIRECT = 7, 8


@st.composite
def sent(draw: st.DrawFn) -> tuple[bytes, Any]:
    """Draw something that the server may send, and what is to be seen of it."""
    kind, data = draw(st.sampled_from(["plain", "answer", "headers", "ping"])), draw(BODIES)
    number = draw(st.sampled_from([DIRECT, INDIRECT]))
    if kind == "ping":
        return b"PING\r\n", "ping"
    if kind == "headers":
        head = b"NATS/1.0\r\nA: b\r\n\r\n"
        line = b"HMSG s.%d %d %d %d\r\n" % (number, number, len(head), len(head) + len(data))
        return line + head + data + b"\r\n", (number, f"s.{number}", "", data, head)
    reply = b"_INBOX.1 " if kind == "answer" else b""
    line = b"MSG s.%d %d %s%d\r\n" % (number, number, reply, len(data))
    return line + data + b"\r\n", (number, f"s.{number}", reply.decode().strip(), data, None)


@settings(max_examples=150, deadline=None)
@given(st.lists(sent(), max_size=12), st.lists(st.integers(1, 3000), min_size=1, max_size=8))
async def test_messages_come_whole_and_in_order_however_they_are_cut(
    items: list[tuple[bytes, Any]], cuts: list[int]
) -> None:
    client = Client()
    parser = DirectParser(client)

    def take(messages: Sequence[Arrived]) -> None:
        client.seen.extend((DIRECT, m.subject, m.reply_to or "", m.body, m.headers) for m in messages)

    parser.listen(DIRECT, take)
    stream, turn = b"".join(data for data, _ in items), 0
    while stream:
        size = cuts[turn % len(cuts)]
        await parser.parse(stream[:size])
        stream, turn = stream[size:], turn + 1
    assert client.seen == [seen for _, seen in items]
    assert not parser.buf


async def test_a_plain_message_is_not_read_by_the_library() -> None:
    client = Client()
    taken: list[Arrived] = []
    parser = DirectParser(client)
    parser.listen(1, taken.extend)
    await parser.parse(b"MSG a 1 2\r\nhi\r\n" * 3 + b"MSG a 1 2\r\nh")
    assert taken == [Arrived("a", b"hi")] * 3
    await parser.parse(b"i\r\nMSG a 1 2\r\nhi\r\n")
    assert (len(taken), len(client.seen)) == (4, 1)


async def test_the_library_reads_no_more_than_what_is_not_plain() -> None:
    client = Client()
    taken: list[Arrived] = []
    parser = DirectParser(client)
    parser.listen(1, taken.extend)
    plain, head = b"MSG a 1 2\r\nhi\r\n", b"NATS/1.0 404\r\n\r\n"
    said = b"HMSG a 1 %d %d\r\n%s\r\n" % (len(head), len(head), head)
    await parser.parse((plain + said + b"PING\r\n") * 2 + plain)
    assert (len(taken), client.seen) == (3, 2 * [(1, "a", "", b"", head), "ping"])


async def test_messages_of_a_subscription_that_was_left_are_not_taken() -> None:
    client = Client()
    taken: list[Arrived] = []
    parser = DirectParser(client)
    parser.listen(1, taken.extend)
    assert parser.at_once(b"MSG a 1 2\r\nhi\r\n") == b""
    parser.forget(1)
    assert parser.at_once(b"MSG a 1 2\r\nhi\r\n") == b"MSG a 1 2\r\nhi\r\n"
    assert len(taken) == 1
