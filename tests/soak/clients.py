"""Clients of the soak: each asks over and over, in a manner of its own, and counts what it was not given."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

__all__ = ["Answer", "Traffic"]

_PATIENCE = 30.0
"""Seconds after which an answer that has not come is lost."""

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass(frozen=True)
class Answer:
    """What came back.

    :ivar closes: whether the connection ends with it
    """

    status: int
    body: bytes
    closes: bool


@dataclass
class Traffic:
    """All clients, and what they have seen.

    :param stores: names of workloads that answer from a key-value store
    :param lasting: those of them that are to have for ever what they have once been asked for
    :ivar answered: answers that were right, by the kind of client
    :ivar lost: what was not answered as it should be: seconds since the start, kind of client, what came
    """

    port: int
    stores: tuple[str, ...]
    lasting: tuple[str, ...]
    answered: Counter[str] = field(default_factory=Counter)
    lost: list[tuple[float, str, str]] = field(default_factory=list)
    _going: asyncio.Event = field(default_factory=asyncio.Event)
    _begun: float = field(default_factory=time.monotonic)
    _stored: set[tuple[str, int]] = field(default_factory=set)

    async def run(self) -> None:
        """Ask until cancelled, while `resume` was called last and not `pause`."""
        kinds: list[Callable[[], Awaitable[None]]] = [
            *(lambda rest=rest: self._keep("hello", rest) for rest in (0.005, 0.05, 0.5)),
            *(lambda name=name: self._keep(name, 0.02) for name in self.stores),
            lambda: self._keep("fresh", 0.05),
            lambda: self._each("once", 0.02, self._once),
            lambda: self._each("trap", 0.1, self._trap),
            lambda: self._each("slow", 0.3, self._slow),
            lambda: self._each("abort", 0.03, self._abort),
        ]
        async with asyncio.TaskGroup() as tasks:
            for kind in kinds:
                tasks.create_task(kind())  # type: ignore[arg-type]  # they are coroutines

    def resume(self) -> None:
        self._going.set()

    async def pause(self) -> None:
        """Have everybody stop asking, and return when the last answers have come."""
        self._going.clear()
        await asyncio.sleep(2.5)

    # ------------------------------------------------------------ kinds of clients

    async def _keep(self, name: str, rest: float) -> None:
        """Ask one workload on a connection that is kept for as long as the host keeps it."""
        streams: Streams | None = None
        while True:
            await self._going.wait()
            try:
                async with asyncio.timeout(_PATIENCE):
                    streams = streams or await asyncio.open_connection("127.0.0.1", self.port)
                    key = random.randrange(50)
                    answer = await _ask(streams, f"/{key}" if name in self.stores else "/", name)
                self._judge(name, key, answer)
                if answer.closes:
                    streams[1].close()
                    streams = None
            except (OSError, EOFError, TimeoutError) as error:
                self._lose(name, repr(error))
                streams = None
            await asyncio.sleep(rest)

    def _judge(self, name: str, key: int, answer: Answer) -> None:
        if answer.status != 200:
            self._lose(name, f"status {answer.status}: {answer.body[:100]!r}")
        elif name in self.lasting and (name, key) in self._stored and b" hit:" not in answer.body:
            self._lose(name, f"key {key} was stored, and is gone")
        else:
            self._stored.add((name, key))
            self.answered["fresh" if name == "fresh" else "kv" if name in self.stores else "kept"] += 1

    async def _each(self, kind: str, rest: float, ask: Callable[[Streams], Awaitable[str]]) -> None:
        """Ask with a new connection each time."""
        while True:
            await self._going.wait()
            try:
                async with asyncio.timeout(_PATIENCE), self._connected() as streams:
                    wrong = await ask(streams)
            except (OSError, EOFError, TimeoutError) as error:
                wrong = repr(error)
            if wrong:
                self._lose(kind, wrong)
            else:
                self.answered[kind] += 1
            await asyncio.sleep(rest)

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[Streams]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            yield reader, writer
        finally:
            writer.transport.abort()

    async def _once(self, streams: Streams) -> str:
        answer = await _ask(streams, "/", "hello", "connection: close\r\n")
        return "" if answer.status == 200 and answer.closes else f"{answer}"

    async def _trap(self, streams: Streams) -> str:
        answer = await _ask(streams, "/trap", "lab")
        return "" if answer.status == 502 else f"{answer}"

    async def _slow(self, streams: Streams) -> str:
        reader, writer = streams
        writer.write(b"GET /big?n=200000 HTTP/1.1\r\nhost: lab\r\nconnection: close\r\n\r\n")
        size = 0
        while piece := await reader.read(4096):
            size += len(piece)
            await asyncio.sleep(0.01)
        return "" if size > 200_000 else f"{size} bytes"

    async def _abort(self, streams: Streams) -> str:
        """Go away: before a request, in the middle of one, in the middle of its answer."""
        reader, writer = streams
        match random.randrange(3):
            case 1:
                writer.write(b"POST /echo HTTP/1.1\r\nhost: lab\r\ncontent-length: 100\r\n\r\nhalf")
                await asyncio.sleep(random.random() / 20)
            case 2:
                writer.write(b"GET /big?n=1000000&ms=5 HTTP/1.1\r\nhost: lab\r\n\r\n")
                await reader.read(10_000)
        return ""

    def _lose(self, kind: str, what: str) -> None:
        self.lost.append((time.monotonic() - self._begun, kind, what))


async def _ask(streams: Streams, path: str, host: str, more: str = "") -> Answer:
    """Ask, and read the answer.

    :raises EOFError: if the connection ends before it does
    """
    reader, writer = streams
    writer.write(f"GET {path} HTTP/1.1\r\nhost: {host}\r\n{more}\r\n".encode())
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    status = int(head.split(b" ", 2)[1])
    closes = b"\r\nconnection: close\r\n" in head
    if b"\r\ntransfer-encoding: chunked\r\n" in head:
        return Answer(status, await _chunks(reader), closes)
    length = int(head.partition(b"\r\ncontent-length: ")[2].partition(b"\r\n")[0])
    return Answer(status, await reader.readexactly(length), closes)


async def _chunks(reader: asyncio.StreamReader) -> bytes:
    body = b""
    while size := int(await reader.readuntil(b"\r\n"), 16):
        body += (await reader.readexactly(size + 2))[:-2]
    while await reader.readuntil(b"\r\n") != b"\r\n":
        pass
    return body
