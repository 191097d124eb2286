"""Each answer of the table in docs/internals/http.md, on a real socket, as a client of others reads it."""

from __future__ import annotations

from typing import Any

import anyio
import h11
import pytest
from wasmplex.capabilities.http import HttpExchange

from .loopback import bind, connected, get, serving
from .table import ANSWERS, Answer

pytestmark = pytest.mark.anyio


async def made(answer: Answer, exchange: HttpExchange) -> None:
    exchange.start(answer.status, answer.fields)
    whole = None not in answer.pieces
    for number, piece in enumerate(answer.pieces):
        if number and piece is not None:
            await anyio.sleep(0.01)  # what there is leaves
        exchange.write(piece or b"")
    if whole:
        exchange.finish(answer.trailers)
    if answer.after == "wait":
        await anyio.sleep_forever()
    elif answer.after is not None:
        raise answer.after


def read(answer: Answer, raw: bytes, *, reset: bool) -> str:
    """Say what came back, in the words of `Answer.now`, as h11 reads it."""
    if not raw:
        return "nothing"
    client = h11.Connection(h11.CLIENT)
    method = answer.first.partition(" ")[0]
    client.send(h11.Request(method=method, target="/", headers=[("host", "a")]))
    client.send(h11.EndOfMessage())
    client.receive_data(raw)
    if not reset:
        client.receive_data(b"")
    words, content = [], b""
    head = raw.partition(b"\r\n\r\n")[0].lower().split(b"\r\n")[1:]
    try:
        while not isinstance(event := client.next_event(), h11.EndOfMessage):
            if isinstance(event, h11.Data):
                content += event.data
            elif isinstance(event, h11.Response):
                words.append(f"{event.status_code}, {framing(head)}")
            elif event is h11.NEED_DATA:
                return f"{words[0]}, cut off"
        trailers = [(b": ".join(field)).decode() for field in event.headers]
    except h11.RemoteProtocolError as error:
        return f"{words[0]}, cut off" if "peer closed" in str(error) else f"not HTTP: {error}"
    if words[0].startswith("502"):
        return "502"
    assert client.trailing_data[0] == b"", "more than the answer has been sent"
    return ", ".join([*words, *([content.decode()] if content else []), *trailers])


def framing(head: list[bytes]) -> str:
    """Say how the content is delimited; not by h11, which takes two lengths for one if they are the same."""
    fields = [line.decode().partition(": ") for line in head]
    lengths = [value for name, _, value in fields if name == "content-length"]
    if lengths:
        return f"length {' and '.join(lengths)}"
    return ", ".join(value for name, _, value in fields if name == "transfer-encoding") or "no length"


async def play(port: int, answer: Answer) -> str:
    method, _, version = answer.first.partition(" ")
    raw, reset = b"", False
    async with connected(port) as client:
        await client.send(get(method=method).replace(b"HTTP/1.1", f"HTTP/{version}".encode()))
        try:
            with anyio.fail_after(10):
                while piece := await client.reader.read(65536):
                    raw += piece
        except ConnectionResetError:
            reset = True
    return read(answer, raw, reset=reset)


@pytest.mark.parametrize("answer", [a for table in ANSWERS.values() for a in table], ids=lambda a: a.case)
async def test_answers(answer: Answer) -> None:
    async def handler(_: Any, exchange: HttpExchange) -> None:
        await made(answer, exchange)

    binding = bind(handler, timeout=0.05 if answer.after == "wait" else 5)
    async with serving(binding) as port:
        assert await play(port, answer) == answer.now
    assert binding.workload.free == 64  # type: ignore[attr-defined]
