"""Each row of the table in docs/internals/http.md, on a real socket."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from wasmplex.capabilities.http import HttpExchange
from wasmplex.plugins.triggers import TriggerBinding

from .loopback import Client, bind, connected, serving
from .table import MAX_HEAD, REQUESTS, Row

pytestmark = pytest.mark.anyio

PROBE = b"GET /probe HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n\r\n"


def binding(name: str, path: str, host: str | None) -> TriggerBinding:
    async def tell(_: Any, exchange: HttpExchange) -> None:
        body = b""
        while piece := await exchange.read():
            body += piece
        told = {
            "w": name, "target": exchange.path_with_query, "authority": exchange.authority,
            "method": exchange.method, "body": body.decode("latin-1"),
            "trailers": _joined(exchange.trailers or ()), **dict(_texts(exchange.headers)),
        }  # fmt: skip
        exchange.start(200, [])
        exchange.write(json.dumps(told).encode())
        exchange.finish()

    return bind(tell, path, host, name=name)


def _texts(fields: Any) -> list[tuple[str, str]]:
    return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in fields]


def _joined(fields: Any) -> str:
    return ", ".join(f"{name}: {value}" for name, value in _texts(fields))


BINDINGS = [("other", "/", None), ("shop", "/", "shop.example"), ("café", "/café", "shop.example"),
            ("slash", "/a%2Fb", "shop.example")]  # fmt: skip


@contextlib.asynccontextmanager
async def host() -> AsyncIterator[int]:
    async with serving(*(binding(*each) for each in BINDINGS), max_head=MAX_HEAD) as port:
        yield port


def responses(raw: bytes, *, head: bool) -> list[tuple[int, bytes]]:
    """Return statuses and contents of the whole responses in `raw`; each has a length or is interim."""
    found = []
    while b"\r\n\r\n" in raw:
        lines, _, raw = raw.partition(b"\r\n\r\n")
        status = int(lines.split(b" ", 2)[1])
        fields = dict(line.lower().split(b": ", 1) for line in lines.split(b"\r\n")[1:])
        length = 0 if status < 200 or head else int(fields[b"content-length"])
        if len(raw) < length:
            break
        found.append((status, raw[:length]))
        raw = raw[length:]
    return found


def outcome(row: Row, raw: bytes, *, kept: bool) -> str:
    """Say what came back, in the words of `Row.now`."""
    found = responses(raw, head=row.raw.startswith(b"HEAD"))
    text = ", ".join(str(status) for status, _ in found) or "nothing"
    if row.tell == "connection":
        return f"{text}: {'kept' if kept else 'closed'}"
    if row.tell and found and found[-1][0] == 200:
        return f"{text}: {json.loads(found[-1][1])[row.tell]}"
    return text


async def received(client: Client, row: Row, patience: float) -> tuple[bytes, bool]:
    """Return what comes back, and whether the connection is open when that was all that is expected."""
    raw = b""
    expected = row.now.partition(":")[0].count(",") + 1 if row.now else 99
    while len(responses(raw, head=row.raw.startswith(b"HEAD"))) < expected:
        try:
            piece = await asyncio.wait_for(client.reader.read(65536), patience)
        except TimeoutError:
            break
        if not piece:
            return raw, False
        raw += piece
    return raw, b"connection: close" not in raw


async def play(port: int, row: Row, *cuts: int, patience: float = 10) -> str:
    """Send what the row says, with pauses where it is cut, and say what came back."""
    async with connected(port) as client:
        for start, end in zip((0, *cuts), (*cuts, len(row.raw)), strict=True):
            await client.send(row.raw[start:end])
            await asyncio.sleep(0.002 if cuts else 0)
        raw, kept = await received(client, row, patience)
        assert not row.raw.startswith(b"HEAD") or raw.endswith(b"\r\n\r\n"), "no content"
        if kept:  # nothing that was sent may be left over for the next request
            await client.send(PROBE)
            rest = await client.rest()
            assert [status for status, _ in responses(rest, head=False)] == [200], (row.case, rest)
            assert b'"/probe"' in rest
        elif row.now:
            assert await client.rest() == b"", row.case
        return outcome(row, raw, kept=kept)


@pytest.mark.parametrize("table", REQUESTS)
async def test_requests(table: str) -> None:
    async with host() as port:
        for row in REQUESTS[table]:
            assert await play(port, row) == row.now, row.case


@pytest.mark.parametrize("table", REQUESTS)
async def test_requests_that_come_in_two_parts(table: str) -> None:
    async with host() as port:
        for row in REQUESTS[table]:
            assert await play(port, row, len(row.raw) // 2) == row.now, row.case
