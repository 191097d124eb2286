"""Calls through the export adapter, one at a time: a call is under way until what it returned has ended."""

from __future__ import annotations

import asyncio
from typing import Any

import anyio
import pytest
from wasmplex.engine import Engine, EngineSettings
from wasmplex.engine.text import assemble

from .echo import running

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("transport")]

GUEST = """(component
  (import "in" (instance $i
    (export "stream" (func (param "v" (stream u8)) (result (stream u8))))
    (export "octets" (func (param "v" (list u8)) (result (list u8))))))
  (export "out" (instance $i)))"""


def same(value: Any) -> Any:
    return value


async def chunks() -> Any:
    for _ in range(3):
        await asyncio.sleep(0)
        yield b"x" * 10


async def test_the_next_call_waits_until_a_stream_has_ended() -> None:
    async with (
        Engine(EngineSettings(use_cache=False)) as engine,
        running(engine, assemble(GUEST), {"in": {"stream": same, "octets": same}}) as instance,
    ):
        for _ in range(3):
            with anyio.fail_after(10):
                stream = await instance.call("out#stream", chunks())
                async with anyio.create_task_group() as tasks:
                    answers = []

                    async def call(number: int) -> None:
                        answers.append(await instance.call("out#octets", bytes([number])))  # noqa: B023

                    for number in range(3):
                        tasks.start_soon(call, number)
                    assert b"".join([chunk async for chunk in stream]) == b"x" * 30
                assert sorted(answers) == [b"\0", b"\1", b"\2"]
        assert not instance.poisoned
