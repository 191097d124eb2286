"""What comes while nothing is to be taken: kept in order, up to a bound, and taken once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import anyio
import pytest
from host_plugin_nats import backlog as backlog_module
from host_plugin_nats.backlog import Backlog
from host_plugin_nats.parsing import Arrived, DirectParser
from host_plugin_nats.receiver import Receiver
from hypothesis import given, settings
from hypothesis import strategies as st
from nats.errors import ProtocolError

pytestmark = pytest.mark.anyio


class Source:
    """A connection; notes what is done with it."""

    def __init__(self, after: Callable[[], None] = lambda: None) -> None:
        self.parsed: list[bytes] = []
        self.held = False
        self._after = after

    def hold(self) -> None:
        self.held = True

    def release(self) -> None:
        self.held = False

    async def parse(self, chunk: bytes) -> None:
        await asyncio.sleep(0)
        self.parsed.append(chunk)
        self._after()


async def test_nothing_is_parsed_while_it_is_paused() -> None:
    backlog, source = Backlog(), Source(lambda: backlog.pause())
    assert not backlog.waits
    backlog.pause()
    for chunk in (b"1", b"2", b"3"):
        assert backlog.waits
        backlog.add(source, chunk)
    for taken in range(1, 4):
        backlog.resume()
        assert backlog.waits
        await anyio.wait_all_tasks_blocked()
        assert len(source.parsed) == taken
    assert source.parsed == [b"1", b"2", b"3"]
    assert (backlog.size, backlog.unread) == (0, 0)
    backlog.resume()
    assert not backlog.waits
    await backlog.drained()


async def test_a_socket_is_not_read_from_while_there_is_no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    backlog, old, new = Backlog(1000), Source(lambda: backlog.pause()), Source()
    backlog.pause()
    backlog.add(old, bytes(600))
    assert (old.held, backlog.overflowed) == (False, False)
    backlog.add(old, bytes(600))
    assert (old.held, backlog.overflowed) == (True, True)
    backlog.add(new, b"of the next connection")
    assert new.held
    backlog.resume()
    await anyio.wait_all_tasks_blocked()
    assert (new.held, backlog.unread) == (False, 622)
    assert backlog.overflowed, "not long ago"
    monkeypatch.setattr(backlog_module, "_LATELY", 0.0)
    assert not backlog.overflowed


async def test_what_lies_there_of_a_connection_can_be_dropped() -> None:
    backlog, one, other = Backlog(), Source(), Source()
    backlog.pause()
    for source in (one, other, one):
        backlog.add(source, b"x")
    backlog.discard(one)
    assert (backlog.holds(one), backlog.holds(other), backlog.unread) == (False, True, 1)
    backlog.put_back(other, b"before")
    backlog.resume()
    await backlog.drained()
    assert (one.parsed, other.parsed) == ([], [b"before", b"x"])
    backlog.pause()
    backlog.add(one, b"x")
    backlog.discard(one)
    with anyio.fail_after(10):
        await backlog.drained()


async def test_it_is_closed_in_the_middle() -> None:
    backlog, source = Backlog(), Source()
    backlog.pause()
    backlog.add(source, b"x")
    backlog.add(source, b"y")
    backlog.resume()
    await asyncio.sleep(0)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(backlog.drained)
        await backlog.close()
    backlog.resume()
    assert (source.parsed, backlog.size, backlog.waits) == ([], 0, False)


class Library:
    """Stands where the client library is: reads what it is given in a task."""

    _transport = None

    def __init__(self, take: Callable[[Sequence[Arrived]], None], backlog: Backlog) -> None:
        self._reader = asyncio.StreamReader()
        self.parser = DirectParser(self)
        self.parser.listen(1, take)
        self._take = take
        self.receiver = Receiver(self, self.parser, self._reader, backlog)  # type: ignore[arg-type]
        self.error: Exception | None = None
        self.task = asyncio.get_running_loop().create_task(self._read())

    async def _read(self) -> None:
        try:
            while data := await self._reader.read(64):
                await self.parser.parse(data)
        except ProtocolError as error:
            self.error = error

    def comes(self, data: bytes) -> None:
        self._reader.feed_data(data)

    async def end(self) -> None:
        self._reader.feed_eof()
        await self.task
        self.receiver.end()

    async def _process_msg(self, number: int, subject: bytes, reply: bytes, data: bytes, head: Any) -> None:
        await asyncio.sleep(0)
        self._take([Arrived(subject.decode(), data, None, await self._process_headers(head))])

    async def _process_headers(self, head: bytes | None) -> dict[str, str] | None:
        return None if head is None else {"A": "b"}

    async def _process_ping(self) -> None:
        await asyncio.sleep(0)

    async def _process_err(self, text: str) -> None:
        raise ValueError(text)


HEAD = b"NATS/1.0\r\nA: b\r\n\r\n"


def sent(number: int, kind: int) -> bytes:
    """Return what a server sends: a message, one with headers, a ping and a message."""
    body = b"%d MSG s 1 2\r\n" % number
    if kind == 1:
        return b"HMSG s 1 %d %d\r\n%s%s\r\n" % (len(HEAD), len(HEAD) + len(body), HEAD, body)
    return (b"PING\r\n" if kind else b"") + b"MSG s 1 %d\r\n%s\r\n" % (len(body), body)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 2), st.sampled_from(["", "pause", "resume", "turn", "end"])), max_size=25
    ),
    st.lists(st.integers(1, 90), min_size=1, max_size=8),
)
async def test_each_message_is_taken_once_and_in_order(steps: list[tuple[int, str]], cuts: list[int]) -> None:
    """However it is cut, whenever it is paused, and wherever connections end."""
    taken: list[tuple[int, bool]] = []
    backlog, turn, rest = Backlog(300), 0, b""

    def take(messages: Sequence[Arrived]) -> None:
        taken.extend((int(m.body.split()[0]), bool(m.headers)) for m in messages)

    library = Library(take, backlog)
    for number, (kind, step) in enumerate(steps):
        rest += sent(number, kind)
        if step == "pause":
            backlog.pause()
        elif step == "resume":
            backlog.resume()
        size = len(rest) if step == "end" else cuts[turn := (turn + 1) % len(cuts)]
        library.comes(rest[:size])
        rest = rest[size:]
        if step == "turn":
            await asyncio.sleep(0)
        if step == "end":
            await library.end()
            library = Library(take, backlog)
    if rest:
        library.comes(rest)
    backlog.resume()
    await anyio.wait_all_tasks_blocked()
    await library.end()
    assert taken == [(number, kind == 1) for number, (kind, _) in enumerate(steps)]
    assert (backlog.size, backlog.waits) == (0, False)


async def test_a_short_message_that_is_cut_waits_for_nobody_but_its_rest() -> None:
    taken: list[Arrived] = []
    library = Library(taken.extend, Backlog())
    whole = sent(1, 0) + sent(2, 0)
    for cut in range(1, len(whole)):
        library.comes(whole[:cut])
        library.comes(whole[cut:])
        assert [m.body.split()[0] for m in taken] == [b"1", b"2"] * cut
    library.comes(b"MSG s 1 9000\r\n" + bytes(5000))  # joining many pieces of one would take long
    library.comes(bytes(4000) + b"\r\n" + b"PI")
    await anyio.wait_all_tasks_blocked()
    library.comes(b"NG\r\n" + whole)
    await anyio.wait_all_tasks_blocked()
    assert [len(m.body) for m in taken[-3:]] == [9000, *(len(m.body) for m in taken[:2])]
    await library.end()


@pytest.mark.parametrize("ended", [False, True])
async def test_what_is_no_message_ends_the_connection(ended: bool) -> None:
    taken: list[Arrived] = []
    backlog = Backlog()
    library = Library(taken.extend, backlog)
    backlog.pause()
    library.comes(sent(1, 0))
    library.comes(b"-ERR 'what'\r\n")
    library.comes(b"NOTHING\r\n")
    library.comes(sent(2, 0))
    if ended:
        await library.end()
    backlog.resume()
    await anyio.wait_all_tasks_blocked()
    assert [m.body.split()[0] for m in taken] == [b"1"]
    assert backlog.size == 0
    if not ended:
        await library.task
        assert library.error is not None
        assert str(library.error.__cause__) == "'what'"
        library.comes(sent(3, 0))
    assert len(taken) == 1
