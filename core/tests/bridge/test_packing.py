"""What is not text crosses the string transport as digits, and comes out as it went in."""

from __future__ import annotations

import random
from base64 import b64decode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wasmplex.bridge import BridgedInstance, bridge
from wasmplex.bridge.packing import packed, unpacked
from wasmplex.bridge.protocol import PACKED
from wasmplex.component import read
from wasmplex.engine import Engine, EngineSettings
from wasmplex.engine.text import assemble
from wasmplex.plugins.limits import Limits

COPY = (Path(__file__).parent / "guests" / "copy.wat").read_text()
TEXT = b"plain text " * 400
OCTETS = random.Random(1).randbytes(5000)


@given(st.binary(max_size=2000))
def test_an_answer_says_whether_it_was_packed(block: bytes) -> None:
    block = b"\1" + block  # every answer begins with a small number
    answer = packed(block)
    if answer.startswith("\x7f"):
        assert b64decode(answer[16:]) == block
    else:
        assert unpacked(7, answer) == block
    assert unpacked(7 | PACKED, block.hex()) == block


def test_text_crosses_as_it_is_and_what_is_not_text_as_digits() -> None:
    assert packed(TEXT) == TEXT.decode()
    assert packed(OCTETS).isascii()
    assert len(packed(bytearray(OCTETS))) == 4 * -(-len(OCTETS) // 3) + 16
    few = bytearray(TEXT)
    few[100] = 0xFF
    assert packed(few) == few.decode("latin-1")


@asynccontextmanager
async def running(
    imports: dict[str, dict[str, Any]], *, vectors: bool = True, memory: int = 1 << 28
) -> AsyncIterator[BridgedInstance]:
    wasm = assemble(COPY)
    bridged = bridge(wasm, read(wasm), imports, assemble, transport="strings", vectors=vectors)
    assert bridged is not None
    async with Engine(EngineSettings({"simd": vectors}, use_cache=False)) as engine:
        compiled = await engine.compile(bridged.wasm, read(bridged.wasm))
        linked = engine.link(compiled, bridged.link(imports), "test", Limits(memory=memory))
        instance = BridgedInstance(await linked.instantiate(), bridged)
        assert bridged.start is not None
        await instance.call(bridged.start)
        yield instance
        instance.close()


@pytest.mark.anyio
@pytest.mark.parametrize("vectors", [True, False])
async def test_bytes_come_out_as_they_went_in(vectors: bool) -> None:
    value, written = b"", list[bytes]()

    async def put(key: str, value: bytes, ttl: int | None) -> bytes:
        return value[::-1]

    imports = {"in": {"read": lambda key: value, "write": lambda key, v: written.append(v), "put": put}}
    async with running(imports, vectors=vectors) as instance:
        for whole in (TEXT, OCTETS, TEXT[:2000] + OCTETS[:3000]):
            for size in (1, 255, 256, 257, 271, 4096, 5000):
                value = whole[:size]
                await instance.call("copy", 0, 0)
                assert written.pop() == value
                assert await instance.call("reverse", value, 0) == value[::-1]


@pytest.mark.anyio
async def test_bytes_cross_as_they_are_where_a_limit_leaves_no_memory_for_digits() -> None:
    value, written = random.Random(2).randbytes(3 << 20), list[bytes]()
    imports = {
        "in": {
            "read": lambda key: value,
            "write": lambda key, v: written.append(v),
            "put": lambda *args: None,
        }
    }
    async with running(imports, memory=16 << 20) as instance:
        for _ in range(3):
            await instance.call("copy", 0, 0)
    assert written == [value] * 3
