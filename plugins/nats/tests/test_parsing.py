"""What the server sends, however it is cut: each message gets to who takes it, once and whole."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import product
from typing import Any

import pytest
from host_plugin_nats.parsing import Arrived, DirectParser
from hypothesis import given, settings
from hypothesis import strategies as st
from nats.errors import ProtocolError

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
ANSWERS = st.sampled_from([b"_INBOX.1 ", b"$JS.ACK.a.b.1.2.3 ", b"$JS.ACK.a.b.1.4.5 ", "é ".encode(), b"5 "])
DIRECT, OTHER, INDIRECT = 7, 9, 8


@st.composite
def sent(draw: st.DrawFn) -> tuple[bytes, Any]:
    """Draw something that the server may send, and what is to be seen of it."""
    kind, data = draw(st.sampled_from(["plain", "answer", "headers", "ping"])), draw(BODIES)
    number = draw(st.sampled_from([DIRECT, DIRECT, OTHER, INDIRECT]))
    name = draw(st.sampled_from("sst"))
    if kind == "ping":
        return b"PING\r\n", "ping"
    if kind == "headers":
        head = b"NATS/1.0\r\nA: b\r\n\r\n"
        line = b"HMSG s %d %d %d\r\n" % (number, len(head), len(head) + len(data))
        return line + head + data + b"\r\n", (number, "s", "", data, head)
    reply = draw(ANSWERS) if kind == "answer" else b""
    line = b"MSG %s %d %s%d\r\n" % (name.encode(), number, reply, len(data))
    return line + data + b"\r\n", (number, name, reply.decode().strip(), data, None)


@settings(max_examples=300, deadline=None)
@given(st.lists(sent(), max_size=12), st.lists(st.integers(1, 3000), min_size=1, max_size=8))
async def test_messages_come_whole_and_in_order_however_they_are_cut(
    items: list[tuple[bytes, Any]], cuts: list[int]
) -> None:
    client = Client()
    parser = DirectParser(client)

    def take(number: int, messages: Sequence[Arrived]) -> None:
        client.seen.extend((number, m.subject, m.reply_to or "", m.body, m.headers) for m in messages)

    for number in (DIRECT, OTHER):
        parser.listen(number, partial(take, number))
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


async def test_what_is_taken_does_not_depend_on_what_comes_before() -> None:
    kinds = [(7, "s", "one"), (7, "s", None), (7, "t", "two"), (9, "s", "three")]
    for sent in product(kinds, repeat=5):
        taken: list[tuple[int, str, str | None]] = []

        def take(number: int, messages: Sequence[Arrived], into: list[Any] = taken) -> None:
            into.extend((number, m.subject, m.reply_to) for m in messages)

        parser = DirectParser(Client())
        for number in (7, 9):
            parser.listen(number, partial(take, number))
        lines = [f"MSG {name} {number} {reply or ''} 2".replace("  ", " ") for number, name, reply in sent]
        assert parser.at_once("".join(f"{line}\r\nhi\r\n" for line in lines).encode()) == b""
        assert taken == [*sent]


@pytest.mark.parametrize(
    "line", [b"MSG a 1 one two 2", b"MSG a 1 one -2", b"MSG a 1 2", "MSG a 1 ä 2".encode()]
)
async def test_a_line_that_begins_as_the_one_before_is_read_as_any_other(line: bytes) -> None:
    def read(data: bytes) -> tuple[list[Arrived], bytes]:
        taken: list[Arrived] = []
        parser = DirectParser(Client())
        parser.listen(1, taken.extend)
        return taken, parser.at_once(data)

    alone, rest = read(line + b"\r\nhi\r\n")
    taken = [Arrived("a", b"hi", "one")] * 3
    assert read(b"MSG a 1 one 2\r\nhi\r\n" * 3 + line + b"\r\nhi\r\n") == (taken + alone, rest)


async def test_messages_of_a_subscription_that_was_left_are_not_taken() -> None:
    client = Client()
    taken: list[Arrived] = []
    parser = DirectParser(client)
    parser.listen(1, taken.extend)
    assert parser.at_once(b"MSG a 1 2\r\nhi\r\n") == b""
    parser.forget(1)
    assert parser.at_once(b"MSG a 1 2\r\nhi\r\n") == b"MSG a 1 2\r\nhi\r\n"
    assert len(taken) == 1


@pytest.mark.parametrize(
    "garbage",
    [
        b"x" * 5000 + b"\r\n",
        b"x" * 2**21,
        b"MSG a 1 " + b"9" * 5000 + b"\r\nabc",
        b"INFO {\r\n",
        b"INFO \xff\r\n",
        b"-ERR\r\n",
        b"NOTHING\r\n",
    ],
)
@pytest.mark.parametrize("size", [3000, 2**22])
async def test_what_no_server_sends_is_an_error_and_no_other(
    garbage: bytes, size: int, caplog: pytest.LogCaptureFixture
) -> None:
    """The library waits for more of what is long, and prints a traceback for what it did not expect."""
    client = Client()
    taken: list[Arrived] = []
    parser = DirectParser(client)
    parser.listen(1, taken.extend)
    plain = b"MSG a 1 2\r\nhi\r\n"
    assert parser.at_once(plain + garbage) == garbage
    stream = garbage + plain

    async def read() -> None:
        for at in range(0, len(stream), size):
            await parser.parse(stream[at : at + size])

    with pytest.raises(ProtocolError):
        await read()
    assert len(taken) == 1
    assert parser.is_parsing, "whatever follows is the beginning of nothing"
    assert all(record.exc_info is None for record in caplog.records if record.levelname != "DEBUG")
